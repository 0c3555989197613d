"""Tests of `antiphon invite` and `antiphon invitations` in this process, on a data folder without a server."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from antiphon.address import Address, parse
from antiphon.cli.main import main
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
from antiphon.errors import NamesUnusable, TryLater
from antiphon.identity.invitations import Code
from antiphon.store.sql.invitations import SqlInvitations
from support.invitations import invite
from support.serving import seed
from support.streams import file_of

SERVER = Address("tls", "school.example", 9000)


class Told(NamedTuple):
    """The output of a command."""

    exit_code: int
    out: str
    errors: str

    @property
    def json(self) -> Any:
        assert (self.exit_code, self.errors) == (0, "")
        return json.loads(self.out)


Act = Callable[..., Told]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder whose server listened at `SERVER` last, with an account for ann."""
    seed(tmp_path / "data")
    DataFolder.open(tmp_path / "data").last_address = SERVER
    return tmp_path / "data"


@pytest.fixture
def act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Act:
    """Run a command on that folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("ANTIPHON_ADDRESS", "tls://client@elsewhere:1")  # the client's
    monkeypatch.setenv("ANTIPHON_NAME", "client")

    def run(*arguments: str | Path) -> Told:
        try:
            exit_code = main([*map(str, arguments), "--data", str(tmp_path / "data")])
        except SystemExit as left:  # cyclopts exits so after a successful command
            exit_code = int(left.code or 0)
        return Told(exit_code, *capsys.readouterr())

    return run


def states(act: Act) -> dict[str, str]:
    return {record["name"]: record["state"] for record in act("invitations", "list", "--json").json}


# --- one ----------------------------------------------------------------------------------------------------


def test_a_code_holds_where_the_server_listened_its_key_and_the_name(folder: Path, act: Act) -> None:
    told = act("invite", "Вадим")
    assert (told.exit_code, told.errors) == (0, "")
    assert re.fullmatch(r"antiphon1://Вадим@school\.example:9000/\S+\n", told.out)
    fingerprint = load_or_make(DataFolder.open(folder), []).fingerprint
    code = Code.read(told.out)
    assert code.address == Address("tls", "school.example", 9000, "Вадим", fingerprint)
    for path in folder.iterdir():
        assert bytes(code.secret) not in path.read_bytes(), path
        assert told.out[-20:-1].encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("public", "address"),
    [
        ("192.0.2.7", "tls://192.0.2.7:9000"),
        ("[2001:db8::7]", "tls://[2001:db8::7]:9000"),
        ("2001:db8::7", "tls://[2001:db8::7]:9000"),
        ("школа.рф:443", "tls://школа.рф:443"),
        ("tls://Other.Example:1", "tls://other.example:1"),
    ],
)
def test_the_operator_can_say_where_others_reach_the_server(
    folder: Path, act: Act, public: str, address: str
) -> None:
    told = act("invite", "bob", "--public-address", public, "--json").json
    assert told["address"].partition("#")[0] == address
    assert Code.read(told["code"]).address.name == "bob"


def test_the_address_that_the_server_printed_is_taken_and_that_of_another_server_is_not(
    folder: Path, act: Act
) -> None:
    fingerprint = load_or_make(DataFolder.open(folder), []).fingerprint
    right = f"tls://host:1#{fingerprint}"
    assert act("invite", "bob", "--public-address", right, "--json").json["address"] == right
    nodes = f"{right}+sha256:{'A' * 43}"
    assert Code.read(act("invite", "bob", "--public-address", nodes, "--json").json["code"]).address == replace(
        parse(nodes), name="bob"
    )
    told = act("invite", "bob", "--public-address", f"tls://host:1#sha256:{'A' * 43}")
    assert (told.exit_code, told.out) == (2, "")
    assert "not that of this server's key" in told.errors


def test_a_plain_server_is_invited_to_without_a_key(folder: Path, act: Act) -> None:
    DataFolder.open(folder).last_address = Address("tcp", "localhost", 1)
    told = act("invite", "bob", "--json").json
    assert told["address"] == "tcp://localhost:1"
    assert Code.read(told["code"]).address.scheme == "tcp"
    assert not (folder / "certificate.pem").exists()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_code_for_this_machine_only_is_told_as_such(folder: Path, act: Act, host: str) -> None:
    DataFolder.open(folder).last_address = Address("tls", host, 1)
    told = act("invite", "bob")
    assert told.exit_code == 0
    assert told.errors.startswith(f"The code is for {host} and works on this machine only;")
    assert act("invite", "bob", "--public-address", "school.example").errors == ""


def test_before_the_first_start_the_code_names_this_machine_and_says_so(tmp_path: Path, act: Act) -> None:
    told = act("invite", "bob")
    assert told.exit_code == 0
    assert told.errors.startswith("No server has run here yet: the code names tls://")
    made = Code.read(told.out).address
    assert made.fingerprint == load_or_make(DataFolder.open(tmp_path / "data"), []).fingerprint


@pytest.mark.parametrize(("time", "days"), [("7d", 7), ("36h", 1.5), ("2w", 14), ("90m", 1 / 16), ("366d", 366)])
def test_the_time_is_as_said(folder: Path, act: Act, time: str, days: float) -> None:
    act("invite", "bob", "--for", time)
    (record,) = act("invitations", "list", "--json").json
    passed = datetime.fromisoformat(record["expires_at"]) - datetime.fromisoformat(record["made_at"])
    assert abs(passed - timedelta(days=days)) <= timedelta(seconds=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["invite"], "Say whom to invite: NAME, or --from FILE."),
        (["invite", "bob", "--from", "x"], "Say whom to invite: NAME, or --from FILE."),
        (["invite", "a b"], "“a b” cannot be a name: it contains a space."),
        (["invite", "ANN"], "There is an account “ANN” already."),
        (
            ["invite", "bob", "--for", "soon"],
            "--for: “soon” is not a time such as 30m, 12h, 7d or 2w; it may be at most 366 days.",
        ),
        (["invite", "bob", "--for", "0d"], "--for: “0d” is not a time"),
        (["invite", "bob", "--for", "367d"], "--for: “367d” is not a time"),
        (["invite", "bob", "--for", "999999w"], "--for: “999999w” is not a time"),
        (["invite", "bob", "--public-address", "a b"], "--public-address: “a b” is not an address"),
        (["invite", "bob", "--public-address", "a:0"], "--public-address: “0” is not a port."),
        (["invite", "--from", "nothing.txt"], "--from nothing.txt: No such file or directory"),
        (["invitations", "revoke", "bob"], "There is no unused invitation for “bob”."),
        (["invitations", "revoke", "a b"], "“a b” cannot be a name"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(
    folder: Path, act: Act, arguments: list[str], sentence: str
) -> None:
    told = act(*arguments)
    assert (told.exit_code, told.out) == (2, "")
    assert told.errors.startswith(sentence)
    assert len(told.errors.splitlines()) == 1
    assert states(act) == {}


def test_an_act_that_cannot_be_logged_is_not_done(folder: Path, act: Act) -> None:
    assert act("invite", "bob", "--log", folder).exit_code == 2
    assert states(act) == {}


# --- a class ------------------------------------------------------------------------------------------------


def test_a_class_gets_a_line_each_whatever_the_file_looks_like(folder: Path, act: Act, tmp_path: Path) -> None:
    listed = tmp_path / "class.txt"
    listed.write_bytes("\ufeff# class 5b\r\n\r\n  Вадим \r\n李\n#ann\nbob".encode())
    told = act("invite", "--from", listed)
    assert (told.exit_code, told.errors) == (0, "")
    pairs = [line.split("\t") for line in told.out.splitlines()]
    assert [name for name, _ in pairs] == ["Вадим", "李", "bob"]
    assert [Code.read(code).address.name for _, code in pairs] == ["Вадим", "李", "bob"]
    assert len({bytes(Code.read(code).secret) for _, code in pairs}) == 3
    given = act("invite", "--from", listed, "--json").json
    assert [record["name"] for record in given] == ["Вадим", "李", "bob"]
    assert states(act) == dict.fromkeys(["Вадим", "李", "bob"], "open")


def test_a_class_comes_through_standard_input_too(folder: Path, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    with file_of("bob\nзоя\n".encode()) as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        assert [line.split("\t")[0] for line in act("invite", "--from", "-").out.splitlines()] == ["bob", "зоя"]


def test_lines_that_cannot_be_used_are_all_told_and_nobody_is_invited(
    folder: Path, act: Act, tmp_path: Path
) -> None:
    listed = tmp_path / "class.txt"
    listed.write_text("bob\nIvanov Ivan\nzoe\n\nBOB\nаnn\n", "utf-8")
    for options in ([], ["--json"]):
        told = act("invite", "--from", listed, *options)
        assert (told.exit_code, told.out) == (2, "")
        assert told.errors.splitlines() == [
            f"{listed}:2: “Ivanov Ivan” cannot be a name: it contains a space.",
            f"{listed}:5: “BOB” is in line 1 already.",
            f"{listed}:6: “аnn” cannot be a name: it mixes letters of more than one alphabet.",
            f"{NamesUnusable(path=listed, count=3)}",
        ]
    assert states(act) == {}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "there is no name in it"),
        (b"# nobody\n\n", "there is no name in it"),
        (b"\xc2\xe0", "it is not UTF-8"),
    ],
)
def test_a_file_without_names_is_refused(
    folder: Path, act: Act, tmp_path: Path, content: bytes, problem: str
) -> None:
    listed = tmp_path / "class.txt"
    listed.write_bytes(content)
    told = act("invite", "--from", listed)
    assert (told.exit_code, told.out, told.errors) == (2, "", f"--from {listed}: {problem}\n")


def test_who_has_an_account_already_is_told_and_passed_over(folder: Path, act: Act, tmp_path: Path) -> None:
    listed = tmp_path / "class.txt"
    listed.write_text("Ann\nbob\n", "utf-8")
    told = act("invite", "--from", listed)
    assert told.exit_code == 0
    assert told.errors == "“Ann” has an account already, and gets no invitation.\n"
    assert [line.split("\t")[0] for line in told.out.splitlines()] == ["bob"]


# --- who is invited -----------------------------------------------------------------------------------------


def test_an_invitation_is_listed_until_it_is_revoked(folder: Path, act: Act) -> None:
    act("invite", "bob")
    act("invite", "Zoe")
    invite(folder, "late", days=-1)
    invite(folder, "forgotten", days=-40)
    assert act("invite", "bob").exit_code == 0
    assert states(act) == {"Zoe": "open", "late": "expired", "bob": "open"}
    lines = [line.split("\t") for line in act("invitations", "list").out.splitlines()]
    assert [(line[0], line[1]) for line in lines] == [("Zoe", "open"), ("late", "expired"), ("bob", "open")]
    assert act("invitations", "revoke", "ZOE", "--json").json == {"name": "ZOE"}
    assert states(act) == {"late": "expired", "bob": "open"}


def test_each_act_is_a_record_without_the_code(folder: Path, act: Act) -> None:
    code = act("invite", "bob").out.strip()
    act("invitations", "revoke", "bob")
    log = (folder / "server.log").read_text("utf-8")
    assert re.search(r' info invited name="bob" by="[^"]+"\n', log)
    assert re.search(r' info invitation-revoked name="bob" by="[^"]+"\n', log)
    assert code[-20:] not in log


def test_a_store_that_fails_half_way_leaves_no_code_untold(
    folder: Path, act: Act, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = SqlInvitations.invite

    async def fail_at_zoe(self: SqlInvitations, fingerprint: bytes, name: Any, *rest: Any) -> Any:
        if name.key == "zoe":
            raise TryLater
        return await keep(self, fingerprint, name, *rest)

    monkeypatch.setattr(SqlInvitations, "invite", fail_at_zoe)
    listed = tmp_path / "class.txt"
    listed.write_text("bob\nzoe\nlast\n", "utf-8")
    told = act("invite", "--from", listed)
    assert told.exit_code == 1
    assert [line.split("\t")[0] for line in told.out.splitlines()] == ["bob"]
    assert states(act) == {"bob": "open"}
