"""Hints of PostgreSQL that the revocation log has grown: when they come, and when their connection is lost."""

import asyncio
import contextlib
import os
import struct
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from antiphon.store.contracts import Store
from antiphon.store.opening import open_store
from antiphon.store.sql.database import REVOCATIONS_CHANNEL, TOPICS_CHANNEL, Connection
from antiphon.store.sql.postgres import listening
from antiphon.store.sql.postgres.connection import connect_to_listen
from antiphon.store.sql.postgres.database import PostgresDatabase
from support.postgres import Postgres
from support.stored import NOON

LISTENING = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'antiphon' AND query LIKE 'DO%LISTEN%' AND pid > 0"
)


@pytest.fixture
async def store(database: str, tmp_path: Path) -> AsyncIterator[Store]:
    made = await open_store(database, tmp_path)
    yield made
    await made.close()


class Hints:
    """Counts what was heard."""

    def __init__(self) -> None:
        self.count = 0
        self._came = asyncio.Event()

    def heard(self) -> None:
        self.count += 1
        self._came.set()

    async def next(self) -> None:
        async with asyncio.timeout(60):
            await self._came.wait()
        self._came.clear()


@asynccontextmanager
async def hints_of(store: Store) -> AsyncIterator[Hints]:
    """Give the hints of a store once it listens."""
    hints = Hints()
    task = asyncio.create_task(store.revocations.listen(hints.heard))
    await hints.next()  # it begins to listen
    yield hints
    task.cancel()
    await asyncio.wait([task])


async def test_a_revocation_is_heard_of_when_it_is_committed_and_not_before(database: str, store: Store) -> None:
    engine = PostgresDatabase(database)

    def fail(connection: Connection) -> None:
        connection.notify(REVOCATIONS_CHANNEL)
        raise LookupError

    async with hints_of(store) as hints:
        with pytest.raises(LookupError):
            await engine.run(fail)
        await store.sessions.revoke(b"one", "revoked", NOON)
        await hints.next()
        assert hints.count == 2  # that it listens, and one revocation
        await store.sessions.revoke_account(7, "revoked", NOON)
        await hints.next()
    await engine.close()


async def test_a_connection_that_is_lost_is_made_again_and_one_that_ends_is_closed(
    store: Store, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "FIRST_SECONDS", 0.01)
    with postgres.root() as root:
        async with hints_of(store) as hints:
            ((pid,),) = root.execute(LISTENING).fetchall()
            root.execute("SELECT pg_terminate_backend(%s)", (pid,))
            await hints.next()  # it listens again, and what was written meanwhile is read
            await store.sessions.revoke(b"one", "revoked", NOON)
            await hints.next()
            ((again,),) = root.execute(LISTENING).fetchall()
            assert again != pid
        async with asyncio.timeout(60):
            while root.execute(LISTENING).fetchall():
                await asyncio.sleep(0.01)


async def test_a_child_of_a_fork_does_not_hear_and_cuts_nobody_off(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    connect = connect_to_listen

    async def noted(dsn: str) -> psycopg.AsyncConnection[object]:
        made.append(await connect(dsn))
        return made[-1]

    monkeypatch.setattr(listening, "connect_to_listen", noted)
    async with hints_of(store) as hints:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the child does nothing that threads could have locked
            child = os.fork()
        if not child:
            os._exit(os.fstat(made[0].fileno()).st_rdev == Path(os.devnull).stat().st_rdev)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        await store.sessions.revoke(b"one", "revoked", NOON)
        await hints.next()
        assert len(made) == 1


async def test_all_channels_share_a_connection_and_each_listener_hears_its_own(
    database: str, store: Store, postgres: Postgres
) -> None:
    assert store.outbox is not None
    topics, engine = Hints(), PostgresDatabase(database)
    async with hints_of(store) as revoked:
        listening_too = asyncio.create_task(store.outbox.listen(topics.heard))
        await topics.next()  # the connection listens already
        with postgres.root() as root:
            assert len(root.execute(LISTENING).fetchall()) == 1
        await engine.run(lambda connection: connection.notify(TOPICS_CHANNEL))
        await topics.next()
        await store.sessions.revoke(b"one", "revoked", NOON)
        await revoked.next()
        assert (revoked.count, topics.count) == (2, 2)
        listening_too.cancel()
        await asyncio.wait([listening_too])
        await store.sessions.revoke(b"two", "revoked", NOON)
        await revoked.next()  # who goes takes it from nobody
    await engine.close()


class Pooler:
    """A pooler as PgBouncer is one to its clients: their connection has another number than the server's."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.connections = 0
        self.ended = asyncio.Event()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        above = await asyncio.open_connection("127.0.0.1", self._port)
        up = asyncio.create_task(self._pass(reader, above[1]))
        await self._pass(above[0], writer, renumbered=True)
        await up
        self.ended.set()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, renumbered: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                at = data.find(b"K\0\0\0\x0c") if renumbered else -1
                if at >= 0:
                    (pid,) = struct.unpack_from(">I", data, at + 5)
                    data = data[: at + 5] + struct.pack(">I", pid + 1) + data[at + 9 :]
                writer.write(data)
        writer.close()


async def test_behind_a_pooler_nobody_listens(database: str, postgres: Postgres) -> None:
    pooler, hints = Pooler(postgres.port), Hints()
    server = await asyncio.start_server(pooler.relay, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    name = database.partition("@/")[2].partition("?")[0]
    dsn = f"postgresql://keeper:correct@127.0.0.1:{port}/{name}"
    task = asyncio.create_task(listening.Listener(dsn).listen(REVOCATIONS_CHANNEL, hints.heard))
    async with asyncio.timeout(60):
        await pooler.ended.wait()
    with postgres.root() as root:
        assert root.execute(LISTENING).fetchall() == []
    task.cancel()
    await asyncio.wait([task])
    server.close()
    assert (hints.count, pooler.connections) == (0, 1)
