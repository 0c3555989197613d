"""Invitations at the socket: who registers with one, how the others are told, and how often one may try."""

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from antiphon.identity.invitations import Code
from antiphon.server.server import Server
from antiphon.wire.bodies import INVITATIONS, Body, Error, Identified, Identify, Register, Welcome
from antiphon.wire.kinds import Kind
from support.invitations import invite
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import ATTACKER, Serving, credential, seed, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server where registration is closed and no name at all may register without an invitation."""
    folder = tmp_path_factory.mktemp("invited") / "data"
    seed(folder, "known")
    with serving(
        folder, plain=True, registration="closed", registrations_source=1, registrations_most=1
    ) as running:
        yield running


@pytest.fixture
def client(server: Serving) -> Iterator[RawClient]:
    with server.client() as client:
        client.hello()
        yield client


def invited(server: Serving, *names: str, days: float = 7) -> list[bytes]:
    return [bytes(code.secret) for code in invite(server.server.data_path, *names, days=days)]


def register(client: RawClient, name: str, secret: bytes | None) -> Body:
    return client.request(Kind.REGISTER, Register(name=name, credential=credential(), invitation=secret))


def ask(client: RawClient, name: str, secret: bytes | None) -> Body:
    return client.request(Kind.IDENTIFY, Identify(name=name, invitation=secret))


def code(body: Body) -> str:
    assert isinstance(body, Error), body
    return body.code


def allow_wrong(server: Serving, count: int) -> None:
    """Let so many wrong invitations pass from one source, and begin to count anew."""

    def allow(server: Server) -> None:
        caps = server._context.invited._wrong
        caps._per_source = count
        caps._sources.clear()

    server.read(allow)


def test_the_server_says_that_it_takes_invitations(server: Serving) -> None:
    with server.client() as client:
        hello = client.hello()
    assert INVITATIONS in hello.features
    assert not hello.registration


def test_the_invited_register_and_sign_in_where_nobody_else_can_and_no_limit_counts_them(server: Serving) -> None:
    for name, secret in zip(names := ("Ann", "Вадим", "zoe"), invited(server, *names), strict=True):
        with server.client() as client:
            client.hello()
            assert code(register(client, name, None)) == "registration-closed"
            assert ask(client, name, secret) == Identified(name=name, free=True)
            assert register(client, name, secret) == Identified(name=name, free=False)
            welcome = client.authenticate(name, PASSWORD)
            assert isinstance(welcome, Welcome)
            assert welcome.first


def test_an_invitation_works_where_registration_is_open_too(tmp_path: Path) -> None:
    with serving(tmp_path / "data", plain=True) as server, server.client() as client:
        (secret,) = invited(server, "ann")
        client.hello()
        assert register(client, "ann", secret) == Identified(name="ann", free=False)
        assert code(ask(client, "ann", secret)) == "invitation-used"


def test_a_name_in_another_spelling_is_the_invited_one(server: Serving, client: RawClient) -> None:
    (secret,) = invited(server, "Spelt")
    assert register(client, "sPELT", secret) == Identified(name="sPELT", free=False)


def test_an_invitation_works_once(server: Serving) -> None:
    (secret,) = invited(server, "once")
    for step, told in ((register, None), (register, "invitation-used"), (ask, "invitation-used")):
        with server.client() as client:
            client.hello()
            body = step(client, "once", secret)
            assert body == Identified(name="once", free=False) if told is None else code(body) == told


def test_of_twenty_connections_at_once_one_registers(server: Serving) -> None:
    (secret,) = invited(server, "crowd")
    told: list[Body] = []
    ready = threading.Barrier(20)

    def take_part() -> None:
        with server.client() as client:
            client.hello()
            ready.wait()
            told.append(register(client, "crowd", secret))

    people = [threading.Thread(target=take_part) for _ in range(20)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert told.count(Identified(name="crowd", free=False)) == 1
    assert sum(isinstance(body, Error) and body.code == "invitation-used" for body in told) == 19


@pytest.mark.parametrize("step", [ask, register])
def test_what_lets_nobody_in_is_told_apart_and_leaves_the_name_free(server: Serving, step: object) -> None:
    allow_wrong(server, 100)
    (expired,) = invited(server, "late", days=-1)
    (other,) = invited(server, "other")
    wrong = [
        ("late", expired, "invitation-expired"),
        ("someone", other, "invitation-for-another"),
        ("someone", secrets.token_bytes(16), "invitation-refused"),
    ]
    for name, secret, told in wrong:
        with server.client() as client:
            client.hello()
            body = step(client, name, secret)  # type: ignore[operator] # one of two functions
            assert code(body) == told
            assert "other" not in body.text, "whom it is for is not told"
            (right,) = invited(server, name)
            assert ask(client, name, right) == Identified(name=name, free=True)
    with server.client() as client:
        client.hello()
        assert ask(client, "other", other) == Identified(name="other", free=True), "not used up by the wrong one"


def test_who_has_an_account_already_is_told_and_keeps_the_invitation(server: Serving, client: RawClient) -> None:
    (secret,) = invited(server, "known")
    assert ask(client, "KNOWN", secret) == Identified(name="KNOWN", free=False)
    assert code(register(client, "known", secret)) == "name-taken"
    assert ask(client, "known", secret) == Identified(name="known", free=False)


def test_without_an_invitation_nobody_learns_who_is_known(client: RawClient) -> None:
    for name in ("known", "unknown"):
        assert ask(client, name, None) == Identified(name=name, free=None)


def test_a_credential_that_is_refused_uses_nothing_up(server: Serving, client: RawClient) -> None:
    (secret,) = invited(server, "weak")
    weak = msgspec.structs.replace(credential(), iterations=4096)
    body = Register(name="weak", credential=weak, invitation=secret)
    assert code(client.request(Kind.REGISTER, body)) == "credential-refused"
    assert register(client, "weak", secret) == Identified(name="weak", free=False)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_secret_of_another_size_ends_the_connection(client: RawClient, size: int) -> None:
    assert code(register(client, "size", bytes(size))) == "body-invalid"
    client.closed()


# --- guessing -----------------------------------------------------------------------------------------------


def test_the_third_wrong_invitation_ends_the_connection(server: Serving, client: RawClient) -> None:
    allow_wrong(server, 100)
    assert code(ask(client, "guess", secrets.token_bytes(16))) == "invitation-refused"
    assert code(register(client, "guess", secrets.token_bytes(16))) == "invitation-refused"
    assert code(ask(client, "guess", secrets.token_bytes(16))) == "too-many-refusals"
    client.closed()


def test_a_source_that_guesses_is_not_looked_at_for_the_rest_of_the_hour(server: Serving) -> None:
    (secret,) = invited(server, "patient")
    allow_wrong(server, 2)
    for told in ("invitation-refused", "invitation-refused", "try-later"):
        with server.client(ATTACKER) as client:
            client.hello()
            body = ask(client, "patient", secrets.token_bytes(16))
            assert code(body) == told
    assert isinstance(body, Error)
    assert 0 < body.wait <= 3600
    with server.client(ATTACKER) as client:
        client.hello()
        for step in (ask, register):
            assert code(step(client, "patient", secret)) == "try-later", "right or wrong"
    with server.client() as client:
        client.hello()
        assert register(client, "patient", secret) == Identified(name="patient", free=False)


def test_right_invitations_do_not_count_as_guesses(server: Serving) -> None:
    allow_wrong(server, 1)
    secrets_of_class = invited(server, *(names := [f"pupil{number}" for number in range(5)]))
    for name, secret in zip(names, secrets_of_class, strict=True):
        with server.client() as client:
            client.hello()
            assert ask(client, name, secret) == Identified(name=name, free=True)
            assert register(client, name, secret) == Identified(name=name, free=False)


def test_an_invitation_that_is_known_is_no_guess_even_if_it_lets_nobody_in(server: Serving) -> None:
    (used,), (late,) = invited(server, "again"), invited(server, "too-late", days=-1)
    allow_wrong(server, 1)
    with server.client() as client:
        client.hello()
        assert register(client, "again", used) == Identified(name="again", free=False)
    for name, secret, told in 2 * [
        ("again", used, "used"),
        ("too-late", late, "expired"),
        ("x", late, "for-another"),
    ]:
        with server.client() as client:
            client.hello()
            assert code(ask(client, name, secret)) == f"invitation-{told}"


def test_guesses_that_come_at_once_are_each_counted(server: Serving) -> None:
    allow_wrong(server, 5)
    told: list[str] = []
    ready = threading.Barrier(20)

    def guess() -> None:
        with server.client(ATTACKER) as client:
            client.hello()
            ready.wait()
            told.append(code(ask(client, "crowd2", secrets.token_bytes(16))))

    guessers = [threading.Thread(target=guess) for _ in range(20)]
    for guesser in guessers:
        guesser.start()
    for guesser in guessers:
        guesser.join()
    assert sorted(told) == ["invitation-refused"] * 5 + ["try-later"] * 15


# --- the log and the store ----------------------------------------------------------------------------------


def test_the_log_tells_who_came_with_an_invitation_and_no_secret_is_kept(tmp_path: Path) -> None:
    with serving(tmp_path / "data", plain=True, registration="closed", log_level="debug") as server:
        codes = invite(tmp_path / "data", "ann")
        wrong = secrets.token_bytes(16)
        with server.client() as client:
            client.hello()
            assert code(ask(client, "ann", wrong)) == "invitation-refused"
            assert register(client, "ann", bytes(codes[0].secret)) == Identified(name="ann", free=False)
        log = server.server.log_path
    text = log.read_text("utf-8")
    assert ' warning refused name="ann" address=127.0.0.1:' in text
    assert ' code="invitation-refused"' in text
    assert ' info registered name="ann" address=127.0.0.1:' in text
    assert " invitation=yes" in text
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    for secret in (bytes(codes[0].secret), wrong):
        assert secret not in kept
        assert secret.hex().encode() not in kept
    assert written_end(codes[0]) not in kept


def written_end(code: Code) -> bytes:
    return code.written()[-20:].encode()
