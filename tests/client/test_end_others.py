"""`end_others` of both clients: all other sessions of the account end, over processes and lost connections too."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from antiphon import blocking, connect
from antiphon.address import Address
from antiphon.errors import EndedElsewhere, UsageError
from antiphon.server.server import Server
from antiphon.services import echo
from antiphon.testing import FaultProxy
from support.processes import PASSWORD
from support.serving import seed
from support.sessions import server_here

Ending = Callable[[Address, Callable[[], Awaitable[None]]], Awaitable[tuple[int, int]]]


async def end_waiting(place: Address, meanwhile: Callable[[], Awaitable[None]]) -> tuple[int, int]:
    """Sign in, have the other sessions ended, and once more after `meanwhile`; return how many there were."""
    async with connect(place, name="ann", password=PASSWORD) as ann:
        first = await ann.end_others()
        await meanwhile()
        second = await ann.end_others()
        assert await ann.ask("still here") == "still here"
        return first, second


async def end_blocking(place: Address, meanwhile: Callable[[], Awaitable[None]]) -> tuple[int, int]:
    def work() -> tuple[int, int]:
        with blocking.connect(place, name="ann", password=PASSWORD) as ann:
            first = ann.end_others()
            asyncio.run_coroutine_threadsafe(meanwhile(), loop).result()  # type: ignore[arg-type] # it is a coroutine
            second = ann.end_others(timeout=20)
            assert ann.ask("still here") == "still here"
            return first, second

    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(work)


@pytest.fixture(params=[end_waiting, end_blocking], ids=["asyncio", "blocking"])
def ending(request: pytest.FixtureRequest) -> Ending:
    chosen: Ending = request.param
    return chosen


@pytest.fixture
def data(tmp_path: Path) -> Path:
    seed(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
async def server(data: Path) -> AsyncIterator[Server]:
    async with server_here(data, echo) as server:
        yield server


async def test_the_others_end_with_the_reason_also_where_the_connection_is_lost_meanwhile(
    ending: Ending, server: Server
) -> None:
    async with (
        FaultProxy(server.addresses[0]) as proxy,
        connect(server.addresses[0], name="ann", password=PASSWORD) as other,
    ):

        async def cut_once_the_other_has_ended() -> None:
            assert isinstance(await other.ended(), EndedElsewhere)
            await proxy.cut()

        assert await ending(proxy.address, cut_once_the_other_has_ended) == (2, 0)  # one is the seed's


async def test_where_nobody_has_an_account_it_is_not_offered(tmp_path: Path) -> None:
    async with (
        server_here(tmp_path / "data", echo, access="identify") as server,
        connect(server.addresses[0], name="ann") as ann,
    ):
        assert not ann.can_end_others
        with pytest.raises(UsageError, match="cannot end other sessions"):
            await ann.end_others()
        assert await ann.ask("still here") == "still here"
