"""Tests of `antiphon connect` without a terminal: required input, trusted keys, failures and exit codes."""

import re
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import ConnectRefused, InputMissing, NameUnknown, SessionsFull
from antiphon.server.session.manager import SESSIONS_MOST
from antiphon.wire import bodies, frames
from antiphon.wire.bodies import Error, ServerBye
from antiphon.wire.kinds import Kind
from support.certificate_authority import issue_certificate
from support.fake_servers import Peer, fake
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.raw import RawClient

ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}


def known_servers(home: Path) -> Path:
    return home / ".local" / "share" / "antiphon" / "known_servers"


def bare(server: ServerProcess) -> str:
    """Return a server's address without its fingerprint."""
    return f"localhost:{server.address.port}"


def test_the_first_of_several_addresses_that_answers_is_used(server: ServerProcess, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"localhost:{listener.getsockname()[1]}"
    given = ANN | {"ANTIPHON_ADDRESS": f"{gone},{server.address}"}
    done = run_antiphon("connect", home=tmp_path, stdin="hello\n", **given)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert f"Connected to tls://{bare(server)}." in done.stderr
    done = run_antiphon("ping", "--count", "2", "--connections", "2", home=tmp_path, **given)
    assert done.returncode == 0, done.stderr
    assert f"tls://{bare(server)}, key sha256:" in done.stdout
    done = run_antiphon("connect", f"{gone},{gone.replace('localhost', '127.0.0.1')}", home=tmp_path, **ANN)
    assert (done.returncode, done.stdout) == (3, "")
    assert "none of these servers can be reached" in done.stderr


# --- what is missing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "what", "how"),
    [
        ({}, "The address", "an argument or ANTIPHON_ADDRESS"),
        ({"ANTIPHON_ADDRESS": "{}"}, "The name", "--name, ANTIPHON_NAME or name@host"),
        (
            {"ANTIPHON_ADDRESS": "{}", "ANTIPHON_NAME": "ann"},
            "The password",
            "--password-file or ANTIPHON_PASSWORD",
        ),
    ],
)
def test_what_is_missing_is_named_with_the_ways_to_give_it(
    server: ServerProcess, tmp_path: Path, given: dict[str, Any], what: str, how: str
) -> None:
    environment = {name: value.format(server.address) for name, value in given.items()}
    done = run_antiphon("connect", home=tmp_path, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{InputMissing(what=what, how=how)}\n")


def test_everything_may_come_from_the_environment(server: ServerProcess, tmp_path: Path) -> None:
    done = run_antiphon("connect", home=tmp_path, stdin="hello\n", ANTIPHON_ADDRESS=str(server.address), **ANN)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


# --- the password -------------------------------------------------------------------------------------------


def test_the_password_comes_before_the_lines_of_standard_input(server: ServerProcess, tmp_path: Path) -> None:
    done = run_antiphon(
        "connect", str(server.address), "--name", "ann", "--password-file", "-",
        home=tmp_path, stdin=f"{PASSWORD}\na\nb\n",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "a\nb\n"), done.stderr


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\nsecond line\n"])
def test_the_password_is_the_first_line_of_the_file(server: ServerProcess, tmp_path: Path, end: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_bytes((PASSWORD + end).encode())
    done = run_antiphon(
        "connect", str(server.address), "--name", "ann", "--password-file", secret, home=tmp_path, stdin="hello\n"
    )
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "--password-file {}: No such file or directory"),
        (b"", "The password given is empty."),
        (b"\nsecond line\n", "The password given is empty."),
        (b"\xff\xfe\n", "The password given is not UTF-8."),
    ],
    ids=["missing", "empty", "empty-line", "not-utf-8"],
)
def test_a_password_file_without_a_password_is_refused(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    secret = tmp_path / "secret.txt"
    if content is not None:
        secret.write_bytes(content)
    done = run_antiphon("connect", "ann@localhost:1", "--password-file", secret, home=tmp_path)
    assert (done.returncode, done.stderr) == (2, sentence.format(secret) + "\n")


@pytest.mark.parametrize("option", ["--password", "--token"])
def test_there_is_no_option_that_holds_a_secret(tmp_path: Path, option: str) -> None:
    done = run_antiphon("connect", "ann@localhost:1", option, PASSWORD, home=tmp_path)
    assert done.returncode == 2
    assert PASSWORD not in done.stderr


def test_an_empty_variable_is_no_password(tmp_path: Path) -> None:
    done = run_antiphon("connect", "ann@localhost:1", home=tmp_path, ANTIPHON_PASSWORD="")
    assert (done.returncode, done.stderr) == (2, "The password given is empty.\n")


# --- new names ----------------------------------------------------------------------------------------------


def test_a_new_name_is_registered_only_when_that_is_said(server: ServerProcess, tmp_path: Path) -> None:
    environment: dict[str, Any] = {"ANTIPHON_NAME": "newcomer", "ANTIPHON_PASSWORD": PASSWORD}
    refused = run_antiphon("connect", str(server.address), home=tmp_path, **environment)
    assert refused.returncode == 4
    assert refused.stderr == f"{NameUnknown(name='newcomer')}\n"
    first = run_antiphon("connect", str(server.address), "--register", home=tmp_path, **environment)
    assert (first.returncode, first.stdout) == (0, "")
    assert "The password is kept. Now you sign in with it.\n" in first.stderr
    assert "Welcome, newcomer! This is your first visit.\n" in first.stderr
    second = run_antiphon("connect", str(server.address), "--register", home=tmp_path, **environment)
    assert "Welcome back, newcomer!" in second.stderr


def test_a_password_that_is_too_short_is_refused_before_it_is_kept(server: ServerProcess, tmp_path: Path) -> None:
    done = run_antiphon(
        "connect", str(server.address), "--register", "--name", "hasty", home=tmp_path, ANTIPHON_PASSWORD="short"
    )
    assert done.returncode == 2
    assert done.stderr.startswith("This password cannot be used: it has fewer than 15 characters.")
    assert "hasty" not in server.log


def test_registration_that_is_closed_is_refused(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "d", "--registration", "closed") as server:
        done = run_antiphon("connect", str(server.address), "--register", home=tmp_path, **ANN)
    assert done.returncode == 4
    assert done.stderr.startswith("This server does not take new names.")


def test_a_name_that_nobody_can_have_is_refused(server: ServerProcess, tmp_path: Path) -> None:
    done = run_antiphon("connect", str(server.address), "--name", "two words", home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("“two words” cannot be a name: ")


# --- trust --------------------------------------------------------------------------------------------------


def test_an_unknown_key_is_remembered_after_the_sign_in(server: ServerProcess, tmp_path: Path) -> None:
    done = run_antiphon("connect", bare(server), home=tmp_path, stdin="hello\n", **ANN)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert known_servers(tmp_path).read_text() == f"{bare(server)} {server.address.fingerprint}\n"
    nodes = f"{server.address.fingerprint}+sha256:{'A' * 43}"
    done = run_antiphon("connect", f"{bare(server)}#{nodes}", home=tmp_path, stdin="hello\n", **ANN)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert known_servers(tmp_path).read_text().splitlines()[1:] == [f"{bare(server)} {nodes}"]


def test_an_unknown_key_is_not_remembered_when_the_sign_in_was_refused(
    server: ServerProcess, tmp_path: Path
) -> None:
    done = run_antiphon("connect", bare(server), home=tmp_path, **ANN | {"ANTIPHON_PASSWORD": "not the right one"})
    assert done.returncode == 4
    assert not known_servers(tmp_path).exists()


def test_a_server_that_cannot_prove_itself_is_not_remembered(tmp_path: Path) -> None:
    def pretend(peer: Peer) -> None:
        peer.hello()
        peer.challenge()
        peer.welcome()
        assert peer.rest() == b""

    with fake(pretend, tmp_path / "fake") as there:
        done = run_antiphon("connect", f"127.0.0.1:{there.address.port}", home=tmp_path, stdin="secret\n", **ANN)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("The server at tls://127.0.0.1:")
    assert "could not prove that it knows your account." in done.stderr
    assert not known_servers(tmp_path).exists()


def test_a_lying_servers_greeting_and_last_words_are_one_line_each_and_move_no_cursor(tmp_path: Path) -> None:
    def lie(peer: Peer) -> None:
        peer.hello(access="identify", mechanisms=[])
        peer.welcome(None, "Hello!\nYou have left.\r\x1b[2J\x9b1m\u2028")
        peer.send(peer.conversation.bye("closed", "Bye.\nConnected to tls://elsewhere:1.\x1b]0;x\x07"))
        peer.rest()

    with fake(lie) as there:
        done = run_antiphon("connect", str(there.address), home=tmp_path, stdin="", ANTIPHON_NAME="ann")
    lines = done.stderr.split("\n")
    assert lines[1] == "Hello!\\nYou have left.\\r\\x1b[2J\\x9b1m\\u2028"
    assert "Bye.\\nConnected to tls://elsewhere:1.\\x1b]0;x\\x07" in lines[2]
    assert re.findall(r"[^\n -~“”]", done.stderr) == [], "nothing that a terminal would obey"
    assert lines[3:] == ["You have left.", ""]


def test_nobody_registers_at_a_server_whose_key_is_unknown(server: ServerProcess, tmp_path: Path) -> None:
    done = run_antiphon(
        "connect", bare(server), "--register", "--name", "trusting", home=tmp_path, ANTIPHON_PASSWORD=PASSWORD
    )
    assert done.returncode == 5
    assert done.stderr.startswith(f"The key of localhost is not known here: {server.address.fingerprint}.")
    assert "trusting" not in server.log
    assert not known_servers(tmp_path).exists()


def test_a_wrong_fingerprint_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    def listen(peer: Peer) -> None:
        peer.hello()
        assert peer.rest() == b""

    with fake(listen, tmp_path / "fake") as there:
        address = re.sub(r"#sha256:.*", f"#sha256:{'A' * 43}", str(there.address))
        done = run_antiphon("connect", address, home=tmp_path, **ANN)
    assert done.returncode == 5
    assert "this may be an impostor. Ask the operator." in done.stderr
    assert len(there.peers) == 1


def test_a_key_that_the_systems_authorities_vouch_for_is_taken_and_not_remembered(tmp_path: Path) -> None:
    authority, fingerprint = issue_certificate(tmp_path / "d")
    with ServerProcess(tmp_path / "d") as server:
        assert server.address.fingerprint == fingerprint
        vouched = run_antiphon(
            "connect",
            bare(server),
            "--register",
            home=tmp_path,
            stdin="hello\n",
            SSL_CERT_FILE=str(authority),
            **ANN,
        )
        assert (vouched.returncode, vouched.stdout) == (0, "hello\n"), vouched.stderr
        assert not known_servers(tmp_path).exists()
        unknown = run_antiphon("connect", bare(server), "--register", home=tmp_path, **ANN)
        assert unknown.returncode == 5
        other = f"127.0.0.1:{server.address.port}"  # the certificate is for localhost only
        named = run_antiphon("connect", other, "--register", home=tmp_path, SSL_CERT_FILE=str(authority), **ANN)
        assert named.returncode == 5


# --- who is not there ---------------------------------------------------------------------------------------


def test_where_nobody_listens_is_told(tmp_path: Path) -> None:
    done = run_antiphon("connect", "localhost:1", home=tmp_path, **ANN)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"{ConnectRefused(address='tls://localhost:1', problem='nothing listens there')}\n"


def test_a_host_that_does_not_resolve_is_told(tmp_path: Path) -> None:
    done = run_antiphon("connect", "nosuch.invalid", home=tmp_path, **ANN)
    assert done.returncode == 3
    assert done.stderr.startswith("There is no host “nosuch.invalid”.")


@pytest.mark.parametrize("scheme", ["tls", "tcp"])
def test_a_port_that_is_silent_is_given_up_in_time(tmp_path: Path, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        done = run_antiphon("connect", address, "--timeout", "0.5", home=tmp_path, **ANN)
    assert done.returncode == 6
    assert done.stderr.startswith(f"{address} did not answer within 0.5 seconds.")


def test_a_server_that_falls_silent_during_the_sign_in_is_given_up_in_time(tmp_path: Path) -> None:
    def greet(peer: Peer) -> None:
        peer.hello()
        peer.rest()

    with fake(greet) as there:
        done = run_antiphon("connect", str(there.address), "--timeout", "0.5", home=tmp_path, **ANN)
    assert done.returncode == 6


def test_tcp_to_a_port_of_tls_is_told(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "d", "--handshake-seconds", "2.5") as server:
        done = run_antiphon("connect", f"tcp://localhost:{server.address.port}", home=tmp_path, **ANN)
    assert done.returncode == 3
    assert (
        "does not speak this protocol. Check the port, and whether the server uses tls:// or tcp://."
        in done.stderr
    )


def test_tls_to_a_port_of_tcp_is_told(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "d", "--plain") as server:
        done = run_antiphon("connect", bare(server), home=tmp_path, **ANN)
    assert done.returncode == 5
    assert f"The TLS connection to tls://localhost:{server.address.port} failed: " in done.stderr
    assert "Check whether the server uses tls:// or tcp://." in done.stderr


@pytest.mark.parametrize(("scheme", "code"), [("tcp", 3), ("tls", 5)])
def test_a_server_of_another_protocol_is_told_as_such(tmp_path: Path, scheme: str, code: int) -> None:
    def greet(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        peer.rest()

    with fake(greet) as there:
        done = run_antiphon("connect", f"{scheme}://127.0.0.1:{there.address.port}", home=tmp_path, **ANN)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1
    assert len(there.peers) == 1, "tried once"


def test_what_a_server_says_cannot_move_the_cursor(server: ServerProcess, tmp_path: Path) -> None:
    def threaten(peer: Peer) -> None:
        peer.hello()
        peer.control()
        error = Error(code="name-taken", text="\x1b[2Jgone", hint="\x1b[1m")
        peer.send(frames.encode(Kind.ERROR, 0, bodies.encode(error)))

    with fake(threaten) as there:
        done = run_antiphon("connect", str(there.address), home=tmp_path, **ANN)
    assert done.returncode == 4
    assert done.stderr == "\\x1b[2Jgone \\x1b[1m\n"


@pytest.mark.parametrize(
    "words", [["connect", "--port", "9000"], ["connect", "localhost", "--host=x"], ["ping", "-p", "9000"]]
)
def test_a_port_of_its_own_is_answered_with_the_form_of_an_address(tmp_path: Path, words: list[str]) -> None:
    done = run_antiphon(*words, home=tmp_path)
    assert done.returncode == 2
    option = next(word for word in words if word.startswith("-")).partition("=")[0]
    assert done.stderr == (
        f"antiphon: There is no option {option}: give HOST:PORT, as in antiphon {words[0]} localhost:7862. "
        "Try --help.\n"
    )


def test_another_unknown_option_is_told_as_such(tmp_path: Path) -> None:
    done = run_antiphon("connect", "--colour", home=tmp_path)
    assert "HOST:PORT" not in done.stderr
    assert "--colour" in done.stderr


# --- as many sessions as there may be -------------------------------------------------------------------------


def test_where_all_sessions_are_used_replace_ends_the_oldest(server: ServerProcess, tmp_path: Path) -> None:
    """`connect --replace` and `ping --replace`; without it the command says what to do."""
    address = server.address
    with ExitStack() as stack:
        used = [stack.enter_context(RawClient(address)) for _ in range(SESSIONS_MOST)]
        for client in used:
            client.sign_in("ann", PASSWORD)
        full = run_antiphon("connect", str(address), home=tmp_path, stdin="hello\n", **ANN)
        assert (full.returncode, full.stdout) == (4, "")
        assert full.stderr == f"{SessionsFull(most=SESSIONS_MOST)}\n"
        russian = run_antiphon("ping", str(address), "--count", "1", home=tmp_path, LANGUAGE="ru", **ANN)
        assert russian.returncode == 4
        assert "--replace" in russian.stderr
        assert "(10)" in russian.stderr
        for oldest, command in zip(used, (["connect"], ["ping", "--count", "1"]), strict=False):
            done = run_antiphon(*command, str(address), "--replace", home=tmp_path, stdin="hello\n", **ANN)
            assert done.returncode == 0, done.stderr
            assert oldest.body() == ServerBye(reason="revoked", cause="too-many")
            stack.enter_context(refilled := RawClient(address))
            refilled.sign_in("ann", PASSWORD)
