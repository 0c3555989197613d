"""Clients that connect and close leave nothing behind in a server with workers (issue 17)."""

import asyncio
import contextlib
import socket
import ssl
import struct
from pathlib import Path

import pytest

from antiphon import connect
from antiphon.settings import ServerSettings
from support.attack import resident, tell, wait_until
from support.raw import RawClient, tls_context
from support.workers import WorkersProcess

CLIENTS = 10_000
WARM_UP = 2_000
"""Clients before the first look: what is allocated at need is allocated then."""
GROWTH_MOST = 1_500_000
"""Most bytes by which a process may grow: 150 for each client, less than any object that one would leave."""
RESET = struct.pack("ii", 1, 0)


def come_and_go(server: WorkersProcess, number: int, tls: ssl.SSLContext | None) -> None:
    """Connect and close, at different moments and in different ways."""
    source = f"127.0.0.{2 + number % 200}", 0
    address = "127.0.0.1", server.start["port"]
    with contextlib.suppress(ConnectionError), socket.create_connection(address, 10, source) as client:
        if number % 4 == 1 and tls:
            with tls.wrap_socket(client) as inner:
                inner.recv(1)
        elif number % 4 == 1:
            client.recv(65_536)
        elif number % 4 == 2:
            client.sendall(b"\0" * (number % 40))
        if number % 3 == 0 and client.fileno() >= 0:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def descriptors_of(pid: int, folder: Path) -> int:
    """Return how many descriptors a process has, without files of the data folder: SQLite opens some at need."""
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            count += not entry.readlink().is_relative_to(folder)
    return count


async def tasks(server: WorkersProcess) -> dict[int, int]:
    """Return how many tasks each worker has, from connections that go to one after the other."""
    found: dict[int, int] = {}
    for number in range(20):
        async with connect(str(server.address), name=f"asks{number % 4}") as session:
            pid, count = map(int, str(await session.ask("tasks")).split())
            found[pid] = count
            if len(found) == server.count:
                break
            async with connect(str(server.address), name="fills") as other:
                pid, count = map(int, str(await other.ask("tasks")).split())
                found[pid] = count
    return found


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_10_000_that_connect_and_close_leave_nothing_in_two_workers(tmp_path: Path, tls: bool) -> None:
    with WorkersProcess(tmp_path / "data", service="tasks", tls=tls) as server:
        context = tls_context() if tls else None
        processes = {"supervisor": server.pid} | {f"worker {n}": pid for n, pid in enumerate(server.workers)}

        def descriptors() -> dict[str, int]:
            return {who: descriptors_of(pid, tmp_path) for who, pid in processes.items()}

        def memory() -> dict[str, int]:
            return {who: resident(pid) for who, pid in processes.items()}

        at_rest = descriptors()
        for number in range(WARM_UP):
            come_and_go(server, number, context)
        tasks_before = asyncio.run(tasks(server))
        wait_until(lambda: descriptors() == at_rest)
        memory_before = memory()
        for number in range(CLIENTS):
            come_and_go(server, number, context)
        wait_until(lambda: descriptors() == at_rest)
        grown = {who: now - memory_before[who] for who, now in memory().items()}
        tasks_after = asyncio.run(tasks(server))
        tell("grown", **grown, descriptors=at_rest, tasks=[tasks_before, tasks_after])
        assert max(grown.values()) < GROWTH_MOST, grown
        assert tasks_after == tasks_before
        assert len(tasks_after) == 2
        places = [RawClient(server.address) for _ in range(ServerSettings().entry_source)]
        try:
            assert all(client.hello() for client in places), "all places are free again"
        finally:
            for client in places:
                client.close()
        assert " fault " not in server.log
