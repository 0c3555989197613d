"""A look inside a running server, for tests of what no client can see."""

from typing import Any, cast

from antiphon.server.connection.connection import Connection
from antiphon.server.server import Server
from antiphon.server.session.channel import SessionChannel
from antiphon.server.session.manager import SessionManager


def connections(server: Server) -> list[Connection]:
    """Return the open connections."""
    return [cast("Connection", connection) for connection in server._host.connections]


def channels(server: Server) -> list[SessionChannel]:
    """Return the channels."""
    return list(server._host.channels)


def sessions(server: Server) -> SessionManager:
    """Return the session manager."""
    return server._host.channels._sessions


def stored(server: Server) -> Any:
    """Return the store, whose parts a test may replace."""
    return server._store
