"""Sign-in and resume while the store takes its time: who asks is told in time, and nothing is left behind."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import TryLater
from antiphon.server.session.leftovers import REST_SECONDS
from antiphon.store.contracts import STORE_SECONDS
from antiphon.wire.bodies import Body, Error, Resume, Welcome
from support.joined import JoinedClient, JoinedServer, joined
from support.processes import PASSWORD
from support.serving import seed


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
