"""Two parties on one PostgreSQL database, whose statements are executed in an order that the test chooses.

Each party has a store with a connection of its own. Before each statement, and before each commit, it waits for
its turn. A party that waits for a lock of the other one is skipped until it has got the lock.
"""

import asyncio
import itertools
import random
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from antiphon.store.sql.database import Connection
from antiphon.store.sql.postgres import connector
from antiphon.store.sql.postgres import database as engine
from antiphon.store.sql.postgres.connection import PostgresConnection, connect
from antiphon.store.sql.store import SqlStore

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.001
_BLOCKED = "SELECT cardinality(pg_blocking_pids(%s)) > 0"

_local = threading.local()
"""The party of a thread: `party`."""


@dataclass
class Party:
    """One of two who write."""

    name: str
    turns: "Turns"
    pid: int = 0
    at_gate: bool = False
    done: bool = False
    go: bool = False

    def gate(self) -> None:
        """Wait for the next turn; it blocks the thread."""
        turns = self.turns
        with turns.changed:
            self.at_gate = True
            turns.changed.notify_all()
            assert turns.changed.wait_for(lambda: self.go, PATIENCE_SECONDS), "no turn"
            self.go = self.at_gate = False


@dataclass
class Turns:
    """The order of one run: who begins, and after how many turns the other one goes on instead."""

    begins: int
    switches: frozenset[int]
    changed: threading.Condition = field(default_factory=threading.Condition)
    parties: list[Party] = field(default_factory=list)
    taken: int = 0

    def conduct(self, monitor: psycopg.Connection[Any], look: Callable[[], None]) -> None:
        """Give turns until both are done; `look` is called after each."""
        current = self.begins
        while True:
            ready = self._settled(monitor)
            if ready is None:
                return
            if self.taken in self.switches:
                current = 1 - current
            if self.parties[current] not in ready:
                current = 1 - current
            self.taken += 1
            with self.changed:
                self.parties[current].go = True
                self.parties[current].at_gate = False
                self.changed.notify_all()
            self._settled(monitor)
            look()

    def _settled(self, monitor: psycopg.Connection[Any]) -> list[Party] | None:
        """Wait until each party waits for its turn or for the other one; return the former, None at the end."""
        while True:
            with self.changed:
                self.changed.wait_for(
                    lambda: all(each.at_gate or each.done for each in self.parties), LOOK_SECONDS
                )
                moving = [each for each in self.parties if not (each.at_gate or each.done)]
                ready = [each for each in self.parties if each.at_gate]
            if not moving:
                return ready or None
            if ready and all(
                each.pid and monitor.execute(_BLOCKED, (each.pid,)).fetchone() == (True,) for each in moving
            ):
                return ready


class _Stepped(PostgresConnection):
    """Connection that waits for its turn before each statement and each commit of a party."""

    def begin(self) -> None:
        if party := getattr(_local, "party", None):
            party.pid = self._driver.info.backend_pid
        super().begin()

    def execute(self, text: str, values: Mapping[str, Any] | None = None, /) -> psycopg.Cursor[Any]:
        self._gate()
        return super().execute(text, values)

    def commit(self) -> None:
        self._gate()
        super().commit()

    @staticmethod
    def _gate() -> None:
        if party := getattr(_local, "party", None):
            party.gate()


class _Database:
    """Database of a party: each transaction in a thread of its own, on the party's connection."""

    copy = None
    party: Party

    def __init__(self, dsn: str) -> None:
        self._direct = engine.PostgresDirect(dsn)

    async def run(self, work: Callable[[Connection], Any], order: object = None) -> Any:
        def run() -> Any:
            _local.party = self.party
            try:
                return self._direct.run(work)
            finally:
                _local.party = None

        return await asyncio.to_thread(run)

    def direct(self) -> engine.PostgresDirect:
        raise NotImplementedError

    async def listen(self, channel: str, heard: Callable[[], object]) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        self._direct.close()


Act = Callable[[SqlStore, Party], Awaitable[object]]


class Interleaving:
    """Runs pairs of acts in many orders."""

    def __init__(self, dsn: str, monitor: psycopg.Connection[Any]) -> None:
        self.monitor = monitor
        self._databases = [_Database(dsn) for _ in range(2)]
        self._stores = [SqlStore(each, each, shared=True) for each in self._databases]

    async def run(
        self, begins: int, switches: frozenset[int], acts: tuple[Act, Act], look: Callable[[], None]
    ) -> tuple[list[object], int]:
        """Run both acts in one order; return their outcomes, errors too, and how many turns there were."""
        turns = Turns(begins, switches)
        turns.parties = [Party(name, turns) for name in ("first", "second")]
        for database, party in zip(self._databases, turns.parties, strict=True):
            database.party = party

        async def act(number: int) -> object:
            party = turns.parties[number]
            try:
                return await acts[number](self._stores[number], party)
            finally:
                with turns.changed:
                    party.done = True
                    turns.changed.notify_all()

        conducting = asyncio.create_task(asyncio.to_thread(turns.conduct, self.monitor, look))
        outcomes = await asyncio.gather(act(0), act(1), return_exceptions=True)
        await conducting
        return list(outcomes), turns.taken

    async def all(
        self,
        acts: Callable[[int], Awaitable[tuple[Act, Act]]],
        check: Callable[[int, list[object]], Awaitable[None]],
        look: Callable[[], None] = lambda: None,
        most: int = 12,
    ) -> None:
        """Run pairs of acts in every order with one switch, and in `most` of those with two.

        `acts` prepares the run of a number and returns its acts; `check` gets the number and the outcomes.
        """
        numbers = itertools.count()
        longest = 0

        async def once(begins: int, *switches: int) -> None:
            nonlocal longest
            number = next(numbers)
            outcomes, taken = await self.run(begins, frozenset(switches), await acts(number), look)
            longest = max(longest, taken)
            try:
                await check(number, outcomes)
            except AssertionError as error:
                error.add_note(f"the {('first', 'second')[begins]} began, with switches after {switches}")
                raise

        for begins in (0, 1):
            await once(begins)
            switch = 1
            while switch < longest:
                await once(begins, switch)
                switch += 1
        pairs = [(b, i, j) for b in (0, 1) for i in range(1, longest) for j in range(i + 1, longest)]
        for begins, first, second in random.Random(20).sample(pairs, min(most, len(pairs))):
            await once(begins, first, second)


@contextmanager
def interleaving(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Interleaving]:
    """Give what runs acts on the database of an address, whose tables are made."""

    def stepped(dsn: str) -> PostgresConnection:
        return _Stepped(connect(dsn)._driver)

    monkeypatch.setattr(connector, "connect", stepped)
    with psycopg.connect(dsn, autocommit=True) as monitor:
        orders = Interleaving(dsn, monitor)
        yield orders
        for each in orders._databases:
            each._direct.close()
