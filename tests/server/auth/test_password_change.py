"""A change of password at the socket: what proves the old one, what is refused, who is cut, and when it is due."""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon.data.credentials import seal, unseal
from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import TryLater
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, ClientExchange, make_verifier, mechanism_for
from antiphon.services import Session
from antiphon.store.sql import SqlStore, open_sqlite
from antiphon.wire.bodies import (
    SCRAM_SHA_256,
    Body,
    ChangePassword,
    Credential,
    Error,
    PasswordAnswer,
    ServerBye,
    Welcome,
)
from antiphon.wire.frames import Frame, encode
from antiphon.wire.kinds import Kind
from support.processes import PASSWORD
from support.raw import Closed, RawClient
from support.serving import Serving, credential, seed, serving

NEW = "a staple of that battery"
NONCE = b64encode(b"n" * 24).decode()


@cache
def new_credential() -> Credential:
    """Return what is kept of `NEW`: hashed once."""
    made = make_verifier(Password(NEW), b"s" * SALT_SIZE, ITERATIONS)
    return Credential(
        salt=made.salt, iterations=made.iterations, stored_key=made.stored_key, server_key=made.server_key
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def inside(data: Path) -> Iterator[RawClient]:
    """Give ann's session on plain TCP."""
    (token,) = seed(data)
    with serving(data, plain=True) as server, server.session(token) as client:
        yield client


def ask(client: RawClient, **fields: Any) -> Body:
    return client.request(Kind.PASSWORD, ChangePassword(**fields))


def prove(client: RawClient, password: str = PASSWORD, name: str = "ann") -> bytes:
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


def change(client: RawClient) -> None:
    prove(client)
    assert ask(client, credential=new_credential()) == PasswordAnswer(data=None)


def begin(client: RawClient, name: str = "ann") -> str:
    """Begin an exchange on plain TCP; return the whole nonce."""
    challenge = ask(client, mechanism="SCRAM-SHA-256", data=f"n,,n={name},r={NONCE}".encode())
    assert isinstance(challenge, PasswordAnswer), challenge
    assert challenge.data
    return challenge.data.decode().split(",")[0].removeprefix("r=")


def guess(client: RawClient) -> str:
    """Prove nothing, at none of the cost of a real attempt; return the code."""
    return code(ask(client, data=f"c=biws,r={begin(client)},p={'A' * 43}=".encode()))


def code(body: Body) -> str:
    assert isinstance(body, Error), body
    return body.code


def sign_in(server: Serving, password: str, name: str = "ann") -> Body:
    with server.client() as client:
        client.hello()
        body = client.authenticate(name, password)
        with suppress(Closed):
            client.send(client.conversation.bye("left"))
            client.closed()
        return body


def outside(data: Path, work: Callable[[SqlStore], Any]) -> Any:
    """Return what `work` does to the store, as another process would."""

    async def main() -> Any:
        store = await open_sqlite(data)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(main())


def kept(data: Path, server: Serving) -> bytes:
    """Return the stored key of ann's password."""
    account = outside(data, lambda store: store.accounts.find("ann"))
    ring: LiveKeyRing = server.server._ring
    return unseal(ring, account).stored_key


# --- the change ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "tls"])
def test_a_change_ends_all_other_sessions_and_this_one_goes_on(data: Path, *, plain: bool) -> None:
    tokens = seed(data, sessions=3)
    others = seed(data, "bob")
    with serving(data, plain=plain) as server:
        with (
            server.session(tokens[0]) as mine,
            server.session(tokens[1]) as other,
            server.session(others[0]) as bob,
        ):
            change(mine)
            other.sock.settimeout(1)  # promise 17
            assert other.body() == ServerBye(reason="revoked")
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


def test_messages_may_come_between_the_steps(inside: RawClient) -> None:
    prove(inside)
    assert inside.ask("a moment") == "a moment"
    assert ask(inside, credential=new_credential()) == PasswordAnswer(data=None)


def test_a_password_can_be_changed_again(data: Path) -> None:
    (token,) = seed(data)
    with serving(data, plain=True) as server, server.session(token) as client:
        change(client)
        prove(client, NEW)
        assert ask(client, credential=credential()) == PasswordAnswer(data=None)
        assert isinstance(sign_in(server, PASSWORD), Welcome)


# --- what is refused ----------------------------------------------------------------------------------------


def test_wrong_old_passwords_are_counted_and_slowed_down_and_the_conversation_goes_on(data: Path) -> None:
    (token,) = seed(data)
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with serving(data, plain=True) as server:
        server.read(lambda server: setattr(server._auth.passwords._throttle, "_clock", lambda: noon))
        with server.session(token) as client:
            assert [guess(client) for _ in range(5)] == ["sign-in-refused"] * 5
            assert guess(client) == "too-many-failures"
            assert client.ask("still here") == "still here"
        with server.client() as outsider:  # one count for both ways
            outsider.hello()
            assert code(outsider.authenticate("ann", PASSWORD)) == "too-many-failures"
    account = outside(data, lambda store: store.accounts.overviews())[0]
    assert account.refusals == 7
    refused = server.records("refused")
    assert len(refused) == 7
    assert all('name="ann" address=127.0.0.1:' in line for line in refused)


def test_a_right_proof_forgives_the_failures(data: Path) -> None:
    (token,) = seed(data)
    with serving(data, plain=True) as server, server.session(token) as client:
        assert [guess(client) for _ in range(4)] == ["sign-in-refused"] * 4
        prove(client)
        assert [guess(client) for _ in range(4)] == ["sign-in-refused"] * 4
        assert isinstance(sign_in(server, PASSWORD), Welcome)  # not the ninth in a row


def test_a_proof_counts_once(inside: RawClient) -> None:
    proof = prove(inside)
    begin(inside)  # the same first message, to which the server gives a nonce of its own
    assert code(ask(inside, data=proof)) == "sign-in-refused"
    assert code(ask(inside, credential=new_credential())) == "frame-unexpected"


@pytest.mark.parametrize("name", ["bob", "nobody", "ann=2Cbob", "no name", ""])
def test_nobody_but_the_session_s_own_account_can_be_proved(data: Path, name: str) -> None:
    (token,) = seed(data)
    seed(data, "bob")
    with serving(data, plain=True) as server, server.session(token) as client:
        first = f"n,,n={name},r={NONCE}".encode()
        assert code(ask(client, mechanism="SCRAM-SHA-256", data=first)) == "sign-in-refused"
        assert client.ask("hello") == "hello"


def test_the_own_name_may_be_written_in_another_case(inside: RawClient) -> None:
    prove(inside, name="ANN")


def a_proof(client: RawClient) -> None:
    ask_last(client, data=b"c=biws")


def a_credential(client: RawClient) -> None:
    ask_last(client, credential=new_credential())


def a_credential_in_the_middle(client: RawClient) -> None:
    begin(client)
    a_credential(client)


def a_second_proof(client: RawClient) -> None:
    proof = prove(client)
    ask_last(client, data=proof)


def a_second_credential(client: RawClient) -> None:
    change(client)
    ask_last(client, credential=credential())


def a_credential_after_a_refusal(client: RawClient) -> None:
    assert guess(client) == "sign-in-refused"
    a_credential(client)


def a_credential_after_a_new_beginning(client: RawClient) -> None:
    prove(client)
    a_credential_in_the_middle(client)


def a_good_credential_after_a_bad_one(client: RawClient) -> None:
    prove(client)
    weak = msgspec.structs.replace(new_credential(), iterations=4096)
    assert code(ask(client, credential=weak)) == "credential-refused"
    a_credential(client)


def ask_last(client: RawClient, **fields: Any) -> None:
    assert code(ask(client, **fields)) == "frame-unexpected"
    client.closed()


@pytest.mark.parametrize(
    "steps",
    [
        a_proof, a_credential, a_credential_in_the_middle, a_second_proof, a_second_credential,
        a_credential_after_a_refusal, a_credential_after_a_new_beginning, a_good_credential_after_a_bad_one,
    ],
)  # fmt: skip
def test_a_step_out_of_order_ends_the_connection_and_changes_nothing(
    data: Path, steps: Callable[[RawClient], None]
) -> None:
    (token,) = seed(data)
    with serving(data, plain=True) as server:
        with server.session(token) as client:
            steps(client)
        wanted = new_credential() if steps is a_second_credential else credential()
        assert kept(data, server) == wanted.stored_key


@pytest.mark.parametrize(
    "fields",
    [{"iterations": 4096}, {"salt": b"short"}, {"stored_key": bytes(31)}, {"server_key": b""}, {"type": "md5"}],
)
def test_a_credential_with_other_parameters_is_refused(inside: RawClient, fields: dict[str, object]) -> None:
    prove(inside)
    weak = msgspec.structs.replace(new_credential(), **fields)
    assert code(ask(inside, credential=weak)) == "credential-refused"
    assert inside.ask("hello") == "hello"


def test_a_wrong_token_changes_nothing(inside: RawClient) -> None:
    prove(inside)
    body = msgspec.json.encode(ChangePassword(credential=new_credential()))
    inside.send(encode(Kind.PASSWORD, inside.conversation.next_id(), body, token=bytes(16)))
    assert inside.error().code == "token-refused"
    inside.send(encode(Kind.PASSWORD, inside.conversation.next_id(), body))
    assert inside.error().code == "token-refused"


def test_there_is_no_change_before_the_sign_in(data: Path) -> None:
    seed(data)
    with serving(data, plain=True) as server, server.client() as client:
        client.hello()
        assert code(ask(client, mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=x")) == "frame-unexpected"
        client.closed()


def test_over_tls_a_proof_that_is_not_bound_is_refused(data: Path) -> None:
    (token,) = seed(data)
    with serving(data) as server:
        with server.session(token) as client:
            for flag in ("n", "y"):
                first = f"{flag},,n=ann,r={NONCE}".encode()
                assert code(ask(client, mechanism="SCRAM-SHA-256-PLUS", data=first)) == "sign-in-refused"
            assert code(ask(client, mechanism="SCRAM-SHA-256", data=first)) == "mechanism-unsupported"
            client.closed()
        with server.session(token) as client:  # of another certificate, as a relay would have it
            client.binding = bytes(32)
            with pytest.raises(AssertionError, match="sign-in-refused"):
                prove(client)


# --- what comes between -------------------------------------------------------------------------------------


async def reset(store: SqlStore, server: Serving) -> None:
    account = await store.accounts.find("ann")
    assert account is not None
    ring = server.server._ring
    verifier = unseal(ring, account)
    await store.accounts.replace_credential(
        account.id, SCRAM_SHA_256, lambda number: seal(ring, verifier, number, bytes), must_change=True
    )


async def disable(store: SqlStore, server: Serving) -> None:
    account = await store.accounts.find("ann")
    assert account is not None
    await store.accounts.set_disabled(account.id, disabled=True)


async def remove(store: SqlStore, server: Serving) -> None:
    account = await store.accounts.find("ann")
    assert account is not None
    await store.accounts.remove(account.id)


@pytest.mark.parametrize("act", [reset, disable, remove])
def test_what_an_operator_does_after_the_proof_is_not_overwritten(data: Path, act: Callable[..., Any]) -> None:
    (token,) = seed(data)
    with serving(data, plain=True) as server:
        with server.session(token) as client:
            prove(client)
            outside(data, lambda store: act(store, server))
            assert code(ask(client, credential=new_credential())) == "session-ended"
        account = outside(data, lambda store: store.accounts.find("ann"))
        if account is not None:
            assert kept(data, server) == credential().stored_key
            assert account.must_change == (act is reset)
    assert server.records("password-changed") == []


def test_the_end_of_the_other_sessions_is_tried_again_until_the_store_takes_it(data: Path) -> None:
    tokens = seed(data, sessions=2)
    tries = []
    with (
        serving(data, plain=True) as server,
        server.session(tokens[0]) as mine,
        server.session(tokens[1]) as other,
    ):
        store = server.server._context.sessions._store
        real = store.revoke_others

        async def fails_twice(*arguments: Any) -> int:
            tries.append(arguments)
            if len(tries) < 3:
                raise TryLater
            return await real(*arguments)

        server.read(lambda _: setattr(store, "revoke_others", fails_twice))
        change(mine)
        assert other.body() == ServerBye(reason="revoked")
        assert mine.ask("still here") == "still here"
    assert len(tries) == 3
    assert "sessions" not in server.records("password-changed")[0]


# --- when it is due -----------------------------------------------------------------------------------------


def test_until_a_due_password_is_changed_no_message_is_handled_over_a_resume_too(data: Path) -> None:
    seed(data, must_change=True)
    handled: list[str | bytes] = []

    def note(message: str | bytes) -> str | bytes:
        handled.append(message)
        return message

    with serving(data, note, plain=True) as server:
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
    with serving(data, Greeter(), plain=True) as server, server.session(token) as client:
        assert guess(client) == "sign-in-refused"  # what comes is the answer, and nothing before it
        change(client)
        pushed = client.next()
        assert isinstance(pushed, Frame)
        assert (pushed.id, pushed.payload) == (0, "come in")
        assert client.ask("hello") == "hello"


def test_a_message_that_wants_no_answer_is_not_handled_either(data: Path) -> None:
    (token,) = seed(data, must_change=True)
    handled: list[str | bytes] = []
    with serving(data, handled.append, plain=True) as server, server.session(token) as client:
        client.send(encode(Kind.MESSAGE, 0, b"quietly", token=token))
        client.message_with(token, "aloud")
        assert client.error().code == "password-due"
    assert handled == []


def test_a_session_of_an_earlier_epoch_is_not_taken_up_again(data: Path) -> None:
    (token,) = seed(data)
    with serving(data, plain=True) as server:
        outside(data, lambda store: reset(store, server))  # cut short before it ended the sessions
        with server.client() as client:
            client.hello()
            assert code(client.resume(token)) == "session-ended"
