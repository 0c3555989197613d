"""What every store of snapshots does."""

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import Claim, Sessions, Snapshots, Store
from support.stored import NOON, opened, record


async def test_a_snapshot_is_given_once(sessions: Sessions, snapshots: Snapshots) -> None:
    await opened(sessions, record(b"one"))
    await snapshots.save({b"one": b"\x00kept"})
    assert await sessions.claim(b"one", "one", "::1", NOON) == Claim(0, has_snapshot=True)
    assert await snapshots.take(b"one") == b"\x00kept"
    assert await snapshots.take(b"one") is None
    assert await sessions.claim(b"one", "one", "::1", NOON) == Claim(0, has_snapshot=False)


async def test_a_session_that_is_over_has_no_snapshot(sessions: Sessions, snapshots: Snapshots) -> None:
    await opened(sessions, record(b"one"))
    await snapshots.save({b"one": b"kept", b"two": b"kept"})
    await sessions.end(b"one", "one")
    await opened(sessions, record(b"one"))
    assert await snapshots.take(b"one") is None
    assert await snapshots.take(b"two") is None
    await snapshots.save({})


async def test_a_closed_store_says_try_later(store: Store, snapshots: Snapshots) -> None:
    await store.close()
    with pytest.raises(TryLater):
        await snapshots.save({b"one": b"kept"})
    with pytest.raises(TryLater):
        await snapshots.take(b"one")
