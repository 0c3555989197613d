"""Invitations in a file; what every store of invitations does is shown elsewhere."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from antiphon.errors import TryLater
from antiphon.identity.names import prepare
from antiphon.store.contracts import Invitation
from antiphon.store.files import FilesStore, open_files
from support.file_edits import edit

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


async def invite(store: FilesStore, name: str, mark: bytes = b"mark") -> Invitation:
    return await store.invitations.invite(mark, prepare(name), NOON, NOON + DAY, "root")


async def test_an_invitation_is_found_by_the_hash_of_its_code(store: FilesStore) -> None:
    made = await invite(store, "Ann")
    assert await store.invitations.find(b"mark") == made
    assert await store.invitations.find(b"other") is None
    assert (made.id, made.display, made.key, made.made_by) == (1, "Ann", "ann", "root")
    assert (made.made_at, made.expires_at, made.used_at, made.used_from) == (NOON, NOON + DAY, None, None)


async def test_a_second_one_for_a_name_takes_the_place_of_the_first(store: FilesStore) -> None:
    await invite(store, "ann", b"first")
    await invite(store, "bob", b"bob's")
    await invite(store, "ANN", b"second")
    assert [each.fingerprint for each in await store.invitations.all()] == [b"bob's", b"second"]


async def test_one_that_was_used_stays_and_cannot_be_withdrawn(store: FilesStore, people: Path) -> None:
    await invite(store, "ann", b"first")
    used = "2026-03-01T12:00:00+00:00,::1"
    edit(people / "invitations.csv", lambda text: text.replace(",,", f",{used}", 1))
    assert await store.invitations.withdraw("ann") is False
    await invite(store, "ann", b"second")
    first, second = await store.invitations.all()
    assert (first.used_at, first.used_from, second.used_at) == (NOON, "::1", None)
    assert [await store.invitations.withdraw("ann") for _ in range(2)] == [True, False]
    assert await store.invitations.all() == [first]


async def test_what_has_expired_is_forgotten_and_its_number_not_given_again(
    store: FilesStore, people: Path, tmp_path: Path
) -> None:
    await invite(store, "ann")
    await store.invitations.forget(NOON + DAY - timedelta(microseconds=1))
    assert len(await store.invitations.all()) == 1
    await store.invitations.forget(NOON + DAY)
    assert await store.invitations.all() == []
    await store.close()
    again = await open_files(people, tmp_path)
    assert (await invite(again, "ann")).id == 2
    await again.close()


async def test_numbers_of_accounts_and_invitations_are_counted_apart(store: FilesStore, people: Path) -> None:
    await invite(store, "ann")
    account = await store.accounts.register(prepare("ann"), lambda *_: b"x", "TYPE", NOON, "::1")
    assert account.id == 1
    assert (people / "numbers.csv").read_text() == "file,highest\ninvitations.csv,1\naccounts.csv,1\n"


async def test_closed_is_closed(store: FilesStore) -> None:
    await store.close()
    with pytest.raises(TryLater):
        await store.invitations.all()
