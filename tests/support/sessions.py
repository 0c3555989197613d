"""Open sessions of the client library on servers in this event loop, without a sign-in."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from antiphon.address import Address
from antiphon.client.aio.batch_session import BatchSession
from antiphon.client.aio.connect import leaving, session_on
from antiphon.client.aio.dial import dial
from antiphon.client.aio.reconnect import AsyncReconnector
from antiphon.client.aio.session import ClientSession
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers
from antiphon.server.server import Server
from antiphon.services import Handler
from antiphon.settings import ServerSettings


def settings_here(folder: Path, **options: Any) -> ServerSettings:
    """Return the settings of a server in `folder`, by default on a free port of 127.0.0.1 and without TLS."""
    defaults: dict[str, Any] = {"data": folder, "port": 0, "host": "127.0.0.1", "plain": True, "drain_seconds": 2}
    return ServerSettings(**defaults | options)


@contextlib.asynccontextmanager
async def server_here(folder: Path, handler: Handler, **options: Any) -> AsyncIterator[Server]:
    """Serve `handler` from `folder` in this event loop."""
    async with Server(handler, settings_here(folder, **options)) as server:
        yield server


@contextlib.asynccontextmanager
async def session_of(address: Address, token: bytes, **options: Any) -> AsyncIterator[ClientSession]:
    """Yield the session of `token`; `options` are those of `session_on`."""
    known = KnownServers(Path("/nonexistent/known_servers"))
    dialled = await dial(address, known, 60)
    welcome = await SignIn(dialled.connection).resume(token)
    async with session_on(address, known, dialled, welcome, **options) as session:
        yield session


@contextlib.asynccontextmanager
async def batch_session_of(address: Address, token: bytes, give_up: float = 10.0) -> AsyncIterator[BatchSession]:
    """Yield the session of `token` as `antiphon ping` has it."""
    known = KnownServers(Path("/nonexistent/known_servers"))
    dialled = await dial(address, known, 10)
    welcome = await SignIn(dialled.connection).resume(token)
    reconnector = AsyncReconnector(address, known, dialled, give_up=give_up, language="en", timeout=10)
    async with leaving(BatchSession(dialled.connection, welcome, reconnector)) as session:
        yield session
