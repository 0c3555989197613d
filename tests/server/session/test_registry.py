"""What the parts of a server share, where a session ends in an odd moment."""

import asyncio
import socket
import struct
from pathlib import Path

from antiphon.errors import TryLater
from antiphon.identity.tokens import Token
from antiphon.server.connection.connection import Connection
from antiphon.server.session.manager import Holder, Session
from antiphon.wire.bodies import Resume, ServerBye
from support.inside import connections, sessions
from support.serving import seed, serving


def lose(connection: Connection) -> None:
    connection.lose("revoked")


def test_a_session_that_is_lost_before_the_service_knows_it_ends_the_connection(tmp_path: Path) -> None:
    with serving(tmp_path / "data", plain=True) as server, server.client() as client:
        client.hello()
        server.read(lambda server: lose(*connections(server)))
        assert client.body() == ServerBye(reason="revoked")


def test_a_store_that_fails_while_a_session_is_put_aside_is_told_to_the_log(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")

    async def fail(session: object) -> None:
        raise TryLater

    with serving(tmp_path / "data", plain=True) as server, server.session(token):
        registry = server.server._host.channels
        server.read(lambda server: setattr(sessions(server), "release", fail))
        (session,) = server.read(lambda _: [channel.session for channel in registry])
        server.call(registry.release(session))
        log = server.server.log_path
    assert "store-failed" in log.read_text()


def test_a_session_that_is_found_for_a_connection_that_is_gone_waits_for_the_next_one(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server, server.client() as client:
        manager = sessions(server.server)
        resume, found, gone = manager.resume, asyncio.Event(), asyncio.Event()

        async def late(token: Token, holder: Holder) -> Session:
            session = await resume(token, holder)
            found.set()
            await gone.wait()
            return session

        server.read(lambda _: setattr(manager, "resume", late))
        client.hello()
        client.send(client.conversation.resume(token, Resume())[1])
        server.call(found.wait())
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock.close()  # with a reset
        while server.read(lambda _: bool(connections(server.server))):
            pass  # each look is a step of the server
        server.read(lambda _: gone.set())
        while server.read(lambda _: len(server.server._host.tasks) > 0):
            pass
        assert server.read(lambda _: not manager._held)
