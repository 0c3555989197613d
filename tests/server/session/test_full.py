"""As many sessions as there may be: which one makes way for a new one, and who has to say so."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from antiphon.server.session import manager
from antiphon.server.session.manager import SESSIONS_MOST
from antiphon.wire.bodies import Body, Error, Identify, ServerBye, Welcome
from antiphon.wire.kinds import Kind
from support.joined import JoinedClient, JoinedServer, joined, virtual_loop
from support.processes import PASSWORD
from support.serving import seed

SOON = 1.0
"""Seconds within which an end must arrive (promise 17)."""
GHOSTS = 12
"""Short visits, more than there may be sessions."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    seed(tmp_path / "data", sessions=0)
    return tmp_path / "data"


@pytest.fixture
def server(data: Path) -> Iterator[JoinedServer]:
    with joined(data) as running:
        yield running


def signed_in(server: JoinedServer, *, replace: bool = False) -> JoinedClient:
    """Return a client with a session."""
    client = server.client()
    client.hello()
    welcome = client.authenticate("ann", PASSWORD, **({"replace": True} if replace else {}))
    assert isinstance(welcome, Welcome), welcome
    return client


def refused(server: JoinedServer, password: str = PASSWORD) -> str:
    """Return the code with which a sign-in is refused."""
    with server.client() as client:
        client.hello()
        error = client.authenticate("ann", password)
        assert isinstance(error, Error), error
        return error.code


def displaced(client: JoinedClient) -> None:
    """See that the session of a client ends in time, and why."""
    client.timeout = SOON
    assert client.body() == ServerBye(reason="revoked", cause="too-many")
    client.closed()


def test_short_visits_that_were_cut_end_no_session_that_is_used(server: JoinedServer) -> None:
    used = signed_in(server)
    for _ in range(GHOSTS):
        ghost = signed_in(server)
        held = server.sessions.held
        ghost.cut()
        server.until(lambda held=held: server.sessions.held < held)  # type: ignore[misc]  # a default
        assert used.ask("still here") == "still here"
    assert len(server.call(server.store.sessions.all())) == SESSIONS_MOST
    used.leave()


def test_sessions_of_a_server_that_crashed_make_way(data: Path) -> None:
    with virtual_loop() as loop, loop.joined(data) as crashed, loop.joined(data) as server:
        left = [signed_in(crashed) for _ in range(SESSIONS_MOST - 1)]
        used = signed_in(server)
        assert refused(server) == "sessions-full"
        server.call(server.store.processes.remove(crashed.home.id))  # as whoever sees that it is dead
        signed_in(server).leave()
        assert used.ask("still here") == "still here"
        for client in (used, *left[1:]):
            client.leave()
        left[0].closed()


def test_where_all_sessions_are_used_the_owner_is_told_and_none_ends(server: JoinedServer) -> None:
    with ExitStack() as stack:
        used = [stack.enter_context(signed_in(server)) for _ in range(SESSIONS_MOST)]
        assert refused(server) == "sessions-full"
        assert refused(server, "a wrong password, long enough") == "sign-in-refused"
        assert all(client.ask("still here") == "still here" for client in used)
        (told,) = server.records("sign-in-full")
        assert 'name="ann"' in told
        assert len(server.records("refused")) == 1  # the wrong password
        used[0].leave()
        signed_in(server).leave()


def test_it_does_not_count_as_a_refusal(server: JoinedServer) -> None:
    with ExitStack() as stack:
        for _ in range(SESSIONS_MOST):
            stack.enter_context(signed_in(server))
        with server.client() as client:
            client.hello()
            for _ in range(
                6
            ):  # more than are let pass in a row, were they failures, and than a connection may have
                error = client.authenticate("ann", PASSWORD)
                assert isinstance(error, Error)
                assert error.code == "sessions-full"
                assert "(10)" in error.text
            welcome = client.authenticate("ann", PASSWORD, replace=True)
            assert isinstance(welcome, Welcome)
            assert welcome.refusals == 0


def test_who_says_so_ends_the_session_that_was_opened_first(server: JoinedServer) -> None:
    with ExitStack() as stack:
        used = []
        for _ in range(SESSIONS_MOST):
            used.append(stack.enter_context(signed_in(server)))
            server.let_pass(1)
        new = stack.enter_context(signed_in(server, replace=True))
        displaced(used.pop(0))
        assert all(client.ask("still here") == "still here" for client in (*used, new))
        (told,) = server.records("session-revoked")
        assert 'reason="too-many"' in told
        assert len(server.records("revoked")) == 1


def test_a_session_of_another_server_ends_too(data: Path) -> None:
    with virtual_loop() as loop, loop.joined(data) as one, loop.joined(data) as two, ExitStack() as stack:
        first = stack.enter_context(signed_in(one))
        one.let_pass(1)
        others = [stack.enter_context(signed_in(two)) for _ in range(SESSIONS_MOST - 1)]
        assert refused(two) == "sessions-full"
        stack.enter_context(signed_in(two, replace=True))
        displaced(first)
        assert all(client.ask("still here") == "still here" for client in others)


def test_who_says_so_in_vain_ends_none(server: JoinedServer) -> None:
    with signed_in(server) as used, signed_in(server, replace=True) as new:
        assert [client.ask("here") for client in (used, new)] == ["here"] * 2


# --- without accounts ---------------------------------------------------------------------------------------


def entered(server: JoinedServer, name: str | None, **fields: Any) -> tuple[JoinedClient, Body]:
    client = server.client()
    client.hello()
    return client, client.request(Kind.IDENTIFY, Identify(name=name, **fields))


@pytest.mark.parametrize(("access", "name"), [("identify", "ann"), ("anyone", None)])
def test_the_sessions_of_a_source_make_way_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: str, name: str | None
) -> None:
    monkeypatch.setattr(manager, "CLIENT_SESSIONS_MOST", 3)
    with joined(tmp_path / "data", access=access, registration="open") as server:
        used = []
        for _ in range(3):
            client, welcome = entered(server, name)
            assert isinstance(welcome, Welcome)
            used.append(client)
            server.let_pass(1)
        again, error = entered(server, name)
        assert isinstance(error, Error)
        assert error.code == "sessions-full"
        (told,) = server.records("sign-in-full")
        assert ("name=" in told) is (name is not None)
        again.cut()
        client, welcome = entered(server, name, replace=True)
        assert isinstance(welcome, Welcome)
        displaced(used[0])
        for other in (*used[1:], client):
            assert other.ask("still here") == "still here"
            other.leave()


def test_identify_without_a_session_takes_no_replace(server: JoinedServer) -> None:
    client, error = entered(server, "ann", replace=True)
    assert isinstance(error, Error)
    assert error.code == "access-unsupported"
    client.closed()


def test_every_server_offers_it(tmp_path: Path) -> None:
    for access in ("authenticate", "identify", "anyone"):
        with joined(tmp_path / access, access=access) as server, server.client() as client:
            assert "replace" in client.hello().features
