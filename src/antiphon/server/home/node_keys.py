"""Node keys: a new sealing key over nodes, each of which has a copy of the key ring in a data folder of its own.

A key seals only once every living process has it; each notes in its row which keys are in the file of its folder.
"""

import asyncio
from collections.abc import Awaitable, Callable

from antiphon.identity.keys import number_of
from antiphon.server.home.watch import DEAD_SECONDS
from antiphon.store.contracts import ProcessRecord, Store

LOOK_SECONDS = 0.1
"""Pause between two looks at the processes."""
_BEATS = 2
"""Heartbeats after which a process has read the file since the first look: it reads before each."""


class NodeKeys:
    """The keys of the processes of one database; `data.rekey.Nodes`."""

    def __init__(self, store: Store, wait: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Ask a store outside the data folders of its servers; `wait` passes seconds."""
        assert store.owner is not None, "a database that is not in the data folder"
        self._owner = store.owner
        self._processes = store.processes
        self._wait = wait
        self._still: dict[str, int] = {}
        """Counters of the processes that stand still: they may be dead, and are not waited for."""

    async def sealing(self) -> str | None:
        """See `data.rekey.Nodes`."""
        return (await self._owner.noted()).sealing

    async def later_keys(self, number: int) -> list[ProcessRecord]:
        """See `data.rekey.Nodes`."""
        return [
            each
            for each in await self._processes.all()
            if any(number_of(mark) > number for mark in each.keys.split())
        ]

    async def lacking(self, key: str) -> list[ProcessRecord]:
        """See `data.rekey.Nodes`. It takes 6 s if a process stands still."""
        first: dict[str, int] = {}
        passed = 0.0
        while True:
            lacking = [each for each in await self._processes.all() if key not in each.keys.split()]
            for each in lacking:
                first.setdefault(each.id, each.beat)
            undecided = [each for each in lacking if each.beat - first[each.id] < _BEATS]
            if not undecided:
                return lacking
            if passed > DEAD_SECONDS:
                # They stay in the store: who is dead is decided by those who want their sessions.
                self._still = {each.id: each.beat for each in undecided if each.beat == first[each.id]}
                return [each for each in lacking if each.id not in self._still]
            await self._wait(LOOK_SECONDS)
            passed += LOOK_SECONDS

    async def seal_with(self, key: str) -> list[ProcessRecord]:
        """See `data.rekey.Nodes`."""
        return await self._owner.seal_with(key, self._still)
