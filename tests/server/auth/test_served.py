"""Sign-in on a whole server in memory: what the connection, the gate and the service make of it."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, ClientExchange, make_verifier, mechanism_for
from antiphon.services import Session
from antiphon.store.contracts import SessionRecord
from antiphon.store.sql import open_sqlite
from antiphon.wire.bodies import (
    Authenticate,
    Body,
    Challenge,
    ChangePassword,
    Credential,
    Error,
    Identify,
    PasswordAnswer,
    ServerBye,
    Welcome,
)
from antiphon.wire.frames import Frame, encode
from antiphon.wire.kinds import Kind
from support.auth import NONCE, wrong_proof
from support.joined import JoinedClient, JoinedServer, joined
from support.processes import PASSWORD
from support.serving import seed
from support.wire_client import Closed

SOON = 1.0
"""Seconds within which an end must arrive (promise 17)."""
NEW = "a staple of that battery"
ACCESSES = [("identify", "ann"), ("anyone", None)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


# --- with a password ----------------------------------------------------------------------------------------


@pytest.fixture
def server(data: Path) -> Iterator[JoinedServer]:
    tokens = seed(data, "honest")
    seed(data)
    with joined(data) as running, running.session(tokens[0]) as honest:
        yield running
        assert honest.ask("undisturbed") == "undisturbed"


def wrong_password(client: JoinedClient, name: str) -> str:
    first = f"n,,n={name},r={NONCE}".encode()
    challenge = client.request(Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=first))
    assert isinstance(challenge, Challenge)
    refused = client.request(Kind.CHALLENGE, wrong_proof(challenge.data))
    assert isinstance(refused, Error)
    return refused.code


def test_who_has_mistyped_the_password_twice_signs_in_and_is_answered(server: JoinedServer) -> None:
    with server.client() as client:
        client.hello()
        assert [wrong_password(client, "ann") for _ in range(2)] == ["sign-in-refused"] * 2
        assert isinstance(client.authenticate("ann", PASSWORD), Welcome)
        assert client.ask("in") == "in"


def test_the_third_refusal_closes_the_connection(server: JoinedServer) -> None:
    with server.client() as client:
        client.hello()
        for _ in range(2):
            wrong_password(client, "nobody")
        assert wrong_password(client, "nobody") == "too-many-refusals"
        client.closed()


# --- without one --------------------------------------------------------------------------------------------


def all_sessions(server: JoinedServer) -> list[SessionRecord]:
    return server.call(server.store.sessions.all())


def test_a_message_before_the_name_ends_the_connection(data: Path) -> None:
    with joined(data, access="identify") as server, server.client() as client:
        client.hello()
        client.message_with(bytes(16), "hello")
        assert client.ended_with() == "frame-unexpected"


@pytest.mark.parametrize(("access", "name"), ACCESSES)
def test_who_is_admitted_is_answered_and_every_message_needs_the_token(
    data: Path, access: str, name: str | None
) -> None:
    with joined(data, access=access) as server:
        tokens = []
        for _ in range(2):
            with server.client() as client:
                client.hello()
                welcome = client.request(Kind.IDENTIFY, Identify(name=name))
                assert isinstance(welcome, Welcome)
                assert client.ask("hello") == "hello"
                tokens.append(welcome.token)
                if len(tokens) == 2:
                    client.message_with(tokens[0] or b"", "hello")
                    assert client.error().code == "token-refused"
        with server.session(tokens[0] or b"") as again:
            assert again.ask("still here") == "still here"
            again.leave()
        assert all(("name" in line) is (name is not None) for line in server.records("session-ended"))


@pytest.mark.parametrize(("access", "name"), ACCESSES)
def test_a_session_that_is_revoked_is_cut(data: Path, access: str, name: str | None) -> None:
    with joined(data, access=access) as server, server.client() as client:
        client.hello()
        client.request(Kind.IDENTIFY, Identify(name=name))
        (record,) = all_sessions(server)
        assert record.name == (name or "")

        async def revoke() -> None:
            store = await open_sqlite(data)
            assert await store.sessions.revoke(record.fingerprint, "revoked", datetime.now(UTC))
            await store.close()

        asyncio.run(revoke())
        client.timeout = SOON
        assert client.body() == ServerBye(reason="revoked", cause="revoked")
        client.closed()


@pytest.mark.parametrize(("access", "name"), ACCESSES)
def test_who_is_admitted_stays_and_who_says_nothing_is_cut(data: Path, access: str, name: str | None) -> None:
    with joined(data, access=access) as server, server.client() as client:
        client.hello()
        client.request(Kind.IDENTIFY, Identify(name=name))
        assert server.host.limits.count == 0
        with server.client() as silent:
            silent.hello()
            assert silent.ended_with() == "sign-in-timed-out"
        client.idle(2 * server.settings.entry_seconds)
        assert client.ask("still here") == "still here"


# --- a change of the password -------------------------------------------------------------------------------


@cache
def new_credential() -> Credential:
    """Return what is kept of `NEW`: hashed once."""
    made = make_verifier(Password(NEW), b"s" * SALT_SIZE, ITERATIONS)
    return Credential(
        salt=made.salt, iterations=made.iterations, stored_key=made.stored_key, server_key=made.server_key
    )


@pytest.fixture
def inside(data: Path) -> Iterator[JoinedClient]:
    """Give ann's session on plain TCP."""
    (token,) = seed(data)
    with joined(data) as server, server.session(token) as client:
        yield client


def ask(client: JoinedClient, **fields: Any) -> Body:
    return client.request(Kind.PASSWORD, ChangePassword(**fields))


def prove(client: JoinedClient, password: str = PASSWORD, name: str = "ann") -> bytes:
    """Prove a password, and return the proof, to be sent once more."""
    exchange = ClientExchange(mechanism_for(client.binding), name, Password(password), client.binding, NONCE)
    challenge = ask(client, mechanism=mechanism_for(client.binding), data=exchange.first())
    assert isinstance(challenge, PasswordAnswer), challenge
    assert challenge.data
    answer = exchange.answer(challenge.data)
    signature = ask(client, data=answer)
    assert isinstance(signature, PasswordAnswer), signature
    assert signature.data
    exchange.verify(signature.data, "the test's server")
    return answer


def change(client: JoinedClient) -> None:
    prove(client)
    assert ask(client, credential=new_credential()) == PasswordAnswer(data=None)


def begin(client: JoinedClient, name: str = "ann") -> str:
    """Begin an exchange on plain TCP; return the whole nonce."""
    challenge = ask(client, mechanism="SCRAM-SHA-256", data=f"n,,n={name},r={NONCE}".encode())
    assert isinstance(challenge, PasswordAnswer), challenge
    assert challenge.data
    return challenge.data.decode().split(",")[0].removeprefix("r=")


def guess(client: JoinedClient) -> str:
    """Prove nothing, at none of the cost of a real attempt; return the code."""
    return code(ask(client, data=f"c=biws,r={begin(client)},p={'A' * 43}=".encode()))


def code(body: Body) -> str:
    assert isinstance(body, Error), body
    return body.code


def sign_in(server: JoinedServer, password: str, name: str = "ann") -> Body:
    with server.client() as client:
        client.hello()
        body = client.authenticate(name, password)
        with suppress(Closed):
            client.send(client.conversation.bye("left"))
            client.closed()
        return body


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "tls"])
def test_a_change_ends_all_other_sessions_and_this_one_goes_on(data: Path, *, plain: bool) -> None:
    tokens = seed(data, sessions=3)
    others = seed(data, "bob")
    with joined(data, plain=plain) as server:
        with (
            server.session(tokens[0]) as mine,
            server.session(tokens[1]) as other,
            server.session(others[0]) as bob,
        ):
            change(mine)
            other.timeout = SOON  # promise 17
            assert other.body() == ServerBye(reason="revoked", cause="password")
            assert mine.ask("still here") == "still here"
            assert bob.ask("me too") == "me too"
        with server.client() as unheld:
            unheld.hello()
            assert code(unheld.resume(tokens[2])) == "session-ended"
        with server.session(tokens[0]) as again:  # in the new epoch
            assert again.ask("and back") == "and back"
        assert code(sign_in(server, PASSWORD)) == "sign-in-refused"
        assert isinstance(sign_in(server, NEW), Welcome)
    (line,) = server.records("password-changed")
    assert 'name="ann" address=127.0.0.1:' in line
    assert line.endswith(" sessions=2")
    assert 'reason="password"' in server.records("session-revoked")[0]


def test_messages_may_come_between_the_steps(inside: JoinedClient) -> None:
    prove(inside)
    assert inside.ask("a moment") == "a moment"
    assert ask(inside, credential=new_credential()) == PasswordAnswer(data=None)


def test_until_a_due_password_is_changed_no_message_is_handled_over_a_resume_too(data: Path) -> None:
    seed(data, must_change=True)
    handled: list[str | bytes] = []

    def note(message: str | bytes) -> str | bytes:
        handled.append(message)
        return message

    with joined(data, note) as server:
        with server.client() as client:
            welcome = client.sign_in("ann", PASSWORD)
            assert welcome.must_change
            client.message_with(client.token, "hello")
            assert client.error().code == "password-due"
            token = client.token
        with server.client() as client:
            client.hello()
            back = client.resume(token)
            assert isinstance(back, Welcome)
            assert back.must_change
            client.message_with(client.token, "hello")
            refused = client.error()
            assert (refused.code, refused.text) == (
                "password-due",
                "A new password must be chosen before anything else.",
            )
            assert handled == []
            change(client)
            assert client.ask("hello") == "hello"
        with server.client() as client:
            client.hello()
            back = client.resume(token)
            assert isinstance(back, Welcome)
            assert not back.must_change
        after = sign_in(server, NEW)
        assert isinstance(after, Welcome)
        assert not after.must_change


def test_the_service_is_told_of_nobody_whose_password_is_due_until_it_is_changed(data: Path) -> None:
    class Greeter:
        def opened(self, session: Session) -> None:
            session.send("come in")

        def received(self, message: str) -> str:
            return message

    (token,) = seed(data, must_change=True)
    with joined(data, Greeter(), plain=True) as server, server.session(token) as client:
        assert guess(client) == "sign-in-refused"  # what comes is the answer, and nothing before it
        change(client)
        pushed = client.next()
        assert isinstance(pushed, Frame)
        assert (pushed.id, pushed.payload) == (0, "come in")
        assert client.ask("hello") == "hello"


def test_a_message_that_wants_no_answer_is_not_handled_either(data: Path) -> None:
    (token,) = seed(data, must_change=True)
    handled: list[str | bytes] = []
    with joined(data, handled.append) as server, server.session(token) as client:
        client.send(encode(Kind.MESSAGE, 0, b"quietly", token=token))
        client.message_with(token, "aloud")
        assert client.error().code == "password-due"
    assert handled == []
