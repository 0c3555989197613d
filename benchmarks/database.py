#!/usr/bin/env python3
"""What a PostgreSQL database is asked for a sign-in, a resume, a revocation and a published message.

Run it with `PYTHONPATH=tests`: it starts the PostgreSQL of the tests, with fsync as it is for everybody.
`docs/scaling.md` has the figures. What polls and heartbeats ask is counted with nothing going on, and taken off.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import machine
from idle_connections import resumed_connections
from processes import Placement, RunningServer, antiphon
from sessions import seed
from sign_in_cost import hashed_once, known_servers, signed_in

from antiphon.server.topics.outbox import OutboxBroker
from antiphon.store.sql.postgres.database import PostgresDatabase
from antiphon.store.sql.postgres.outbox import PostgresOutbox
from antiphon.store.sql.sessions import SqlSessions
from antiphon.topics import Subscriber
from support import postgres as of_tests

SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "128MB",
    "log_min_messages": "log",
}
IDLE_SECONDS = 5
"""Time for which it is counted what is asked while nothing is done."""
AT_ONCE = 16
"""Clients at once."""
SESSIONS_EACH = 2
"""Sessions of an account at first: each round adds one, and it may have ten."""
DATABASE = "bench"
Work = Callable[[], Awaitable[int]]


@dataclass
class Cost:
    """What one of something takes."""

    what: str
    a_second: float
    transactions: float
    statements: float
    """Round trips to the database."""
    database_ms: float
    """Processor time of PostgreSQL."""
    server_ms: float
    """Processor time of the server or, without one, of this program."""


class Measured:
    """The database, and what it has done."""

    def __init__(self, server: of_tests.Postgres, serving: RunningServer | None = None) -> None:
        self.server = server
        self.serving = serving

    def processor_seconds(self) -> float:
        """Return the processor time of all processes of PostgreSQL, those that have ended included."""
        assert self.server._process is not None  # noqa: SLF001
        head = self.server._process.pid  # noqa: SLF001
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == head:
                ticks += int(fields[11]) + int(fields[12])
            if stat.parent.name == str(head):
                ticks += int(fields[13]) + int(fields[14])  # of children that have ended
        return ticks / os.sysconf("SC_CLK_TCK")

    def own_seconds(self) -> float:
        return self.serving.processor_seconds() if self.serving else time.process_time()

    @contextmanager
    def logging(self) -> Iterator[Callable[[], tuple[int, int]]]:
        """Have each statement logged in the block; give a function that counts transactions and round trips."""
        log = self.server.folder / "log"
        self._log_statements("all")
        before = log.stat().st_size

        def count() -> tuple[int, int]:
            logged = log.read_bytes()[before:]
            return logged.count(b"statement: BEGIN"), logged.count(b"statement: ") + logged.count(b"execute <")

        yield count
        self._log_statements("none")

    def _log_statements(self, what: str) -> None:
        with self.server.root() as root:
            root.execute(f"ALTER SYSTEM SET log_statement = '{what}'".encode())
            root.execute("SELECT pg_reload_conf()")
        time.sleep(1)  # until all of its processes have read it


async def cost(what: str, measured: Measured, work: Work, counted: Work, rounds: int) -> Cost:
    """Measure `work`, which returns how often it did the thing, and count what `counted` asks."""
    await work()
    rates, database, own = [], [], []
    for _ in range(rounds):
        before, began = (measured.processor_seconds(), measured.own_seconds()), time.perf_counter()
        done = await work()
        rates.append(done / (time.perf_counter() - began))
        database.append((measured.processor_seconds() - before[0]) / done * 1000)
        own.append((measured.own_seconds() - before[1]) / done * 1000)
    await asyncio.sleep(IDLE_SECONDS)
    with measured.logging() as count:
        began = time.perf_counter()
        done = await counted()
        await asyncio.sleep(IDLE_SECONDS)  # what its end asks belongs to it
        asked, took, ended = count(), time.perf_counter() - began, time.perf_counter()
        await asyncio.sleep(IDLE_SECONDS)
        idle = [(now - then) / (time.perf_counter() - ended) for now, then in zip(count(), asked, strict=True)]
    transactions, statements = ((seen - each * took) / done for seen, each in zip(asked, idle, strict=True))
    return Cost(what, median(rates), transactions, statements, median(database), median(own))


async def in_parts(count: int, one: Callable[[int], Awaitable[object]]) -> int:
    """Do `one` for each number, `AT_ONCE` at a time."""
    waiting = iter(range(count))

    async def next_ones() -> None:
        for number in waiting:
            await one(number)

    await asyncio.gather(*(next_ones() for _ in range(AT_ONCE)))
    return count


async def served(
    server: of_tests.Postgres, dsn: str, folder: Path, tokens: list[bytes], rounds: int
) -> list[Cost]:
    """Measure sign-ins and resumes at a real server."""
    count = len(tokens) // (SESSIONS_EACH)
    costs = []
    with antiphon("echo", "--store", dsn)(Placement((0, 1), folder / "data")) as running, hashed_once():
        measured, known = Measured(server, running), known_servers(folder)

        async def sign_ins(of: int = count) -> int:
            held = []

            async def one(number: int) -> None:
                held.append(await signed_in(running, known, number))

            await in_parts(of, one)
            for connection in held:
                connection.abort()
            return of

        async def resumes(of: int = count) -> int:
            for sock in resumed_connections(running.port, tokens[:of], secure=False):
                sock.close()
            return of

        costs.append(await cost("resume at its home", measured, resumes, lambda: resumes(20), rounds))
        costs.append(await cost("sign-in", measured, sign_ins, lambda: sign_ins(20), rounds))
    return costs


async def stored(server: of_tests.Postgres, dsn: str, rounds: int, count: int) -> list[Cost]:
    """Measure revocations and publishing, by what servers use for it."""
    database = PostgresDatabase(dsn, threads=4)
    measured = Measured(server)
    sessions, now = SqlSessions(database), datetime.now(UTC)
    broker = OutboxBroker(PostgresOutbox(database), "bench", lambda _: True, lambda: datetime.now(UTC))
    heard = []
    broker.news = lambda *news: heard.append(news)
    await broker.start()
    await broker.subscribe("news", 1, Subscriber(1, "ann", now))

    async def revocations(of: int = count) -> int:
        marks = [row.fingerprint for row in await sessions.all()][:of]

        async def one(number: int) -> None:
            await sessions.revoke(marks[number], "revoked", now)

        return await in_parts(len(marks), one)

    async def alone(of: int = count) -> int:
        for number in range(of):
            await broker.publish("news", f"{number}")
        return of

    async def together(of: int = 20 * count) -> int:
        for _ in range(of // 200):
            await asyncio.gather(*(broker.publish(f"news {number % 10}", "x" * 64) for number in range(200)))
        return of // 200 * 200

    costs = [
        await cost("publish, one after the other", measured, alone, lambda: alone(50), rounds),
        await cost("publish, 200 at once in ten topics", measured, together, lambda: together(400), rounds),
    ]
    costs.append(
        await cost(
            "revocation", measured, lambda: revocations(count // rounds), lambda: revocations(20), rounds - 1
        )
    )
    await broker.stop()
    await database.close()
    return costs


def main() -> None:
    """Measure everything, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=300, help="accounts, and things done in a round")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as path, ExitStack() as closing:
        folder = Path(path)
        folder.chmod(0o711)
        (folder / "postgres").mkdir()
        of_tests.SETTINGS.update(SETTINGS)
        server = of_tests.Postgres(folder / "postgres")
        server.start()
        closing.callback(server.stop)
        dsn = server.database(DATABASE)
        tokens = seed(folder / "data", options.count, SESSIONS_EACH, dsn)
        costs = asyncio.run(served(server, dsn, folder, tokens, options.rounds))
        costs += asyncio.run(stored(server, dsn, options.rounds, options.count))
    print(
        "| what | a second | transactions | statements | database | server |", "| --- |" + " --- |" * 5, sep="\n"
    )
    for each in costs:
        print(
            f"| {each.what} | {each.a_second:.0f} | {each.transactions:.1f} | {each.statements:.1f} |"
            f" {each.database_ms:.2f} ms | {each.server_ms:.2f} ms |"
        )
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine.describe(), "costs": [asdict(each) for each in costs]})
        )


if __name__ == "__main__":
    main()
