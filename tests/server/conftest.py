"""A desk, joined in memory with its clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.desk import Desk
from support.joined import JoinedClient, JoinedServer, joined
from support.serving import seed


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def tokens(tmp_path: Path) -> list[bytes]:
    return seed(tmp_path / "data", sessions=3)


@pytest.fixture
def server(tmp_path: Path, desk: Desk, tokens: list[bytes]) -> Iterator[JoinedServer]:
    with joined(tmp_path / "data", desk) as running:
        yield running


@pytest.fixture
def client(server: JoinedServer, tokens: list[bytes]) -> JoinedClient:
    return server.session(tokens[0])
