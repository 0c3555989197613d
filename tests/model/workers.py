"""One server with several workers, as a world: what happens to a server there happens to a worker here.

Connections lead to the supervisor, and it decides which worker gets them.
"""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model.world import (
    DEATH_SECONDS,
    EXIT_WITHIN,
    PATIENCE,
    REST_SECONDS,
    SHORT_SECONDS,
    Running,
    World,
    descriptors,
)

SUPERVISED_ALARMS = ("worker-killed ", "worker-not-started ")
"""Events of a supervisor that the log must not have."""
RELOAD_SECONDS = 60.0
"""Longest time until a supervisor begins to reload."""
STRANGER_SECONDS = 0.3
"""For how long a stranger has the place of a connection that was cut."""
REST_WITHIN = 5.0
"""Longest wait for a moment in which all workers serve and nothing is frozen."""


@dataclass(eq=False)
class Worker:
    """A worker that runs."""

    pid: int
    frozen: bool = False
    rested_at: float = 0.0
    """As in `Running`."""
    leaves: bool = False
    """Whether it was told to stop."""


class WorkersWorld(World):
    """One run of the model over one server with workers."""

    # --- the processes ------------------------------------------------------------------------------------------

    _workers: dict[int, Worker]
    _held: set[str]
    """Sessions that reach no server for a moment."""
    _rest: tuple[Counter[str], Counter[str]] | None = None
    """Descriptors of the supervisor and of a worker before anybody connected."""
    _reloads = 0

    async def begin(self) -> None:
        """Start the server, and enter the sessions."""
        self._workers, self._held = {}, set()
        await super().begin()

    async def _start(self) -> None:
        await super()._start()
        await self._until(self._is_at_rest, 30, "the workers do not serve")
        supervisor = self.up[0]
        if self._rest is None:
            worker = self._serving()[0]
            self._rest = descriptors(supervisor.pid, self.data), descriptors(worker.pid, self.data)

    @property
    def log(self) -> str:
        """The content of the log."""
        return "".join(log.read_text("utf-8") for log in self._logs)

    def _running(self) -> list[Worker]:
        """Return the workers that run, whether they serve, start or stop, in a steady order."""
        if not self.up:
            return []
        supervisor = self.up[0].pid
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        pids = sorted(pid for pid in map(int, children) if _state(pid) not in "ZX")
        return [self._workers.setdefault(pid, Worker(pid)) for pid in pids]

    def _serving(self) -> list[Worker]:
        """Return the workers that have begun to serve, and were not told to stop by the test."""
        started = set(map(int, re.findall(r" worker-started pid=(\d+)", self.log)))
        return [worker for worker in self._running() if worker.pid in started and not worker.leaves]

    def _is_at_rest(self) -> bool:
        """Return whether all workers serve, and none stops or starts."""
        running = self._running()
        return len(running) == self.setting.workers and running == self._serving() and not self._is_reloading()

    def _is_reloading(self) -> bool:
        log = self.log
        ended = log.count(" reloaded ") + log.count(" reload-failed ")
        return log.count(" reloading ") > ended

    async def _rests(self) -> bool:
        """Wait for a while until all workers serve and nothing is frozen; return whether that is so."""
        ends = time.monotonic() + REST_WITHIN
        while self._frozen() or not self._is_at_rest():
            if time.monotonic() > ends:
                return False
            await asyncio.sleep(0.05)
        return True

    async def _until(self, condition: Callable[[], bool], seconds: float, fault: str) -> bool:
        ends = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > ends:
                self.faults.append(f"{fault} after {seconds:g} s")
                return False
            await asyncio.sleep(0.02)
        return True

    def _frozen(self) -> bool:
        return super()._frozen() or any(worker.frozen for worker in self._running())

    def _changing(self) -> bool:
        return super()._changing() or not self._is_at_rest()

    # --- what happens -------------------------------------------------------------------------------------------

    def move(self, who: int, where: int) -> None:
        """Cut the connection of a session, and let a stranger in first: often another worker gets it then."""
        self.done["move"] += 1
        talker = self._talker(who)
        self._held.add(talker.name)
        talker.network.cut()
        self._soon(self._be_stranger(talker.name))

    async def _be_stranger(self, name: str) -> None:
        try:
            await asyncio.sleep(STRANGER_SECONDS / 10)  # until the worker has noticed that the session was cut
            with contextlib.suppress(OSError, IndexError):  # the server may be gone
                _, writer = await asyncio.open_connection("127.0.0.1", self.up[0].server.address.port)
                await asyncio.sleep(STRANGER_SECONDS / 10)
                self._held.discard(name)
                await asyncio.sleep(STRANGER_SECONDS)
                writer.transport.abort()
        finally:
            self._held.discard(name)

    def _port(self, name: str) -> int | None:
        return None if name in self._held else super()._port(name)

    async def drain(self, which: int, *, first: bool) -> None:
        """Stop a worker in order; the supervisor replaces it."""
        serving = self._serving()
        if self._frozen() or self._locked or not serving:
            return
        self.done["drain"] += 1
        worker = serving[which % len(serving)]
        worker.leaves = True
        os.kill(worker.pid, signal.SIGTERM)
        self._soon(self._ended(worker))

    async def _ended(self, worker: Worker) -> None:
        self._stopping += 1
        await self._until(lambda: _state(worker.pid) in "ZX", EXIT_WITHIN, f"worker {worker.pid} drains still")
        self._stopping -= 1

    async def kill(self, which: int) -> None:
        """Kill a worker, whatever it does; the supervisor replaces it."""
        running = self._running()
        if not running or self._locked or any(worker.frozen for worker in running):
            return
        self.done["kill"] += 1
        pid = running[which % len(running)].pid
        os.kill(pid, signal.SIGSTOP)  # so that it takes no session up between the next two lines
        while _state(pid) not in "TZX":
            time.sleep(0.0005)
        self._killed.add(pid)
        self._excuse(pid)
        self.records.note("kill", pid)
        os.kill(pid, signal.SIGKILL)

    async def freeze(self, which: int, seconds: float) -> None:  # type: ignore[override] # it may wait here
        """Freeze a worker for a while; other things go on. For a short time others may be frozen too."""
        long = seconds >= DEATH_SECONDS
        if long and not await self._rests():
            return
        now = asyncio.get_running_loop().time()
        able = [worker for worker in self._serving() if worker.rested_at <= now]
        if not able or not self._has_time(seconds):
            return
        worker = able[which % len(able)]
        self.done[f"freeze {seconds:g}"] += 1
        if long:
            self._excuse(worker.pid)
            self.records.note("freeze", worker.pid)
        self._soon(self._freeze(worker, worker.pid, seconds))

    async def lock_store(self, seconds: float) -> None:  # type: ignore[override] # it may wait here
        """Lock both databases against writing for a while; a long time begins when no process stops or starts."""
        if seconds <= SHORT_SECONDS or await self._rests():
            super().lock_store(seconds)

    def freeze_supervisor(self, seconds: float) -> None:
        """Freeze the supervisor for a while; other things go on."""
        supervisor = self.up[0]
        now = asyncio.get_running_loop().time()
        if not supervisor.frozen and supervisor.rested_at <= now and self._has_time(seconds):
            self.done[f"supervisor {seconds:g}"] += 1
            self._soon(self._freeze(supervisor, supervisor.pid, seconds))

    async def _freeze(self, frozen: Worker | Running, pid: int, seconds: float) -> None:
        frozen.frozen = True
        frozen.rested_at = asyncio.get_running_loop().time() + seconds + REST_SECONDS
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            frozen.frozen = False
            if pid not in self._killed:
                os.kill(pid, signal.SIGCONT)

    async def reload(self) -> None:
        """Send the supervisor SIGHUP."""
        if self._locked or self._frozen():
            return
        self.done["reload"] += 1
        if self._is_reloading():
            self.up[0].server.signal(signal.SIGHUP)
            return
        before = self.log.count(" reloading ")
        self.up[0].server.signal(signal.SIGHUP)
        await self._until(lambda: self.log.count(" reloading ") > before, RELOAD_SECONDS, "no reload")

    async def restart(self) -> None:
        """Stop the server in order, then start another."""
        if not self._locked and await self._rests():
            await super().restart()

    async def kill_supervisor(self) -> None:
        """Kill the supervisor: the workers drain, and then another server starts."""
        if self._locked or not await self._rests():
            return
        self.done["kill supervisor"] += 1
        workers = self._running()
        running = self.up.pop()
        os.kill(running.pid, signal.SIGKILL)
        await asyncio.gather(*(self._ended(worker) for worker in workers))
        await self._closed(running)
        await self._start()

    # --- the end ------------------------------------------------------------------------------------------------

    async def _at_rest(self) -> dict[int, Counter[str]]:
        if not await self._until(self._is_at_rest, PATIENCE, "the workers are not at rest"):
            return {}
        assert self._rest is not None
        supervisor, worker = self._rest
        return {self.up[0].pid: supervisor} | {each.pid: worker for each in self._running()}

    def _check_files(self) -> None:
        super()._check_files()
        self.done["relayed"] = self.log.count(" relayed ")
        self.faults += [f"in the log: {line}" for line in self.log.splitlines() if _alarms(line)]
        died = set(map(int, re.findall(r" worker-died pid=(\d+)", self.log)))
        if died - self._killed:
            self.faults.append(f"workers have died: {died - self._killed}")
        failed = self.log.count(" reload-failed ")
        if failed > self.done["kill"] + self.done["drain"]:
            self.faults.append(f"{failed} reloads have failed")

    async def close(self) -> None:
        """End everything, whatever has happened."""
        workers = self._running()
        for worker in workers:
            os.kill(worker.pid, signal.SIGCONT)
        await super().close()
        for worker in workers:
            if _state(worker.pid) not in "ZX":
                os.kill(worker.pid, signal.SIGKILL)


def _alarms(line: str) -> bool:
    return any(alarm in f"{line} " for alarm in SUPERVISED_ALARMS)


def _state(pid: int) -> str:
    """Return the letter by which the system names the state of a process: X if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
