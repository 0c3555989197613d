"""The faults, each as what begins and what ends it."""

import asyncio
import contextlib
import signal
from typing import Any

from faults.proxy import State
from faults.world import Fault, World

_taken: list[Any] = []
"""Connections that were taken from the nodes."""


async def _start(world: World) -> None:
    await asyncio.to_thread(world.cluster.start, world.cluster.port)


def _ended(number: int) -> Any:
    async def begin(world: World) -> None:
        await asyncio.to_thread(world.cluster.end, number)

    return begin


async def _kill(world: World) -> None:
    await asyncio.to_thread(world.cluster.kill)


async def _freeze(world: World) -> None:
    world.cluster.freeze()


async def _thaw(world: World) -> None:
    world.cluster.thaw()


async def _restart(world: World) -> None:
    await asyncio.to_thread(world.cluster.end, signal.SIGINT)
    await _start(world)


async def _nothing(_: World) -> None:
    pass


def _cut(state: State, nodes: tuple[int, ...]) -> Any:
    async def begin(world: World) -> None:
        for node in nodes:
            await world.networks[node].cut(state)

    return begin


async def _heal(world: World) -> None:
    for network in world.networks:
        await network.heal()


def _slow(seconds: float) -> Any:
    async def begin(world: World) -> None:
        for network in world.networks:
            network.delay = seconds

    return begin


async def _take(world: World) -> None:
    _taken.extend(await asyncio.to_thread(world.cluster.take_all))


async def _give(_: World) -> None:
    def give() -> None:
        while _taken:
            with contextlib.suppress(OSError):
                _taken.pop().close()

    await asyncio.to_thread(give)


async def _read_only(world: World) -> None:
    await asyncio.to_thread(world.cluster.read_only, "on")


async def _writable(world: World) -> None:
    await asyncio.to_thread(world.cluster.read_only, "off")


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("stopped", _ended(signal.SIGINT), _start),
        Fault("stopped at once", _ended(signal.SIGQUIT), _start),
        Fault("killed", _kill, _start),
        Fault("restarted", _restart, _nothing, seconds=0.0),
        Fault("frozen", _freeze, _thaw),
        Fault("frozen for long", _freeze, _thaw, seconds=20.0),
        Fault("cut, refused", _cut("refused", (0, 1)), _heal, reachable=True),
        Fault("cut, silent", _cut("silent", (0, 1)), _heal, reachable=True),
        Fault("one node cut, silent", _cut("silent", (1,)), _heal, reachable=True, seconds=12.0),
        Fault("one node cut, refused", _cut("refused", (1,)), _heal, reachable=True, seconds=12.0),
        Fault("slow", _slow(0.1), _slow(0.0), reachable=True),
        Fault("very slow", _slow(1.0), _slow(0.0), reachable=True),
        Fault("no connections", _take, _give),
        Fault("read only", _read_only, _writable, reachable=True),
    )
}
