"""Accounts that are edited by hand while a server and commands use them."""

import asyncio
import contextlib
import csv
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from antiphon.errors import NameTaken, RowInvalid, SignInRefused, StoreTaken, TryLater
from antiphon.identity.names import prepare
from antiphon.store.contracts import Account, SessionRecord
from antiphon.store.files import FilesStore, NameRewritten, open_files
from support.file_edits import Change, edit, where, without

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def file(people: Path) -> Path:
    return people / "accounts.csv"


async def register(store: FilesStore, name: str) -> Account:
    return await store.accounts.register(prepare(name), lambda number, _: b"%d" % number, "TYPE", NOON, "::1")


async def open_session(store: FilesStore, name: str, account_id: int, epoch: int) -> None:
    record = SessionRecord(
        fingerprint=f"{name}{account_id}".encode().ljust(32),
        account_id=account_id,
        name=name,
        epoch=epoch,
        opened_at=NOON,
        expires_at=NOON + timedelta(days=1),
        seen_at=NOON,
        owner=None,
        address="::1",
    )
    await store.sessions.open(record, 10)


async def signed_in(store: FilesStore, *names: str) -> list[Account]:
    accounts = [await register(store, name) for name in names]
    for account in accounts:
        await open_session(store, account.display, account.id, account.epoch)
    return accounts


async def sessions(store: FilesStore) -> set[str]:
    return {record.name for record in await store.sessions.all()}


async def reasons(store: FilesStore) -> list[tuple[int | None, str]]:
    return [(entry.account_id, entry.reason) for entry in await store.revocations.entries(0)]


EDITS = [
    pytest.param(without("ann"), "removed", id="removed"),
    pytest.param(where("ann", ",no,", ",yes,"), "disabled", id="disabled"),
    pytest.param(lambda text: text.replace("\nann,", "\nAnna,"), "renamed", id="renamed"),
    pytest.param(where("ann", "MQ==", "Mg=="), "password", id="another credential"),
]


@pytest.mark.parametrize(("change", "reason"), EDITS)
async def test_what_is_edited_by_hand_ends_the_sessions_that_it_concerns(
    store: FilesStore, file: Path, change: Change, reason: str
) -> None:
    ann, bob = await signed_in(store, "ann", "bob")
    edit(file, change)
    assert await reasons(store) == [(ann.id, reason)]
    assert await sessions(store) == {"bob"}
    with pytest.raises(SignInRefused):
        await store.accounts.visited(ann, NOON, "::1")
    if reason != "removed":
        await store.accounts.visited(replace(ann, epoch=ann.epoch + 1), NOON, "::1")
    assert await store.accounts.find("bob") == bob


@pytest.mark.parametrize(("change", "reason"), EDITS[:3])
async def test_what_is_edited_while_nobody_looks_ends_them_at_the_next_start(
    store: FilesStore, file: Path, tmp_path: Path, change: Change, reason: str
) -> None:
    ann, _ = await signed_in(store, "ann", "bob")
    await open_session(store, "a client by its address", -5, 0)
    await store.close()
    edit(file, change)
    again = await open_files(file.parent, tmp_path)
    try:
        assert await reasons(again) == [(ann.id, reason)]
        assert await sessions(again) == {"bob", "a client by its address"}
    finally:
        await again.close()


async def test_an_edit_that_a_command_sees_first_ends_them_too(
    store: FilesStore, command: FilesStore, file: Path
) -> None:
    ann, _ = await signed_in(store, "ann", "bob")
    assert await command.accounts.find("ann") == ann
    edit(file, where("ann", ",no,", ",yes,"))
    await command.accounts.find("bob")
    assert await sessions(store) == {"bob"}
    assert await store.accounts.find("ann") == replace(ann, disabled=True, epoch=ann.epoch + 1)
    assert await reasons(store) == [(ann.id, "disabled")]


async def test_who_signs_in_while_the_row_is_edited_is_refused(store: FilesStore, file: Path) -> None:
    ann = await register(store, "ann")
    edit(file, where("ann", ",no,", ",yes,"))
    with pytest.raises(SignInRefused):
        await store.accounts.visited(ann, NOON, "::1")


async def test_sessions_that_cannot_be_ended_now_are_ended_at_the_next_look(
    store: FilesStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, _ = await signed_in(store, "ann", "bob")

    async def away(*arguments: object) -> None:
        raise TryLater

    edit(file, without("ann"))
    with monkeypatch.context() as context:
        context.setattr(store.accounts._edits, "_end_sessions", away)
        assert await store.accounts.find("ann") is None
        with pytest.raises(TryLater):
            await store.revocations.entries(0)
    assert await reasons(store) == [(ann.id, "removed")]


async def test_what_a_person_may_edit_counts_without_a_restart(store: FilesStore, file: Path) -> None:
    ann, _ = await register(store, "ann"), await register(store, "bob")
    edit(file, lambda text: without("bob")(text).replace("\nann,1,no,no,no", "\nАня,1,no,no,yes"))
    found = await store.accounts.find("аня")
    assert found
    assert (found.id, found.display, found.must_change, found.credential) == (ann.id, "Аня", True, b"1")
    assert await store.accounts.find("ann") is None
    assert await store.accounts.find("bob") is None
    assert [account.id for account in await store.accounts.overviews()] == [ann.id]


async def test_what_commands_do_is_seen_and_not_taken_for_an_edit(store: FilesStore, command: FilesStore) -> None:
    ann = await register(store, "ann")
    await command.accounts.set_disabled(ann.id, disabled=True)
    zoe = await register(command, "zoe")
    found = await store.accounts.find("ann")
    assert found
    assert (found.disabled, found.epoch) == (True, ann.epoch + 1)
    assert await store.accounts.find("zoe") == zoe
    assert await reasons(store) == []  # to end the sessions is the command's
    with pytest.raises(NameTaken):
        await register(store, "ZOE")


async def test_server_and_command_that_write_at_once_lose_nothing_of_each_other(
    store: FilesStore, command: FilesStore
) -> None:
    await asyncio.gather(
        *(register(store, f"server{number}") for number in range(15)),
        *(register(command, f"command{number}") for number in range(15)),
    )
    for each in (store, command):
        overviews = await each.accounts.overviews()
        assert len(overviews) == 30
        assert {overview.id for overview in overviews} == set(range(1, 31))


@pytest.mark.parametrize("restart", [False, True], ids=["", "restarted"])
async def test_the_number_of_a_row_taken_out_by_hand_is_not_given_again(
    store: FilesStore, file: Path, tmp_path: Path, *, restart: bool
) -> None:
    await register(store, "ann")
    bob = await register(store, "bob")
    edit(file, lambda text: without("bob")(without("ann")(text)))
    if restart:
        await store.close()
        store = await open_files(file.parent, tmp_path)
    assert (await register(store, "bob")).id == bob.id + 1
    await store.close()


async def test_a_number_counts_although_the_note_of_it_is_lost(store: FilesStore, people: Path) -> None:
    ann = await register(store, "ann")
    edit(people / "numbers.csv", lambda text: text.partition("\n")[0] + "\n")
    assert (await register(store, "bob")).id == ann.id + 1


async def test_no_session_of_another_account_with_the_number_fits(store: FilesStore, tmp_path: Path) -> None:
    ann = await register(store, "ann")
    other = await open_files(tmp_path / "others", tmp_path)
    try:
        again = await register(other, "ann")
        assert again.id == ann.id
        assert again.epoch != ann.epoch
    finally:
        await other.close()


BROKEN = where("ann", "TYPE,MQ==", "TYPE,MQ==!")


async def test_a_broken_row_is_never_overwritten_and_its_line_is_the_cause(store: FilesStore, file: Path) -> None:
    ann = await register(store, "ann")
    edit(file, BROKEN)
    broken = file.read_bytes()
    for work in (
        store.accounts.find("ann"),
        store.accounts.overviews(),
        store.accounts.old_forms(NOON),
        store.accounts.visited(ann, NOON, "::1"),
        store.accounts.set_disabled(ann.id, disabled=True),
        store.accounts.remove(ann.id),
        store.accounts.reseal(lambda _, sealed: sealed + b"!", 0, 10),
        register(store, "bob"),
        store.revocations.entries(0),
    ):
        with pytest.raises(TryLater) as caught:
            await work
        assert isinstance(caught.value.__cause__, RowInvalid)
        assert str(caught.value.__cause__).startswith(
            f"{file}, line 2: what stands under “credential” cannot be read."
        )
    assert file.read_bytes() == broken
    edit(file, lambda text: text.replace("!", ""))
    assert await store.accounts.find("ann") == ann


async def test_a_broken_file_is_one_sentence_at_the_start(store: FilesStore, file: Path, tmp_path: Path) -> None:
    await register(store, "ann")
    await store.close()
    edit(file, BROKEN)
    for serving in (True, False, True):  # the lock of a start that failed is not kept
        with pytest.raises(RowInvalid, match="line 2"):
            await open_files(file.parent, tmp_path, serving=serving)


async def test_refusals_that_an_earlier_version_has_counted_are_told_once(store: FilesStore, file: Path) -> None:
    ann = await register(store, "ann")
    await store.accounts.visited(ann, NOON, "::1")
    with file.open(encoding="utf-8", newline="") as opened:
        heading, row = csv.reader(opened)
    row[heading.index("refusals")] = "2"
    edit(file, lambda _: "".join(",".join(each) + "\n" for each in (heading, row)))
    (overview,) = await store.accounts.overviews()
    assert overview.refusals == 2
    for refusals in (2, 0):
        visit = await store.accounts.visited(ann, NOON, "::1")
        assert visit
        assert visit.refusals == refusals


async def test_the_name_is_in_clear_and_the_file_opens_as_csv(store: FilesStore, file: Path) -> None:
    ann = await register(store, "Вадим")
    await store.accounts.visited(ann, NOON, "192.0.2.1")
    with file.open(encoding="utf-8", newline="") as opened:
        (row,) = csv.DictReader(opened)
    assert (row["name"], row["number"], row["disabled"], row["credential"]) == ("Вадим", "1", "no", "MQ==")
    assert (row["visited_at"], row["visited_from"]) == ("2026-03-01T12:00:00+00:00", "192.0.2.1")


async def test_a_second_server_is_refused_until_the_first_is_closed(
    store: FilesStore, people: Path, tmp_path: Path
) -> None:
    (tmp_path / "other data").mkdir()
    with pytest.raises(StoreTaken) as caught:
        await open_files(people, tmp_path / "other data", serving=True)
    assert str(caught.value) == (
        f"A server is running on {people}, and there can be only one. "
        "Stop that one first, or give this one another folder."
    )
    await store.close()
    await (await open_files(people, tmp_path, serving=True)).close()


# --- names that a spreadsheet has rewritten -----------------------------------------------------------------


@contextlib.asynccontextmanager
async def telling(people: Path, data: Path) -> AsyncIterator[tuple[FilesStore, list[NameRewritten]]]:
    told: list[NameRewritten] = []
    store = await open_files(people, data, tell=told.append)
    try:
        yield store, told
    finally:
        await store.close()


async def test_a_name_that_looks_rewritten_is_told_once_and_read_as_it_is(
    file: Path, people: Path, tmp_path: Path
) -> None:
    async with telling(people, tmp_path) as (store, told):
        await signed_in(store, "ann", "1E+05")
        assert told == []
    edit(file, lambda text: text.replace("'1E+05", "1E+05"))
    async with telling(people, tmp_path) as (store, told):
        assert told == [NameRewritten(file, 3, "1E+05", None)]
        account = await store.accounts.find("1e+05")
        assert account
        edit(file, lambda text: text + "\n")
        assert await store.accounts.find("ann")
        await store.accounts.visited(account, NOON, "::1")  # which writes the file, guard and all
    assert len(told) == 1
    async with telling(people, tmp_path) as (_, told):
        assert told == []


@pytest.mark.parametrize(
    ("name", "made"), [("007", "7"), ("1e5", "100000"), ("12345678901234567890", "1.23457E+19")]
)
async def test_what_a_spreadsheet_makes_of_a_name_is_told_with_the_name_before(
    file: Path, people: Path, tmp_path: Path, name: str, made: str
) -> None:
    async with telling(people, tmp_path) as (store, told):
        await signed_in(store, "ann", name)
        edit(file, lambda text: text.replace(f"\n'{name},", f"\n{made},"))
        assert await store.accounts.find(made.lower())
        assert await store.accounts.find(name) is None
        assert told == [NameRewritten(file, 3, made, name)]
        edit(file, lambda text: text.replace(f"\n'{made},", f"\n{name},"))
        assert await store.accounts.find(name)
        assert len(told) == 1, "corrected by hand, without a guard"


async def test_a_name_that_a_person_changes_is_not_told(file: Path, people: Path, tmp_path: Path) -> None:
    async with telling(people, tmp_path) as (store, told):
        await signed_in(store, "ann", "007")
        edit(file, lambda text: text.replace("\n'007,", "\n008,"))
        edit(file, lambda text: text.replace("\nann,", "\nanna,"))
        assert await store.accounts.find("008")
        assert told == []
