"""What every store of sessions does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import SessionRecord, Sessions

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def record(fingerprint: bytes, **changes: object) -> SessionRecord:
    plain = SessionRecord(
        fingerprint=fingerprint,
        account_id=7,
        name="Вадим",
        epoch=3,
        opened_at=NOON,
        expires_at=NOON + DAY,
        seen_at=NOON,
        owner="one",
        address="::1",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # fields of several types


async def opened(sessions: Sessions, new: SessionRecord, most: int = 10, unheld_by: datetime = NOON - DAY) -> int:
    return await sessions.open(new, most, unheld_by)


async def test_a_session_is_found_as_it_was_opened(sessions: Sessions) -> None:
    await opened(sessions, record(b"\x00one"))
    await opened(sessions, record(b"\x00two", name="ann"))
    assert await sessions.find(b"\x00one") == record(b"\x00one")
    assert await sessions.find(b"\x00") is None


async def test_a_fingerprint_does_not_print() -> None:
    assert "secret" not in repr(record(b"secret"))


async def test_a_fingerprint_belongs_to_one_session(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    with pytest.raises(TryLater):
        await opened(sessions, record(b"one", name="mallory"))
    assert await sessions.find(b"one") == record(b"one")


async def test_an_expired_session_is_found_until_it_is_forgotten(sessions: Sessions) -> None:
    await opened(sessions, record(b"old", expires_at=NOON))
    await opened(sessions, record(b"new", expires_at=NOON + MINUTE))
    assert await sessions.find(b"old") is not None
    await sessions.forget(NOON)
    assert await sessions.find(b"old") is None
    assert await sessions.find(b"new") is not None


async def test_sessions_that_are_held_are_seen_and_others_are_not(sessions: Sessions) -> None:
    for fingerprint in (b"one", b"two", b"three"):
        await opened(sessions, record(fingerprint))
    await sessions.held([b"one", b"two"], NOON + MINUTE)
    assert await sessions.find(b"one") == record(b"one", seen_at=NOON + MINUTE)
    assert await sessions.find(b"two") == record(b"two", seen_at=NOON + MINUTE)
    assert await sessions.find(b"three") == record(b"three")


async def test_forty_thousand_sessions_can_be_held_at_once(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.held([b"%d" % number for number in range(40_000)] + [b"one"], NOON + MINUTE)
    assert await sessions.find(b"one") == record(b"one", seen_at=NOON + MINUTE)


async def test_holding_none_changes_none(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.held([], NOON + MINUTE)
    assert await sessions.find(b"one") == record(b"one")


async def test_a_session_was_seen_when_it_was_released(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.released(b"one", "one", NOON + MINUTE)
    assert await sessions.find(b"one") == record(b"one", seen_at=NOON + MINUTE, owner=None)


async def test_a_session_that_ended_does_not_come_back(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await opened(sessions, record(b"two"))
    await sessions.end(b"one", "one")
    await sessions.end(b"one", "one")
    await sessions.held([b"one"], NOON)
    await sessions.released(b"one", "one", NOON)
    assert await sessions.find(b"one") is None
    assert await sessions.find(b"two") == record(b"two")


async def test_a_closed_store_says_try_later(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.close()
    await sessions.close()
    with pytest.raises(TryLater):
        await sessions.find(b"one")
    with pytest.raises(TryLater):
        await opened(sessions, record(b"two"))
