"""Tests of `antiphon accounts` and `antiphon sessions` as processes, beside a server with a client in session."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from antiphon.wire.bodies import Error, Identify, ServerBye, Welcome
from antiphon.wire.kinds import Kind
from support.documents import read, table
from support.guessing import refused, seed_names
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.raw import RawClient
from support.serving import fail, in_session, seed
from support.terminal import Terminal

SOON = 20.0
"""Seconds from the end of a command to the end of the connection on a busy machine; promise 17 is one."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    seed(tmp_path / "data", "bob")
    with ServerProcess(tmp_path / "data", "--plain") as running:
        yield running


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for tests that change nothing on it, which is checked at the end."""
    folder = tmp_path_factory.mktemp("unchanged") / "data"
    seed(folder, "bob")
    with ServerProcess(folder, "--plain") as running:
        before = [told(running, kind, "list") for kind in ("accounts", "sessions")]
        yield running
        assert [told(running, kind, "list") for kind in ("accounts", "sessions")] == before
        assert [len(listed) for listed in before] == [1, 1]


def act(server: ServerProcess, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return run_antiphon(*arguments, "--data", server.folder, home=server.folder.parent, stdin=stdin)


def told(server: ServerProcess, *arguments: str | Path, stdin: str = "") -> Any:
    """Run a command with `--json` and return its result."""
    done = act(server, *arguments, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def signs_in(server: ServerProcess, name: str, password: str = PASSWORD) -> bool:
    with RawClient(server.address) as client:
        client.hello()
        return not isinstance(client.authenticate(name, password), Error)


def session_id(server: ServerProcess, name: str) -> str:
    (session,) = told(server, "sessions", "list", name)
    return str(session["id"])


class Watched:
    """A client in session that records when its connection ended."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.said: Any = None
        self.ended_at = 0.0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.client.sock.settimeout(60)
        self.said = self.client.body()
        self.client.closed()
        self.ended_at = monotonic()

    def ended(self, since: float, cause: str = "revoked") -> None:
        """Check that the connection was closed soon after `since`, with the right reason."""
        self._thread.join()
        assert self.said == ServerBye(reason="revoked", cause=cause)
        assert self.ended_at - since < SOON


ACTS = [
    ("accounts", "disable", "ann"),
    ("accounts", "remove", "ann"),
    ("accounts", "password", "ann"),
    ("accounts", "rename", "ann", "anna"),
    ("sessions", "revoke", "--account", "ann"),
    ("sessions", "revoke", "--all"),
    ("sessions", "revoke", "ID"),
]
REASONS = ["disabled", "removed", "password", "renamed", "revoked", "revoked", "revoked"]


@pytest.mark.parametrize(("command", "reason"), list(zip(ACTS, REASONS, strict=True)))
def test_an_act_cuts_the_session_within_a_second_and_for_good(
    tmp_path: Path, command: tuple[str, ...], reason: str
) -> None:
    (token,) = seed(tmp_path / "data")
    (other,) = seed(tmp_path / "data", "bob") if "--all" not in command else (b"",)
    with ServerProcess(tmp_path / "data", "--plain") as server:
        with in_session(server.address, token) as client:
            assert client.ask("hello") == "hello"
            watched = Watched(client)
            words = [session_id(server, "ann") if word == "ID" else word for word in command]
            assert told(server, *words)["sessions_ended"] == 1
            watched.ended(monotonic(), reason)
        with RawClient(server.address) as again:
            again.hello()
            refused = again.resume(token)
            assert isinstance(refused, Error)
            assert refused.code == "session-ended"
        if other:
            with in_session(server.address, other) as bystander:
                assert bystander.ask("hello") == "hello"
        server.logged(rf'session-revoked name="ann" address=127.0.0.1:\d+ reason="{reason}"')
        server.logged(r" revoked address=127.0.0.1:\d+")


@pytest.mark.parametrize(
    ("command", "language", "sentence"),
    [
        (("sessions", "revoke", "--account", "ann"), "en", "The server's operator has ended this session."),
        (("accounts", "disable", "ann"), "en", "This session is over: the account was disabled."),
        (("accounts", "password", "ann"), "ru", "Этот сеанс завершён: пароль учётной записи изменён."),
    ],
)
def test_the_person_is_told_why_the_session_ended(
    tmp_path: Path, command: tuple[str, ...], language: str, sentence: str
) -> None:
    seed(tmp_path / "data", sessions=0)
    with ServerProcess(tmp_path / "data", "--plain") as server:
        words = ("connect", str(server.address), "--lang", language)
        with Terminal(*words, home=tmp_path, ANTIPHON_NAME="ann", ANTIPHON_PASSWORD=PASSWORD) as terminal:
            terminal.says("ann>", "hello")
            assert told(server, *command)["sessions_ended"] == 1
            terminal.shows(sentence)
            assert terminal.ends() == 4


def test_two_servers_of_one_folder_both_cut(tmp_path: Path) -> None:
    first, second = seed(tmp_path / "data", sessions=2)
    with (
        ServerProcess(tmp_path / "data", "--plain") as one,
        ServerProcess(tmp_path / "data", "--plain") as two,
        in_session(one.address, first) as here,
        in_session(two.address, second) as there,
    ):
        clients = [Watched(here), Watched(there)]
        assert told(one, "accounts", "disable", "ann")["sessions_ended"] == 2
        done = monotonic()
        for client in clients:
            client.ended(done, "disabled")


# --- accounts -----------------------------------------------------------------------------------------------


def test_an_added_account_signs_in_with_its_password_and_is_listed(server: ServerProcess) -> None:
    assert told(server, "accounts", "add", "Ann", "--password-file", "-", stdin=PASSWORD) == {"name": "Ann"}
    assert signs_in(server, "ann")
    ann, bob = told(server, "accounts", "list")
    assert (ann["name"], ann["registered_from"], ann["visited_from"]) == ("Ann", "operator", "127.0.0.1")
    assert (bob["name"], bob["visited_at"], bob["refusals"]) == ("bob", None, 0)
    assert [line.split("\t")[0] for line in act(server, "accounts", "list").stdout.splitlines()] == ["Ann", "bob"]


@pytest.mark.parametrize("kept_in", ["sqlite", "files"])
def test_refused_sign_ins_are_told_to_the_operator_and_to_the_person(tmp_path: Path, kept_in: str) -> None:
    store = ("--store", kept_in if kept_in == "sqlite" else f"files:{tmp_path}/store")
    seed_names(tmp_path / "data", ["Ann", "bob"], store[1])
    with ServerProcess(tmp_path / "data", "--plain", *store) as server:
        assert signs_in(server, "ann")
        for name in ("ann", "ANN", "nobody"):
            assert not signs_in(server, name, "wrong, and wrong again")
        with RawClient(server.address) as client:
            client.hello()
            for _ in range(2):
                assert refused(client, "bob", "rubbish") == "sign-in-refused"
        ann, bob = told(server, "accounts", "list", *store)
        assert (ann["refusals"], bob["refusals"]) == (2, 2)
        assert told(server, "accounts", "show", "ann", *store)["refusals"] == 2
        assert ",2," in act(server, "accounts", "export", *store).stdout
        with RawClient(server.address) as client:
            client.hello()
            welcome = client.authenticate("ann", PASSWORD)
            assert isinstance(welcome, Welcome)
            assert welcome.refusals == 2
        ann, bob = told(server, "accounts", "list", *store)
        assert (ann["refusals"], bob["refusals"]) == (0, 2)


def test_an_account_can_be_added_before_the_first_start(tmp_path: Path) -> None:
    done = run_antiphon(
        "accounts", "add", "ann", "--data", tmp_path / "data", home=tmp_path, ANTIPHON_PASSWORD=PASSWORD
    )
    assert done.returncode == 0, done.stderr
    with ServerProcess(tmp_path / "data", "--plain") as server:
        assert signs_in(server, "ann")


def test_a_disabled_account_signs_in_no_more_until_it_is_enabled(server: ServerProcess) -> None:
    for changed in (True, False):
        assert told(server, "accounts", "disable", "BOB")["changed"] is changed
    assert not signs_in(server, "bob")
    assert told(server, "accounts", "show", "bob")["disabled"] is True
    for changed in (True, False):
        assert told(server, "accounts", "enable", "bob")["changed"] is changed
    assert signs_in(server, "bob")


@pytest.mark.parametrize("act", ["enable", "password"])
def test_an_operator_unlocks_a_name_that_others_have_guessed_at(server: ServerProcess, act: str) -> None:
    fail(server.folder, "bob", 100)
    assert not signs_in(server, "bob")
    result = told(server, "accounts", act, "bob")
    assert signs_in(server, "bob", result.get("passphrase", PASSWORD))


def test_a_reset_password_is_shown_once_and_the_old_one_is_refused(server: ServerProcess) -> None:
    done = act(server, "accounts", "password", "bob")
    assert done.returncode == 0
    made = done.stdout.removesuffix("\n")
    assert re.fullmatch("([a-z]{5}-){4}[a-z]{5}", made)
    assert signs_in(server, "bob", made)
    assert not signs_in(server, "bob")
    assert made not in server.log


def test_a_renamed_account_keeps_its_password(server: ServerProcess) -> None:
    assert told(server, "accounts", "rename", "bob", "Боб")["was"] == "bob"
    assert signs_in(server, "боб")
    assert not signs_in(server, "bob")


def test_a_removed_account_is_gone_and_its_name_free(server: ServerProcess) -> None:
    assert told(server, "accounts", "remove", "bob")["name"] == "bob"
    assert told(server, "accounts", "list") == []
    assert not signs_in(server, "bob")
    told(server, "accounts", "add", "bob", "--password-file", "-", stdin="another password, long")
    assert signs_in(server, "bob", "another password, long")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["accounts", "show", "nobody"], "There is no account “nobody” in"),
        (["accounts", "disable", "nobody"], "There is no account “nobody” in"),
        (["accounts", "enable", "nobody"], "There is no account “nobody” in"),
        (["accounts", "remove", "nobody"], "There is no account “nobody” in"),
        (["accounts", "password", "nobody"], "There is no account “nobody” in"),
        (["accounts", "rename", "nobody", "ann"], "There is no account “nobody” in"),
        (["accounts", "add", "bob", "--password-file", "-"], "There is an account “bob” already."),
        (["accounts", "add", "a b", "--password-file", "-"], "“a b” cannot be a name"),
        (["accounts", "add", "ann"], "The password is missing"),
        (["accounts", "add", "ann", "--password-minimum", "7"], "--password-minimum must be at least 8."),
        (["sessions", "list", "nobody"], "There is no account “nobody” in"),
        (["sessions", "revoke", "--account", "nobody"], "There is no account “nobody” in"),
        (["sessions", "revoke", "0123456789ab"], "There is no session “0123456789ab”."),
        (["sessions", "revoke"], "Say which sessions to revoke"),
        (["sessions", "revoke", "--all", "--account", "bob"], "Say which sessions to revoke"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(
    unchanged: ServerProcess, arguments: list[str], sentence: str
) -> None:
    done = act(unchanged, *arguments, stdin=PASSWORD if "-" in arguments else "")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1


def test_a_short_password_is_refused_by_the_command(server: ServerProcess) -> None:
    done = act(server, "accounts", "add", "ann", "--password-file", "-", stdin="fourteen chars")
    assert done.returncode == 2
    assert "fewer than 15 characters" in done.stderr


def test_a_name_that_is_taken_is_not_given_by_renaming(server: ServerProcess) -> None:
    told(server, "accounts", "add", "ann", "--password-file", "-", stdin=PASSWORD)
    done = act(server, "accounts", "rename", "ann", "BOB")
    assert (done.returncode, done.stderr.split(". ")[0]) == (2, "There is an account “BOB” already")


@pytest.mark.parametrize("command", ["accounts list", "accounts disable ann", "sessions list"])
def test_a_folder_without_accounts_is_an_error_and_is_not_made(tmp_path: Path, command: str) -> None:
    done = run_antiphon(*command.split(), "--data", tmp_path / "slip", home=tmp_path)
    assert done.returncode == 2
    assert "no accounts are kept there" in done.stderr
    assert not (tmp_path / "slip").exists()


def test_a_variable_meant_for_the_client_names_no_account(server: ServerProcess) -> None:
    done = run_antiphon(
        "accounts", "disable", "--data", server.folder, home=server.folder.parent, ANTIPHON_NAME="bob"
    )
    assert done.returncode == 2
    assert signs_in(server, "bob")


def test_each_act_is_one_record_with_who_did_it(server: ServerProcess) -> None:
    told(server, "accounts", "add", "ann", "--password-file", "-", stdin=PASSWORD)
    for words in ("disable ann", "enable ann", "password ann", "rename ann anna", "remove anna"):
        told(server, "accounts", *words.split())
    told(server, "sessions", "revoke", "--account", "bob")
    who = subprocess.check_output(["id", "-un"], text=True).strip()
    acts = [line.split(" ", 2)[2] for line in server.log.splitlines() if f' by="{who}"' in line]
    assert [line.split()[0] for line in acts] == [
        "account-added", "account-disabled", "account-enabled", "password-reset", "account-renamed",
        "account-removed", "sessions-revoked",
    ]  # fmt: skip
    assert 'name="anna" was="ann"' in acts[4]
    assert PASSWORD not in server.log


def test_an_act_that_cannot_be_logged_is_not_done(server: ServerProcess) -> None:
    done = act(server, "accounts", "disable", "bob", "--log", server.folder)
    assert done.returncode == 2
    assert signs_in(server, "bob")


# --- sessions -----------------------------------------------------------------------------------------------


def test_the_list_shows_who_is_there_and_who_was(tmp_path: Path) -> None:
    held, left = seed(tmp_path / "data", sessions=2)
    assert held != left
    with ServerProcess(tmp_path / "data", "--plain") as server, in_session(server.address, held):
        sessions = told(server, "sessions", "list")
        assert sorted(session["connected"] for session in sessions) == [False, True]
        assert {session["name"] for session in sessions} == {"ann"}
        (here,) = (session for session in sessions if session["connected"])
        assert here["address"].startswith("127.0.0.1:")
        assert told(server, "accounts", "show", "ann")["sessions"] == sessions
        lines = act(server, "sessions", "list", "ann").stdout.splitlines()
        assert [line.split("\t")[0] for line in lines] == [session["id"] for session in sessions]
        for token in (held, left):
            assert token.hex() not in json.dumps(sessions)


def test_the_list_shows_the_home_of_a_session_and_who_relays_it(tmp_path: Path) -> None:
    token, other = seed(tmp_path / "data", sessions=2)
    with ServerProcess(tmp_path / "data", "--plain") as one, ServerProcess(tmp_path / "data", "--plain") as two:
        with in_session(one.address, token):
            assert [(each["home"], each["relayed_by"]) for each in homes_of(one)] == [(pid_of(one), None)]
        with in_session(two.address, token), in_session(two.address, other):
            relayed, direct = homes_of(one)
            assert (relayed["home"], relayed["relayed_by"]) == (pid_of(one), pid_of(two))
            assert (direct["home"], direct["relayed_by"]) == (pid_of(two), None)
            lines = [line.split("\t") for line in act(one, "sessions", "list").stdout.splitlines()]
            assert sorted(line[-2:] for line in lines) == sorted([[pid_of(one), pid_of(two)], [pid_of(two), "-"]])


def pid_of(server: ServerProcess) -> str:
    """Return the number of a server's process."""
    return str(server.start["pid"])


def homes_of(server: ServerProcess) -> list[dict[str, Any]]:
    """Return the sessions that are held, the one with the relay first."""
    held = [session for session in told(server, "sessions", "list") if session["connected"]]
    return sorted(held, key=lambda session: session["relayed_by"] or "~")


# --- how it is told -----------------------------------------------------------------------------------------


def test_the_JSON_has_the_fields_that_are_documented(tmp_path: Path) -> None:  # noqa: N802 - its name
    seed(tmp_path / "data")
    acts: dict[str, list[str | Path]] = {
        "accounts list": [],
        "sessions list": [],
        "accounts show": ["ann"],
        "accounts admin": ["ann"],
        "accounts disable": ["ann"],
        "accounts enable": ["ann"],
        "accounts password": ["ann"],
        "sessions revoke": ["--all"],
        "accounts rename": ["ann", "anna"],
        "accounts remove": ["anna"],
        "accounts add": ["bob"],
        "invite": ["zoe"],
        "invitations list": [],
        "invitations revoke": ["zoe"],
        "accounts import": [tmp_path / "clients.csv"],
        "accounts export": [tmp_path / "accounts.csv"],
        "accounts rekey": [],
    }
    (tmp_path / "clients.csv").write_text(f"zoe;{'ab' * 16}\n")
    given = {}
    for command, words in acts.items():
        done = run_antiphon(
            *command.split(),
            *words,
            "--json",
            "--data",
            tmp_path / "data",
            home=tmp_path,
            ANTIPHON_PASSWORD=PASSWORD,
        )
        found = json.loads(done.stdout)
        given[command] = set(found[0] if isinstance(found, list) else found)
    rows: dict[str, str] = dict(table(read("docs/accounts.md"), "command", "JSON"))  # type: ignore[arg-type] # pairs
    elsewhere = (
        "known-servers ",
        "db ",
        "status",
        "reload, drain",
        "backup",
        "restore",
    )  # they have tests of their own
    assert {command for command in rows if not command.startswith(elsewhere)} == set(given)
    account = set(given["accounts list"])
    for command, fields in given.items():
        row = rows[command].partition("; or")[0]  # behind it: with other nodes
        listed = set(re.findall(r"[a-z_]+", row.partition("list of ")[2] or row))
        if command == "accounts show":
            assert fields == account | {"sessions"}
        else:
            assert fields == listed, command


def test_on_a_terminal_a_list_is_a_table_with_headings(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal(
        "accounts", "list", "--data", server.folder, "--lang", "ru", home=tmp_path, COLUMNS="120"
    ) as terminal:
        terminal.shows("Последний вход", "bob")
        assert terminal.ends() == 0


def test_on_a_terminal_the_password_is_typed_hidden_and_removing_asks_first(
    server: ServerProcess, tmp_path: Path
) -> None:
    with Terminal("accounts", "add", "ann", "--data", server.folder, home=tmp_path) as terminal:
        terminal.answer("New password:", PASSWORD)
        terminal.answer("Once more:", PASSWORD)
        terminal.shows("can sign in now")
        assert terminal.ends() == 0
        assert PASSWORD not in terminal.screen
    assert signs_in(server, "ann")
    with Terminal("accounts", "remove", "ann", "--data", server.folder, home=tmp_path) as terminal:
        terminal.answer("for good? [y/N]:", "n")
        terminal.shows("Nothing was removed")
        assert terminal.ends() == 2
    assert signs_in(server, "ann")


@pytest.mark.parametrize(("access", "name"), [("identify", "ann"), ("anyone", None)])
def test_a_session_without_an_account_is_listed_and_revoked(tmp_path: Path, access: str, name: str | None) -> None:
    with ServerProcess(tmp_path / "data", "--plain", "--access", access) as server:
        with RawClient(server.address) as client:
            client.hello()
            client.request(Kind.IDENTIFY, Identify(name=name))
            (session,) = told(server, "sessions", "list")
            assert session["name"] == name
            assert act(server, "sessions", "list").stdout.split("\t")[1] == (name or "-")
            assert told(server, "sessions", "revoke", session["id"]) == {"sessions_ended": 1}
            assert client.body() == ServerBye(reason="revoked", cause="revoked")
            client.closed()
        assert told(server, "sessions", "list") == []
        (line,) = (line for line in server.log.splitlines() if " sessions-revoked " in line)
        assert ("name=" in line) == (name is not None)
