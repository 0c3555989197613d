"""Sign-in and resume while the store takes its time: who asks is told in time, and nothing is left behind."""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import TryLater
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ClientExchange, mechanism_for
from antiphon.server.session.leftovers import REST_SECONDS
from antiphon.store.contracts import STORE_SECONDS
from antiphon.wire.bodies import (
    Body,
    ChangePassword,
    EndOthers,
    Error,
    PasswordAnswer,
    Resume,
    ServerBye,
    Welcome,
)
from antiphon.wire.kinds import Kind
from support.joined import JoinedClient, JoinedServer, joined
from support.processes import PASSWORD
from support.serving import credential, seed


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def slowed(part: Any, method: str, seconds: float, error: Exception | None = None) -> None:
    """Have a method of the store take so long; what it has done is kept if it then raises `error`."""
    plain: Callable[..., Any] = getattr(part, method)

    async def slow(*arguments: Any, **named: Any) -> Any:
        await asyncio.sleep(seconds)
        outcome = await plain(*arguments, **named)
        if error is not None:
            raise error
        return outcome

    vars(part)[method] = slow


def refused_in_time(server: JoinedServer, client: JoinedClient, ask: Callable[[], Body]) -> None:
    began = server.now
    error = ask()
    assert isinstance(error, Error)
    assert error.code == "try-later"
    assert server.now - began < STORE_SECONDS
    client.close()


def test_a_sign_in_is_told_in_time_however_many_questions_to_the_store_it_takes(data: Path) -> None:
    seed(data, sessions=0)
    with joined(data) as server, server.client() as client:
        client.hello()
        slowed(server.store.failures, "attempt", 1.5)
        slowed(server.store.sessions, "open", 1.5)
        refused_in_time(server, client, lambda: client.authenticate("ann", PASSWORD))
        server.let_pass(REST_SECONDS + STORE_SECONDS)
        assert server.call(server.store.sessions.all()) == []
        assert server.sessions.held == 0


def test_a_session_that_was_opened_although_nobody_was_told_is_ended(data: Path) -> None:
    seed(data, sessions=0)
    with joined(data) as server, server.client() as client:
        client.hello()
        slowed(server.store.sessions, "open", 0, TryLater())
        refused_in_time(server, client, lambda: client.authenticate("ann", PASSWORD))
        assert len(server.call(server.store.sessions.all())) == 1
        server.let_pass(REST_SECONDS + 1)
        assert server.call(server.store.sessions.all()) == []


def test_a_resume_is_told_in_time_and_the_session_can_be_resumed_later(data: Path) -> None:
    (token,) = seed(data)
    with joined(data) as server, server.client() as client:
        client.hello()
        slowed(server.store.sessions, "find", 2.0)
        slowed(server.store.accounts, "find", 2.0)
        refused_in_time(server, client, lambda: client.resume(token))
        for part in (server.store.sessions, server.store.accounts):
            vars(part).pop("find")
        with server.session(token) as again:
            again.leave()


def prove(client: JoinedClient) -> Body:
    """Prove ann's password inside her session, as the first two steps of a change; return the last answer."""
    mechanism, nonce = mechanism_for(client.binding), b64encode(bytes(24)).decode()
    exchange = ClientExchange(mechanism, "ann", Password(PASSWORD), client.binding, nonce)
    begun = client.request(Kind.PASSWORD, ChangePassword(mechanism=mechanism, data=exchange.first()))
    if not isinstance(begun, PasswordAnswer):
        return begun
    return client.request(Kind.PASSWORD, ChangePassword(data=exchange.answer(begun.data or b"")))


def change(client: JoinedClient) -> Body:
    return client.request(Kind.PASSWORD, ChangePassword(credential=credential()))


def kept(server: JoinedServer) -> bytes:
    account = server.call(server.store.accounts.find("ann"))
    assert account is not None
    return bytes(account.credential)


@pytest.mark.parametrize(
    ("slow", "codes"),
    [
        ({"accounts.find": 3.0}, ["try-later"]),
        ({"failures.attempt": 3.0}, ["try-later"]),
        ({"sessions.find": 3.0}, [None, "try-later"]),
        ({"sessions.revoke_others": 3.0}, [None, None]),
        ({"sessions.find": 1.0, "sessions.revoke_others": 2.0}, [None, None]),
    ],
)
def test_each_step_of_a_change_is_told_in_time_whether_it_was_done(
    data: Path, slow: dict[str, float], codes: list[str | None]
) -> None:
    token, other = seed(data, sessions=2)
    with joined(data) as server, server.session(token) as client, server.session(other) as elsewhere:
        before = kept(server)
        parts = [(getattr(server.store, name.split(".")[0]), name.split(".")[1]) for name in slow]
        for (part, method), seconds in zip(parts, slow.values(), strict=True):
            slowed(part, method, seconds)
        for step, expected in zip((prove, change), codes, strict=False):
            began = server.now
            answer = step(client)
            assert (answer.code if isinstance(answer, Error) else None) == expected
            assert server.now - began < STORE_SECONDS
        for part, method in parts:
            vars(part).pop(method)
        assert (kept(server) == before) == (codes[-1] is not None)
        if codes[-1] is None:  # changed: the others end, although the store could not do it in time
            assert elsewhere.body() == ServerBye(reason="revoked", cause="password")
        client.close()
        elsewhere.close()


@pytest.mark.parametrize("is_kept", [True, False])
def test_of_a_change_that_may_have_been_done_the_client_is_told_so_and_the_rest_follows(
    data: Path, is_kept: bool
) -> None:
    token, other = seed(data, sessions=2)
    with joined(data) as server, server.session(token) as client, server.session(other) as elsewhere:
        before = kept(server)
        assert isinstance(prove(client), PasswordAnswer)
        slowed(server.store.accounts, "replace_credential", 0.0 if is_kept else 10.0, TryLater())
        began = server.now
        answer = change(client)
        assert (answer.code if isinstance(answer, Error) else None) == "change-unknown"
        assert server.now - began < STORE_SECONDS
        if is_kept:
            assert elsewhere.body() == ServerBye(reason="revoked", cause="password")
            assert kept(server) != before
            with server.session(token) as again:  # it goes on in the new epoch
                again.leave()
        else:
            server.let_pass(3 * STORE_SECONDS)
            assert kept(server) == before
            assert server.sessions.held == 2
        client.close()
        elsewhere.close()


def test_the_end_of_the_other_sessions_is_told_in_time(data: Path) -> None:
    token, other = seed(data, sessions=2)
    with joined(data) as server, server.session(token) as client, server.session(other) as elsewhere:
        slowed(server.store.sessions, "end_others", 3.0)
        refused_in_time(server, client, lambda: client.request(Kind.END_OTHERS, EndOthers()))
        elsewhere.close()


def test_resumes_of_different_sessions_do_not_wait_for_each_other(data: Path) -> None:
    tokens = seed(data, sessions=5)
    with joined(data) as server:
        clients = [server.client() for _ in tokens]
        for client in clients:
            client.hello()
        slowed(server.store.sessions, "find", 1.0)
        began = server.now
        for client, token in zip(clients, tokens, strict=True):
            client.send(client.conversation.resume(token, Resume(received=0))[1])
        assert all(isinstance(client.body(), Welcome) for client in clients)
        assert server.now - began < 2
        for client in clients:
            client.close()
