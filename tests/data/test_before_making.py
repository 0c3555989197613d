"""A database that cannot be used: no data folder is made for it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from antiphon.cli.store_access import StoreOptions, open_data
from antiphon.errors import DatabaseUnreachable
from antiphon.server.manager import ServiceManager
from antiphon.server.server import Server
from antiphon.server.workers.supervise import supervise
from antiphon.settings import ProgramSettings, ServerSettings

NOWHERE = "postgresql://127.0.0.1:9/none"


async def serve(data: Path) -> None:
    async with Server(data=data, store=NOWHERE, port=0):
        pass


async def serve_with_workers(data: Path) -> None:
    settings = ServerSettings(data=data, store=NOWHERE, port=0)
    await supervise(
        "echo", settings, ProgramSettings(), workers=2, language="en", as_json=False, manager=ServiceManager()
    )


async def add(data: Path) -> None:
    async with open_data(StoreOptions(data=data, store=NOWHERE), make=True):
        pass


@pytest.mark.parametrize("begin", [serve, serve_with_workers, add])
async def test_nothing_is_made(begin: Callable[[Path], Awaitable[None]], tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreachable):
        await begin(tmp_path / "data")
    assert not list(tmp_path.iterdir())


async def test_a_folder_that_is_there_has_the_log(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    with pytest.raises(DatabaseUnreachable):
        await serve(tmp_path / "data")
    assert "database-unreachable" in (tmp_path / "data" / "server.log").read_text()
