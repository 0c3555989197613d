"""Tests of home processes over a real store: their life, their heartbeat, and how one finds another dead."""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from antiphon.errors import KeyRingUnusable, TryLater
from antiphon.server.home.fence import Fence
from antiphon.server.home.process import HomeProcess
from antiphon.server.home.watch import DEAD_SECONDS
from antiphon.server.relay import address
from antiphon.server.tasks import BackgroundTasks
from antiphon.store.contracts import ProcessRecord, Store
from antiphon.store.opening import open_store
from antiphon.store.sql import open_sqlite
from support.auth import RecordingLog


class Reads:
    """Counts how often the claims are read; the store does not answer while `away`."""

    def __init__(self) -> None:
        self.reads = 0
        self.went_on = 0
        self.away = False

    async def read(self) -> None:
        if self.away:
            raise TryLater
        self.reads += 1

    def go_on(self) -> None:
        self.went_on += 1


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_sqlite(tmp_path)
    yield opened
    await opened.close()


def made(
    store: Store,
    log: RecordingLog,
    fence: Fence,
    *,
    service: str = "echo",
    limits: str = "1",
    keys: Callable[[], str] = lambda: "",
) -> HomeProcess:
    return HomeProcess(
        store.processes,
        fence,
        log,
        BackgroundTasks(),
        service=service,
        limits=limits,
        place="here",
        random=os.urandom,
        clock=lambda: datetime.now(UTC),
        keys=keys,
    )


@asynccontextmanager
async def running(
    store: Store, path: Path, reads: Reads | None = None, fence: Fence | None = None
) -> AsyncIterator[tuple[HomeProcess, RecordingLog]]:
    log, reads = RecordingLog(), reads or Reads()
    process = made(store, log, fence or Fence())
    await process.start(str(path), reads.read, reads.go_on)
    try:
        yield process, log
    finally:
        await process.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_process_is_in_the_store_while_it_runs(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path / "socket") as (process, _):
        (record,) = await store.processes.all()
        assert (record.id, record.pid) == (process.id, os.getpid())
        assert record.relay_address == str(tmp_path / "socket")
        assert await process.find(process.id) == record
    assert await store.processes.all() == []


async def test_its_counter_moves_and_it_sees_those_of_others(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path / "one") as (one, _), running(store, tmp_path / "two") as (two, _):
        await until(lambda: (one.watch.counter(two.id) or 0) > 1)
        (there,) = [record for record in await store.processes.all() if record.id == two.id]
        assert one.still_for(there) < DEAD_SECONDS / 2


async def test_one_whose_row_others_have_removed_enters_again_and_reads_its_claims(
    store: Store, tmp_path: Path
) -> None:
    reads, fence = Reads(), Fence()
    async with running(store, tmp_path / "socket", reads, fence) as (process, log):
        await until(lambda: process.watch.counter(process.id))
        assert await store.processes.remove(process.id)
        await until(lambda: reads.went_on)
        assert await store.processes.find(process.id) is not None
        assert reads.reads == 1
        assert [record.event for record in log.records] == ["fenced", "unfenced"]
        assert fence.check()


async def test_a_fence_that_has_closed_opens_only_when_the_store_has_answered(
    store: Store, tmp_path: Path
) -> None:
    reads, fence = Reads(), Fence()
    reads.away = True
    async with running(store, tmp_path / "socket", reads, fence) as (process, _):
        fence.close()
        before = (await store.processes.all())[0].beat
        await asyncio.sleep(0.4)  # it tries again and again
        assert not fence.check()
        reads.away = False
        await until(lambda: reads.went_on)
        assert fence.check()
        record = await process.find(process.id)
        assert record is not None
        assert record.beat > before, (
            "or whoever has seen it stand still could remove it after the claims were read"
        )


async def test_a_process_without_the_key_that_seals_does_not_enter_and_stays_fenced_until_it_has_it(
    database: str, tmp_path: Path
) -> None:
    store = await open_store(database, tmp_path)
    assert store.owner is not None
    await store.owner.join(b"ring", None, "1:a")
    keys, log, reads, fence = ["1:a"], RecordingLog(), Reads(), Fence()
    process = made(store, log, fence, keys=lambda: " ".join(keys))
    await process.start(str(tmp_path / "socket"), reads.read, reads.go_on)
    assert await store.processes.remove(process.id)  # others take it for dead, and change the key
    assert await store.owner.seal_with("2:b", {}) == []
    await until(lambda: log.of("key-ring-unread"))
    assert not fence.check()
    with pytest.raises(KeyRingUnusable, match="lacks the key that seals the accounts of the database now"):
        await made(store, log, Fence(), keys=lambda: "1:a").start("", reads.read, reads.go_on)
    keys.append("2:b")
    await until(lambda: reads.went_on)
    assert fence.check()
    (record,) = await store.processes.all()
    assert record.keys == "1:a 2:b"
    assert [each.event for each in log.records] == ["fenced", "key-ring-unread", "unfenced"]
    await process.stop()
    await store.close()


async def test_a_counter_that_has_moved_keeps_a_process_alive(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path / "one") as (one, _), running(store, tmp_path / "two") as (two, _):
        seen = await one.find(two.id)
        assert seen is not None
        await until(lambda: (one.watch.counter(two.id) or 0) > seen.beat)
        with pytest.raises(TryLater) as refusal:
            await one.refused(seen)
        assert refusal.value.wait <= 1
        with pytest.raises(TryLater):
            await one.silent(seen)
        assert await one.find(two.id) is not None


def left(path: Path, id: str = "killed") -> ProcessRecord:
    """Return the record of a process that was killed; its socket file is still there."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return ProcessRecord(
        id=id,
        pid=1,
        started_at=datetime.now(UTC),
        beat=7,
        relay_address=str(path),
        relay_version=1,
        service="echo",
        limits="1",
    )


async def test_one_that_refuses_and_whose_counter_stands_is_removed_with_its_socket(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / address.FOLDER).mkdir()
    killed = left(tmp_path / address.FOLDER / "killed.sock")
    await store.processes.enter(killed)
    async with running(store, tmp_path / "socket") as (process, log):
        await process.refused(killed)
        assert await process.find("killed") is None
        assert not Path(killed.relay_address).exists()
        (record,) = log.of("process-dead")
        assert record.fields == {"process": "killed", "pid": 1}
        await process.refused(killed)  # another one has found out meanwhile


async def test_one_that_was_only_silent_keeps_its_socket(store: Store, tmp_path: Path) -> None:
    frozen = left(tmp_path / "frozen.sock", "frozen")
    await store.processes.enter(frozen)
    async with running(store, tmp_path / "socket") as (process, _):
        setattr(process.watch, "stands_at", lambda id, now: 7)  # noqa: B010 - a method
        await process.silent(frozen)
        assert await process.find("frozen") is None
    assert Path(frozen.relay_address).exists(), "it may wake, and is reached there"


async def test_a_socket_of_a_process_that_another_node_has_found_dead_is_swept_up(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / address.FOLDER
    folder.mkdir()
    swept = [Path(left(folder / f"{name}.sock", name).relay_address) for name in ("first", "second")]
    os.utime(swept[0], (0, 0))
    async with running(store, folder / "socket") as (process, _):
        assert [path.exists() for path in swept] == [False, True]
        os.utime(swept[1], (0, 0))
        await process.tidy()
        assert not swept[1].exists()


@pytest.mark.parametrize("listens", [True, False])
async def test_what_killed_processes_leave_is_tidied_up(store: Store, tmp_path: Path, listens: bool) -> None:
    path = tmp_path / "killed.sock"
    killed = left(path)
    await store.processes.enter(killed)
    with socket.socket(socket.AF_UNIX) as listener:
        if listens:
            path.unlink()
            listener.bind(str(path))
            listener.listen()
        async with running(store, tmp_path / "socket") as (process, _):
            await until(lambda: process.watch.counter("killed"))
            await process.tidy()
            assert await process.find("killed") is not None, "it has not stood still for long"
            process.watch.seen({"killed": 7}, 0.0)
            setattr(process, "still_for", lambda other: DEAD_SECONDS)  # noqa: B010 - a method
            await process.tidy()
            assert (await process.find("killed") is None) == (not listens)


@pytest.mark.parametrize(
    ("service", "limits", "understood"), [("echo", "1", True), ("chat", "1", False), ("echo", "2", False)]
)
async def test_only_those_who_serve_the_same_understand_each_other(
    store: Store, tmp_path: Path, service: str, limits: str, understood: bool
) -> None:
    other = made(store, RecordingLog(), Fence(), service=service, limits=limits)
    reads = Reads()
    await other.start(str(tmp_path / "socket"), reads.read, reads.go_on)
    try:
        record = await other.find(other.id)
        assert record is not None
        process = made(store, RecordingLog(), Fence())
        assert process.understands(record) == understood
    finally:
        await other.stop()


async def test_a_store_that_is_slow_to_answer_does_not_fence_a_process_that_runs(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.server.home.fence.FROZEN_SECONDS", 0.6)
    store = await open_store(database, tmp_path)
    seen: list[tuple[bool, int]] = []
    while (True, 0) not in seen and len(seen) < 4:  # a busy machine freezes this process too, at times
        fence = Fence()
        async with running(store, tmp_path / f"s{len(seen)}", fence=fence) as (process, _):
            with psycopg.connect(database) as other:
                other.execute("SELECT FROM processes FOR UPDATE")
                await asyncio.sleep(2.2)  # longer than two heartbeats: nothing else looks at the fence meanwhile
                seen.append((fence.check(), fence.closings))
            await until(lambda: (process.watch.counter(process.id) or 0) > 0)
    await store.close()
    assert (True, 0) in seen, seen


async def test_a_process_that_gets_no_thread_says_so_and_leaves_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "fence":
            raise RuntimeError("can't start new thread")
        begin(thread)

    process, reads = made(store, RecordingLog(), Fence()), Reads()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError, match="new thread"):
            await process.start("nowhere", reads.read, reads.go_on)
    await process.stop()
    assert await store.processes.find(process.id) is None
