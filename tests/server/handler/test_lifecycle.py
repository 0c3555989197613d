"""Hooks of a service: `opened` before the first message of a session, `closed` after the last."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from antiphon.services import Session
from antiphon.wire.frames import Payload
from support.desk import Desk
from support.joined import joined
from support.serving import seed


def test_a_session_that_ends_while_it_is_taken_in_is_not_taken_in(tmp_path: Path, tokens: list[bytes]) -> None:
    seen: list[str] = []

    class Slow:
        async def opened(self, session: Session) -> None:
            seen.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("given up")

        def closed(self, session: Session) -> None:
            seen.append("closed")

        def received(self, message: Payload) -> Payload:
            return message

    with joined(tmp_path / "data", Slow(), plain=True) as server, server.session(tokens[0]):
        server.until(lambda: seen)
        server.call(server.host.channels.stop())
    assert seen == ["begun", "given up", "closed"]


def test_the_service_sees_each_session_come_and_go_once(tmp_path: Path, desk: Desk) -> None:
    tokens = seed(tmp_path / "data", sessions=2)
    with joined(tmp_path / "data", desk, plain=True) as server:
        for _ in range(3):
            client, _ = server.back(tokens[0], 0)
            assert client.ask("hello") == "hello"
            client.close()
        client, _ = server.back(tokens[0], 3)
        assert client.ask("hello") == "hello"
        client.leave()
        desk.wait_for(server, "closed ann after 4")
        with server.session(tokens[1]) as client:
            client.ask("hello")
    assert desk.seen == ["opened ann", "closed ann after 4", "opened ann", "closed ann after 1"]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("fault", [RuntimeError, SystemExit, asyncio.CancelledError])
def test_a_session_that_the_service_cannot_take_is_told_so(
    tmp_path: Path, tokens: list[bytes], fault: type[BaseException], later: bool
) -> None:
    class Unready(Desk):
        def opened(self, session: Session) -> Any:
            if later:
                return self.fail()
            raise fault("not ready")

        async def fail(self) -> None:
            await asyncio.sleep(0)
            raise fault("not ready")

    with joined(tmp_path / "data", Unready(), plain=True) as server, server.session(tokens[0]) as client:
        assert client.ended_with() == "service-failed"
    assert "not ready" in server.log()


@pytest.mark.parametrize("fault", [RuntimeError, SystemExit, asyncio.CancelledError])
def test_the_server_stops_in_order_whatever_a_service_raises_at_the_end(
    tmp_path: Path, tokens: list[bytes], fault: type[BaseException]
) -> None:
    class Clumsy(Desk):
        async def closed(self, session: Session) -> None:
            await super().closed(session)
            raise fault("clumsy")

    clumsy = Clumsy()
    with (
        joined(tmp_path / "data", clumsy) as server,
        server.session(tokens[0]) as first,
        server.session(tokens[1]) as second,
    ):
        first.leave()
        clumsy.wait_for(server, "closed ann after 0")
        assert second.ask("hello") == "hello"
    assert clumsy.seen[-1] == "closed ann after 1"
    assert server.log().count("clumsy") >= 2
