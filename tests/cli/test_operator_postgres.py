"""The operator's commands on a PostgreSQL database."""

import json
from pathlib import Path

import pytest

from support.operator_commands import Operator
from support.processes import PASSWORD


def test_the_commands_work_on_a_database_as_on_files(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = Operator(tmp_path / "data", capsys)
    store = ("--store", database)
    password = tmp_path / "password"
    password.write_text(PASSWORD)

    refused = operator.run("accounts", "list", *store)
    assert (refused.code, "there is no key ring" in refused.err) == (2, True)
    assert not operator.data.exists()
    for name in ("Zoe", "ann"):
        assert operator.run("accounts", "add", name, "--password-file", password, *store).code == 0
    listed = operator.run("accounts", "list", "--json", *store)
    assert [each["name"] for each in json.loads(listed.out)] == ["ann", "Zoe"]
    rekeyed = operator.run("accounts", "rekey", "--json", *store)
    assert json.loads(rekeyed.out) == {"number": 2, "accounts": 2}
    assert operator.run("accounts", "rename", "ann", "anna", *store).code == 0
    assert operator.run("invite", "bob", "--json", *store).code == 0
    invited = operator.run("invitations", "list", "--json")  # the folder notes its store
    assert [each["name"] for each in json.loads(invited.out)] == ["bob"]
    assert json.loads(operator.run("sessions", "list", "--json").out) == []
    assert operator.run("accounts", "add", "eve", "--password-file", password).code == 0
    assert operator.run("backup", tmp_path / "saved").err.startswith("--store: a PostgreSQL database is backed up")
    assert not (operator.data / "accounts.db").exists()
    another = Operator(tmp_path / "another", capsys)
    for command in (
        ("accounts", "list"),
        ("accounts", "add", "eve", "--password-file", password),
        ("accounts", "rekey"),
        ("invite", "eve"),
        ("sessions", "list"),
        ("serve", "--port", "0"),
        ("serve", "--check", "--port", "0"),
    ):
        refused = another.run(*command, *store)
        assert refused.code == 2
        assert (
            f"secret.key cannot be used: it is missing, and the database {database} was begun with it. Copy"
            in (" ".join((refused.out + refused.err).split()))
        ), command
        assert not (another.data / "secret.key").exists()
