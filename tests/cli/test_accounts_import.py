"""Tests of `antiphon accounts import`: which lines become accounts and which do not, all or nothing."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antiphon.cli import accounts_import, import_report
from antiphon.identity.legacy import Row
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password
from antiphon.identity.scram import Verifier
from antiphon.store.contracts import Account, Client
from antiphon.store.opening import open_store
from antiphon.store.sql.accounts import SqlAccounts
from antiphon.terminal.console import Console
from antiphon.wire.bodies import SCRAM_SHA_256, Welcome
from support.imported_accounts import digest
from support.operator_commands import Done, Operator
from support.serving import serving
from support.streams import file_of
from support.terminal import Terminal

HASH = digest("cat")
ADVICE = "Fix them, or add --skip-broken to import the others."


class Here(Operator):
    """A folder for the files of an import; the server's data is in `data`."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder / "data", capture)
        self.folder = folder

    def write(self, text: str | bytes, name: str = "clients.csv") -> Path:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def bring(self, *arguments: str | Path) -> Done:
        return self.run("accounts", "import", *arguments)

    def told(self, *arguments: str | Path) -> Any:
        done = self.bring(*arguments, "--json")
        assert (done.code, done.err) == (0, "")
        return json.loads(done.out)

    def names(self) -> list[str]:
        return [account["name"] for account in self.accounts()]

    def left(self) -> bytes:
        """Return the content of all files in the data folder."""
        return b"".join(path.read_bytes() for path in sorted(self.data.rglob("*")))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LANGUAGE", "en")
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path, capsys)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the hashing, for tests in which nobody signs in."""

    def verifier(password: Password, salt: bytes, iterations: int) -> Verifier:
        return Verifier(salt, iterations, bytes(32), bytes(32))

    monkeypatch.setattr(accounts_import, "make_verifier", verifier)


# --- what becomes an account --------------------------------------------------------------------------------


def test_an_imported_account_signs_in_with_the_digest_and_has_to_choose_a_password(here: Here) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    done = here.bring(here.write(f"Аня;{HASH}\n"))
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines()[0] == "Imported: 1."
    (account,) = here.accounts()
    assert (account["name"], account["must_change"], account["registered_from"]) == ("Аня", True, "import")
    expires_at = datetime.fromisoformat(account["expires_at"])
    assert before <= expires_at - timedelta(days=14) <= datetime.now(UTC)
    assert f"Until {expires_at:%Y-%m-%d %H:%M} UTC these people can sign in with their old passwords" in done.err
    assert "Delete the old system's file" in done.err
    with serving(here.data, plain=True) as server, server.client() as client:
        assert client.hello().imports
        assert isinstance(client.authenticate("аня", HASH), Welcome)


def test_no_digest_is_left_in_the_data_or_the_log(here: Here) -> None:
    here.bring(here.write(f"ann;{HASH}\n{digest('bob')};{HASH}\nzoe;$apr1$salt${HASH}\n"))
    for form in (HASH.encode(), HASH.upper().encode(), bytes.fromhex(HASH)):
        assert form not in here.left()


@pytest.mark.usefixtures("cheap")
def test_each_account_is_a_record_of_the_log(here: Here) -> None:
    here.bring(here.write(f"ann;{HASH}\nbob;{HASH}\n"))
    (expires_at,) = {account["expires_at"] for account in here.accounts()}
    assert [line.partition(" by=")[0] for line in here.log()] == [
        'account-imported name="ann"',
        'account-imported name="bob"',
    ]
    assert all(line.endswith(f' expires_at="{expires_at}"') for line in here.log())


@pytest.mark.usefixtures("cheap")
def test_to_import_again_changes_nothing(here: Here) -> None:
    file = here.write(f"ann;{HASH}\n")
    assert here.told(file)["imported"] == ["ann"]
    before = here.accounts()
    file.write_text(f"ANN;{digest('dog')}\nbob;{HASH}\n")
    again = here.bring(file)
    assert again.err.splitlines()[:2] == [
        f"{file}, line 1: this name has an account already, which is left as it is.",
        "Imported: 1.",
    ]
    assert here.accounts()[0] == before[0]
    told = here.told(file)
    assert (told["imported"], told["existing"], told["expires_at"]) == ([], ["ANN", "bob"], None)


@pytest.mark.usefixtures("cheap")
def test_a_name_that_is_registered_meanwhile_is_left_alone(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    real = SqlAccounts.add

    async def add(self: SqlAccounts, new: Any, at: datetime, address: str) -> list[Account]:
        once.undo()
        await self.register(prepare("bob"), lambda *_: b"", SCRAM_SHA_256, at, "::1")
        return await real(self, new, at, address)

    with monkeypatch.context() as once:
        once.setattr(SqlAccounts, "add", add)
        told = here.told(here.write(f"ann;{HASH}\nbob;{HASH}\n"))
    assert (told["imported"], told["existing"]) == (["ann"], ["bob"])


@pytest.mark.usefixtures("cheap")
def test_rows_come_from_standard_input(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.write("zoe 10.0.0.1", "clients.txt")  # without a file of names beside it
    given = f"ann;{HASH}\n{digest('10.0.0.1')};{HASH}\n"
    with file_of(given.encode()) as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        assert here.told("-")["imported"] == ["ann"]


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cheap")
def test_names_come_from_the_list_beside_the_file_or_from_the_one_that_is_named(here: Here) -> None:
    file = here.write(f"{digest('10.0.0.1')};{HASH}\n")
    done = here.bring(file, "--dry-run")
    assert f"{file}, line 1, column 1: no name is known for it.\nUse --names " in done.err
    here.write("Vadim10.0.0.1\n", "clients.txt")
    other = here.write("Аня 10.0.0.1\nэто не имя\n", "other.txt")
    assert here.told(file)["imported"] == ["Vadim"]
    told = here.told(file, "--names", other)
    assert told["imported"] == ["Аня"]
    assert [(line["line"], line["why"]) for line in told["names_lines"]] == [(2, "broken")]
    assert f"{other}, line 2: it is neither a name nor" in here.bring(file, "--names", other).err


def test_a_list_of_names_alone_is_told_from_a_file_with_passwords(here: Here) -> None:
    done = here.bring(here.write("Vadim10.0.0.1\nbob 10.0.0.2\n", "clients.txt"))
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "holds names and addresses, but no passwords: give it to --names" in done.err
    assert not here.data.exists()


@pytest.mark.parametrize("store", ["sqlite", "files:{}"])
def test_a_list_of_names_is_kept_by_address_and_what_is_there_stays(here: Here, store: str) -> None:
    place = store.format(here.folder / "people")
    here.write("Vadim10.0.0.1\nАня ::1\nann\n", "clients.txt")
    early = datetime.now(UTC)
    for _ in range(2):
        assert here.bring(here.write(f"ann;{HASH}\n"), "--store", place).code == 0
    kept = asyncio.run(clients(place, here.data))
    assert [(client.address, client.display) for client in kept] == [("10.0.0.1", "Vadim"), ("::1", "Аня")]
    assert all(client.first_at == client.visited_at >= early for client in kept)


async def clients(place: str, data: Path) -> list[Client]:
    store = await open_store(place, data)
    try:
        return await store.clients.all()
    finally:
        await store.close()


def test_a_dry_run_knows_who_is_there_already_also_in_files(here: Here) -> None:
    place = f"files:{here.folder / 'people'}"
    file = here.write(f"ann;{HASH}\n")
    assert here.told(file, "--dry-run", "--store", place)["imported"] == ["ann"]
    assert not (here.folder / "people").exists()
    assert here.told(file, "--store", place)["imported"] == ["ann"]
    assert here.told(file, "--dry-run", "--store", place)["existing"] == ["ann"]


# --- what does not become an account ------------------------------------------------------------------------


def test_with_a_broken_line_nothing_is_imported_and_each_is_listed(here: Here) -> None:
    file = here.write(f"ann;{HASH}\nbob;secret word\n\ntwo words;{HASH}\n")
    done = here.bring(file)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        f"{file}, line 2, column 5 (password): it is not a digest of 32 hexadecimal digits.",
        f"{file}, line 4, column 1 (name): it contains a space.",
        f"Nothing was imported, because {file} has lines that cannot be read: 2. {ADVICE}",
    ]
    assert not here.data.exists()
    told = here.bring(file, "--json")
    assert told.code == 2
    lines = json.loads(told.out)["lines"]
    assert [(line["line"], line["column"], line["field"], line["why"]) for line in lines] == [
        (2, 5, "password", "broken"),
        (3, None, None, "empty"),
        (4, 1, "name", "broken"),
    ]


@pytest.mark.usefixtures("cheap")
def test_the_others_are_imported_if_told_so(here: Here) -> None:
    file = here.write(f"ann;{HASH}\nbob;secret\nzoe;{'ab' * 20}\n")
    done = here.bring(file, "--skip-broken")
    assert done.code == 0
    assert done.err.splitlines()[:3] == [
        f"{file}, line 2, column 5 (password): it is not a digest of 32 hexadecimal digits.",
        f"{file}, line 3, column 5 (password): passwords of the kind SHA-1 are not supported.",
        "Imported: 1.",
    ]
    assert here.names() == ["ann"]


def test_more_lines_than_anybody_reads_are_counted(here: Here) -> None:
    done = here.bring(here.write(f"bob;{HASH}\n" + "ann;secret\n" * 30 + "zoe;secret\n" * 30))
    assert len(done.err.splitlines()) == import_report.REPORTED_MOST + 2
    assert "Further lines with remarks: 40; --json shows all of them." in done.err


@pytest.mark.usefixtures("cheap")
def test_a_dry_run_tells_the_same_and_changes_nothing(here: Here) -> None:
    file = here.write(f"ann;{HASH}\nzoe;{HASH}\nbob;$1$x$y\n")
    done = here.bring(file, "--dry-run")
    assert (done.code, done.err.splitlines()) == (
        0,
        [
            f"{file}, line 3, column 5 (password): passwords of the kind $1$ are not supported.",
            "To be imported: 2. Nothing was changed.",
            "The passwords are read as md5 digests.",
        ],
    )
    assert not here.data.exists()
    here.bring(here.write(f"zoe;{HASH}\n", "first.csv"))
    before = here.accounts(), (here.data / "server.log").read_bytes()
    told = here.told(file, "--dry-run")
    assert (told["dry_run"], told["imported"], told["existing"]) == (True, ["ann"], ["zoe"])
    assert (here.accounts(), (here.data / "server.log").read_bytes()) == before


# --- what cannot be read ------------------------------------------------------------------------------------


def fifo(path: Path) -> None:
    os.mkfifo(path)


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(accounts_import.FILE_MOST + 1)


def folder(path: Path) -> None:
    path.mkdir()


def nothing(path: Path) -> None:
    pass


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (fifo, "it is not a plain file"),
        (zeros, "it is not a plain file"),
        (too_large, f"it has more than {accounts_import.FILE_MOST} bytes"),
        (folder, "it is a folder"),
        (nothing, "there is no such file"),
    ],
)
def test_what_is_no_plain_file_of_a_bearable_size_is_refused(
    here: Here, make: Callable[[Path], None], problem: str
) -> None:
    path = here.folder / "rows"
    make(path)
    good = here.write(f"ann;{HASH}\n")
    for arguments in ([path], [good, "--names", path]):
        done = here.bring(*arguments)
        assert done == (2, "", f"{path} cannot be used: {problem}. Name another file.\n")
    assert not here.data.exists()


def test_the_folder_one_stands_in_is_no_file(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.folder.mkdir(exist_ok=True)
    monkeypatch.chdir(here.folder)
    assert here.bring(".") == (2, "", ". cannot be used: it is a folder. Name another file.\n")


def test_standard_input_has_the_same_limit_and_is_read_no_further(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/zero", encoding="utf-8") as endless:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", endless)
        assert "it has more than" in here.bring("-").err


def test_an_import_that_cannot_be_logged_is_not_done(here: Here) -> None:
    assert here.bring(here.write(f"ann;{HASH}\n"), "--log", here.folder).code == 2
    assert here.names() == []


def test_on_a_terminal_the_progress_is_shown(here: Here) -> None:
    file = here.write(f"ann;{HASH}\n")
    with Terminal("accounts", "import", file, "--data", here.data, home=here.folder) as terminal:
        terminal.shows("Hashing passwords", "Imported: 1.")
        assert terminal.ends() == 0


async def test_two_are_hashed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = [0]

    async def thread(*_: Any) -> Verifier:
        at_once.append(at_once[-1] + 1)
        await asyncio.sleep(0)
        at_once.append(at_once[-1] - 1)
        return Verifier(b"", 0, b"", b"")

    monkeypatch.setattr(asyncio, "to_thread", thread)
    rows = [Row(number, prepare(f"user{number}"), Password(HASH)) for number in range(5)]
    assert len(await accounts_import._hash(Console("en"), rows)) == 5
    assert max(at_once) == 2
