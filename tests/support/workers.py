"""Servers with several workers, as processes, and clients that talk to them all the time."""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from antiphon import connect
from antiphon.errors import OutcomeUnknown
from support.processes import ServerProcess

PID = """
import os

def pid(message: str) -> str:
    return str(os.getpid())

async def slowly(message: str) -> str:
    import asyncio
    await asyncio.sleep(float(message))
    return str(os.getpid())

def fork(message: str) -> str:
    import time
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    return f"{os.getpid()} {child}"

def tasks(message: str) -> str:
    import asyncio
    return f"{os.getpid()} {len(asyncio.all_tasks())}"

def blocks(message: str) -> str:
    import time
    if message != "pid":
        time.sleep(float(message))
    return str(os.getpid())
"""


class WorkersProcess(ServerProcess):
    """`antiphon serve --workers` as a process: who gives a name is let in, and is told the PID of the worker."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        workers: int = 2,
        service: str = "pid",
        file: Path | None = None,
        registrations: int = 100_000,
        access: str = "identify",
        tls: bool = False,
    ) -> None:
        """Start it, and wait until all workers serve; `service` is of `file`, by default of the services above."""
        self.count = workers
        if file is None:
            file = folder.parent / "service.py"
            file.write_text(PID)
        super().__init__(
            folder, f"{file}:{service}", "--workers", str(workers), "--access", access,
            *([] if tls else ["--plain"]), "--registrations-source", str(registrations), *options,
        )  # fmt: skip
        self.logged(" worker-started ", workers)

    @property
    def pid(self) -> int:
        """That of the supervisor."""
        return int(self.start["pid"])

    @property
    def log(self) -> str:
        """The content of the log, and of those that were renamed."""
        first = Path(self.start["log"])
        return "".join(
            path.read_text("utf-8") for path in sorted(first.parent.glob(f"{first.name}*"), reverse=True)
        )

    @property
    def workers(self) -> list[int]:
        """The PIDs of the workers that run, the oldest first."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sorted(map(int, children))

    def started(self) -> list[int]:
        """Return the PIDs of all workers that have ever served, in their order."""
        return [int(pid) for pid in re.findall(r" worker-started pid=(\d+)", self.log)]


class Talker:
    """A client that asks again and again who answers."""

    def __init__(self, address: str, name: str) -> None:
        """Talk to `address` as `name`."""
        self._address = address
        self._name = name
        self.pids: list[int] = []
        """Who answered."""
        self.unknown = 0
        """Messages whose outcome is unknown."""
        self.gaps: list[tuple[float, float]] = []
        """Beginning and length of every pause between two answers of more than 0.3 s."""
        self.at = 0.0
        """When the last answer came."""

    async def talk(self, stop: asyncio.Event) -> None:
        """Talk until `stop` is set."""
        async with connect(self._address, name=self._name, give_up=60) as session:
            self.at = time.monotonic()
            while not stop.is_set():
                try:
                    self.pids.append(int(str(await session.ask("who?", timeout=60))))
                except OutcomeUnknown:
                    self.unknown += 1
                now = time.monotonic()
                if now - self.at > 0.3:
                    self.gaps.append((self.at, now - self.at))
                self.at = now
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def talking(server: ServerProcess, count: int) -> AsyncIterator[list[Talker]]:
    """Have `count` clients talk during the block; yield them when each has had an answer."""
    stop = asyncio.Event()
    talkers = [Talker(str(server.address), f"talker{number}") for number in range(count)]
    tasks = []
    for talker in talkers:
        tasks.append(asyncio.create_task(talker.talk(stop)))
        while not talker.pids and not tasks[-1].done():
            await asyncio.sleep(0.005)
    try:
        yield talkers
    finally:
        stop.set()
        await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def arriving(server: ServerProcess) -> AsyncIterator[None]:
    """Have people come and go during the block; nobody may be refused."""

    async def arrive(name: str) -> None:
        while not stop.is_set():
            async with connect(str(server.address), name=name, timeout=60) as session:
                await session.ask("who?", timeout=60)

    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(arrive(f"arrives{number}"))
        yield
        stop.set()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` holds, for a minute at most."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def kill(pid: int) -> None:
    """End a process that the test has started."""
    os.kill(pid, signal.SIGKILL)
