"""Servers joined in memory, each on a data folder of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.auth import AuthClient, AuthServer, Place


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(tmp_path / "data")
    yield place
    await place.close()


@pytest.fixture
async def server(place: Place) -> AuthServer:
    """Give a server with passwords, on which registration is open."""
    return await place.server()


@pytest.fixture
async def inside(server: AuthServer) -> AuthClient:
    """Give ann's session."""
    await server.seed("ann")
    return await server.session()
