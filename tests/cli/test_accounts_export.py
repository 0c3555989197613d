"""Tests of `antiphon accounts export`: readable again, safe in a spreadsheet, and without secrets."""

import asyncio
import csv
import io
import json
import os
import secrets
import stat
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from antiphon.data.folder import DataFolder
from antiphon.identity.scram import Verifier
from antiphon.store.files.spreadsheet import FORMULAS, GUARD
from support.operator_commands import Operator
from support.serving import seed, verifier
from support.spreadsheet import kept

NAMES = ["=cmd", "+x", "-x", "@x", "'=x", "'", 'a"b', "a,b", "Аня", "007", "1e5", "true"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "data"
    for name in NAMES:
        seed(folder, name)
    return folder


@pytest.fixture
def here(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operator:
    monkeypatch.setenv("HOME", str(data.parent))
    monkeypatch.setenv("LANGUAGE", "en")
    return Operator(data, capsys)


def rows_of(text: str) -> list[dict[str, str]]:
    """Read CSV as the documents describe it."""
    return [
        {key: value.removeprefix(GUARD) for key, value in row.items()}
        for row in csv.DictReader(io.StringIO(text, newline=""), strict=True)
    ]


def test_CSV_tells_what_the_list_tells(here: Operator) -> None:  # noqa: N802 - its name
    done = here.run("accounts", "export")
    assert (done.code, done.err) == (0, "")
    shown = {None: "", True: "yes", False: "no"}
    wanted = [{key: shown.get(value, str(value)) for key, value in row.items()} for row in here.accounts()]
    assert [row | {"refusals": "0"} for row in wanted] == rows_of(done.out)
    assert sorted(row["name"] for row in rows_of(done.out)) == sorted(NAMES)


def test_no_field_of_CSV_is_a_formula(here: Operator) -> None:  # noqa: N802 - its name
    for arguments in ([], ["--secrets"]):
        for row in csv.reader(io.StringIO(here.run("accounts", "export", *arguments).out)):
            assert not any(field.startswith(FORMULAS) for field in row)
            assert list(map(kept, row)) == row  # nor is one read as a number


def test_JSON_is_the_list(here: Operator) -> None:  # noqa: N802 - its name
    for arguments in (["--json"], ["--format", "json"]):
        done = here.run("accounts", "export", *arguments)
        assert (json.loads(done.out), done.err) == (here.accounts(), "")


def test_without_being_asked_no_credential_is_given(here: Operator) -> None:
    for form in ("csv", "json"):
        out = here.run("accounts", "export", "--format", form).out
        assert "credential" not in out


@pytest.mark.parametrize("form", ["csv", "json"])
def test_with_secrets_the_credentials_are_those_that_the_key_ring_opens(here: Operator, form: str) -> None:
    done = here.run("accounts", "export", "--secrets", "--format", form)
    assert "Keep it apart from secret.key" in done.err
    rows = rows_of(done.out) if form == "csv" else json.loads(done.out)
    ring = DataFolder.open(here.data).key_ring(secrets.token_bytes)
    assert len(rows) == len(NAMES)
    for row in rows:
        sealed = b64decode(row["credential"], validate=True)
        assert Verifier.decode(ring.open(sealed, int(row["id"]).to_bytes(8, "big"))) == verifier()


def test_a_file_is_this_users_alone_and_replaced_whole(here: Operator, tmp_path: Path) -> None:
    path = tmp_path / "accounts.csv"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        done = here.run("accounts", "export", "--secrets", path)
    finally:
        os.umask(before)
    assert (done.code, done.out) == (0, "")
    assert f"Exported: {len(NAMES)}." in done.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(row["name"] for row in rows_of(path.read_text())) == sorted(NAMES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["accounts.csv"]


def test_the_result_of_writing_a_file_is_told_as_JSON(here: Operator, tmp_path: Path) -> None:  # noqa: N802 - its name
    path = tmp_path / "accounts.json"
    done = here.run("accounts", "export", path, "--json")
    assert json.loads(done.out) == {"path": str(path), "count": len(NAMES), "secrets": False}
    assert done.err == ""
    assert json.loads(path.read_text()) == here.accounts()


def test_what_is_no_plain_file_is_not_replaced(here: Operator, tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(tmp_path / "elsewhere")
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path):
        done = here.run("accounts", "export", path)
        assert done == (2, "", f"{path} cannot be used: it is not a plain file. Name another file.\n")
    assert link.is_symlink()
    assert pipe.is_fifo()
    assert here.run("accounts", "export", tmp_path / "no" / "file").code == 2


def test_each_export_is_a_record_that_says_whether_credentials_went_out(here: Operator) -> None:
    seen = len(here.log())
    here.run("accounts", "export")
    here.run("accounts", "export", "--secrets")
    first, second = here.log()[seen:]
    assert first.startswith('accounts-exported by="')
    assert first.endswith(f'" count={len(NAMES)} credentials=no')
    assert second.endswith(f'" count={len(NAMES)} credentials=yes')


def test_without_accounts_there_is_a_heading(
    here: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heading = here.run("accounts", "export").out.splitlines()[0]
    seed(tmp_path / "data")
    empty = Operator(tmp_path / "data", capsys)
    assert empty.run("accounts", "remove", "ann").code == 0
    assert empty.run("accounts", "export").out.splitlines() == [heading]


def test_an_account_that_goes_meanwhile_is_left_out(here: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    from antiphon.store.sql.accounts import SqlAccounts

    real = SqlAccounts.find

    async def find(self: SqlAccounts, key: str) -> Any:
        await asyncio.sleep(0)
        return None if key == "аня" else await real(self, key)

    monkeypatch.setattr(SqlAccounts, "find", find)
    rows = json.loads(here.run("accounts", "export", "--secrets", "--json").out)
    assert len(rows) == len(NAMES) - 1


@pytest.mark.parametrize("arguments", [["--secrets"], ["--format", "json"]])
def test_an_export_is_told_from_a_file_of_an_old_system(
    here: Operator, tmp_path: Path, arguments: list[str]
) -> None:
    path = tmp_path / "export"
    here.run("accounts", "export", str(path), *arguments)
    done = here.run("accounts", "import", str(path), "--scheme", "plain", "--dry-run")
    assert (done.code, "holds accounts of Antiphon" in done.err, "antiphon invite" in done.err) == (2, True, True)
