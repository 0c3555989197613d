"""What the parts of a server share, where a session ends in an odd moment."""

from pathlib import Path

from antiphon.errors import TryLater
from antiphon.server.connection import Connection
from antiphon.wire.bodies import ServerBye
from support.serving import seed, serving


def lose(connection: Connection) -> None:
    connection.lose("revoked")


def test_a_session_that_is_lost_before_the_service_knows_it_ends_the_connection(tmp_path: Path) -> None:
    with serving(tmp_path / "data", plain=True) as server, server.client() as client:
        client.hello()
        server.read(lambda server: lose(*server._context.connections))
        assert client.body() == ServerBye(reason="revoked")


def test_a_store_that_fails_while_a_session_is_put_aside_is_told_to_the_log(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")

    async def fail(session: object) -> None:
        raise TryLater

    with serving(tmp_path / "data", plain=True) as server, server.session(token):
        context = server.server._context
        server.read(lambda _: setattr(context.sessions, "release", fail))
        (session,) = server.read(lambda _: [connection._session for connection in context.connections])
        assert session is not None
        server.call(context.release(session))
        log = server.server.log_path
    assert "store-failed" in log.read_text()
