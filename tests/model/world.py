"""Servers of one data folder, the sessions that talk to them, and everything that happens to both."""

import asyncio
import contextlib
import signal
import sqlite3
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from antiphon.address import Address
from model.network import Direction, Network
from model.records import Records
from model.service import RECORDS
from model.talker import Talker
from support.processes import PASSWORD, ServerProcess
from support.serving import seed

SERVICE = Path(__file__).with_name("service.py")
REST_SECONDS = 3.0
"""Between two freezes of one process."""
SHORT_SECONDS = 1.0
"""The store may be locked for so long while servers stop and start."""
DEATH_SECONDS = 4.5
"""A process that was frozen for less is never taken for dead."""
PATIENCE = 60.0
"""Seconds until everything must have come to its end, once nothing more happens."""
EXIT_WITHIN = 60.0
"""Seconds from SIGTERM to the exit."""
LOOKS = 1000
"""Looks, 0.05 s apart, until nothing is left behind."""
LOG_LINES = 150
"""Lines of the log that are shown where a rule is broken."""
PASSWORDS_MOST = 4
"""Changes of password in one run."""
ALARMS = ("fault ", "tasks-left ", "drain-cut ", "service-failed ", "not-started ")
"""Events that the log of a server must not have."""


@dataclass(frozen=True)
class Setting:
    """What a world begins with."""

    servers: int
    talkers: int
    hooks: bool
    """Whether the service has hooks and pushes; else its sessions have a fast path."""
    plain: bool
    long_seconds: float = 5.0
    """Seconds for which processes are frozen and the store is locked, in all."""
    workers: int = 1
    """Of each server; with more than one there is one server: see `model.workers`."""
    nodes: bool = False
    """Whether each server has a data folder of its own: see `model.nodes`."""


@dataclass(eq=False)
class Running:
    """A server that was started."""

    server: ServerProcess
    at_rest: Counter[str]
    """Its descriptors before anybody connected."""
    frozen: bool = False
    rested_at: float = 0.0
    """Loop time from which on it may be frozen again: its counter must move in between."""

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.server.process.pid


class World:
    """One run of the model. All methods but `__init__` belong to one event loop."""

    _sockets_left = 1
    """Of each process that was killed, at the end."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Make the accounts, and a session of each; call `begin` next."""
        self.folder = folder
        self.setting = setting
        self.data = folder / "data"
        self.records = Records(folder / "records")
        self.names = [f"s{number}" for number in range(setting.talkers)]
        self._tokens = [self._seeded(name) for name in self.names]
        self.talkers: list[Talker] = []
        self.targets: dict[str, Running] = {}
        """Where the network of each session leads."""
        self.up: list[Running] = []
        self.done: Counter[str] = Counter()
        """What has happened, for the report."""
        self.faults: list[str] = []
        self._killed: set[int] = set()
        self._locking = self._locked = False
        """The store is locked; for so long that no server should stop or start now."""
        self._stopping = 0
        """Servers that were told to stop, and have not ended."""
        self._long_seconds = setting.long_seconds
        self._logs: set[Path] = set()
        self._under_way: set[asyncio.Task[None]] = set()

    def _seeded(self, name: str) -> bytes:
        """Make an account, and return the token of its session."""
        return seed(self.data, name)[0]

    def _serve(self, *options: str, **environment: str) -> ServerProcess:
        """Start a server."""
        return ServerProcess(self.data, *options, **environment)

    async def begin(self) -> None:
        """Start the servers, and enter the sessions."""
        for _ in range(self.setting.servers):
            await self._start()
        for name, token in zip(self.names, self._tokens, strict=True):
            talker = Talker(name, Network(lambda name=name: self._port(name)), PASSWORD)  # type: ignore[misc]
            self.talkers.append(talker)
            self.targets[name] = self.up[len(self.talkers) % len(self.up)]
            here: Address = self.up[0].server.address
            await talker.enter(replace(here, host="127.0.0.1", port=await talker.network.open()), token)

    async def _start(self) -> None:
        options = ["--drain-seconds", "10", "--host", "127.0.0.1", "--workers", str(self.setting.workers)]
        options += ["--plain"] if self.setting.plain else []
        service = f"{SERVICE}:{'ROOM' if self.setting.hooks else 'LINES'}"
        records = {RECORDS: str(self.records.path)}
        server = await asyncio.to_thread(self._serve, service, *options, **records)
        self._logs.add(Path(server.start["log"]))
        self.up.append(Running(server, descriptors(server.process.pid, self.data)))

    def _port(self, name: str) -> int | None:
        """Return where the next connection of a session leads; a server that is gone is left out."""
        if self.targets[name] not in self.up and self.up:
            self.targets[name] = self.up[hash(name) % len(self.up)]
        target = self.targets[name]
        return target.server.address.port if target in self.up else None

    def _soon(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.faults.append(f"the test itself: {error!r}")

    # --- what happens -------------------------------------------------------------------------------------------

    def ask(self, who: int, kind: str, argument: int, padding: int = 0) -> None:
        """Let a session ask; see `Talker.ask`."""
        if kind == "push" and not self.setting.hooks:
            kind = "ask"
        if self._talker(who).ask(kind, argument, padding) is not None:
            self.done[kind] += 1

    def cut(self, who: int) -> None:
        """Cut the connection of a session."""
        self.done["cut"] += 1
        self._talker(who).network.cut()

    def cut_after(self, who: int, direction: Direction, size: int) -> None:
        """Cut the connection of a session at a byte to come."""
        self.done["cut-after"] += 1
        self._talker(who).network.cut_after(direction, size)

    def move(self, who: int, where: int) -> None:
        """Cut the connection of a session, and lead it to another server."""
        talker = self._talker(who)
        others = [running for running in self.up if running is not self.targets[talker.name]]
        if others:
            self.done["move"] += 1
            self.targets[talker.name] = others[where % len(others)]
            talker.network.cut()

    def resume_late(self, who: int, where: int) -> None:
        """Have a connection that a session gave up for another one send its RESUME after all."""
        if self.setting.plain and self.up and not self._frozen():
            self.done["late"] += 1
            port = self.up[where % len(self.up)].server.address.port
            self._soon(self._talker(who).resume_late(port))

    def change_password(self, who: int) -> None:
        """Let a session change its password; a few times only, as each takes some tenths of a second."""
        if self.done["password"] >= PASSWORDS_MOST:
            return
        self.done["password"] += 1
        talker = self._talker(who)
        self._soon(talker.change_password(f"{PASSWORD} {self.done['password']}"))

    async def drain(self, which: int, *, first: bool) -> None:
        """Stop a server in order, and start another one: at once, or (`first`) before.

        The only one has ended before the next one starts.
        """
        running = self._whole(which)
        if running is None or self._locked:
            return
        self.done["drain"] += 1
        alone = self.setting.servers == 1
        if first and not alone:
            await self._start()
        self.up.remove(running)
        running.server.signal(signal.SIGTERM)
        ending = self._soon(self._gone(running))
        if alone:
            await ending
        if alone or not first:
            await self._start()

    async def _gone(self, running: Running) -> None:
        self._stopping += 1
        try:
            code: int | None = await asyncio.to_thread(running.server.wait, EXIT_WITHIN)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            self._stopping -= 1
        if code != 0:
            self.faults.append(f"process {running.pid} ended with {code} after SIGTERM")
        await self._closed(running)

    async def _closed(self, running: Running) -> None:
        errors = "" if running.server.process.poll() is None else running.server.process.stderr.read()
        if errors:
            self.faults.append(f"process {running.pid} wrote {errors}")
        running.server.kill()

    async def restart(self) -> None:
        """Stop all servers in order, then start as many."""
        if self._locked or self._frozen():
            return
        self.done["restart"] += 1
        stopping, self.up = self.up, []
        for running in stopping:
            running.server.signal(signal.SIGTERM)
        await asyncio.gather(*(self._gone(running) for running in stopping))
        for _ in stopping:
            await self._start()

    async def kill(self, which: int) -> None:
        """Kill a server, and start another one."""
        running = self._whole(which)
        if running is None or self._locked:
            return
        self.done["kill"] += 1
        self._killed.add(running.pid)
        self._excuse(running.pid)
        self.records.note("kill", running.pid)
        self.up.remove(running)
        await asyncio.to_thread(running.server.kill)
        await self._start()

    def freeze(self, which: int, seconds: float) -> None:
        """Freeze a server for a while; other things go on. For a short time others may be frozen too."""
        able = [running for running in self.up if running.rested_at <= asyncio.get_running_loop().time()]
        if not able or (seconds >= DEATH_SECONDS and len(able) < len(self.up)) or not self._has_time(seconds):
            return
        running = able[which % len(able)]
        self.done[f"freeze {seconds:g}"] += 1
        if seconds >= DEATH_SECONDS:
            self._excuse(running.pid)
            self.records.note("freeze", running.pid)
        running.frozen = True
        running.rested_at = asyncio.get_running_loop().time() + seconds + REST_SECONDS
        running.server.signal(signal.SIGSTOP)
        self._soon(self._thaw(running, seconds))

    async def _thaw(self, running: Running, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            running.server.signal(signal.SIGCONT)
            running.frozen = False

    def lock_store(self, seconds: float) -> None:
        """Lock both databases against writing for a while; other things go on.

        A server that stops meanwhile may not be able to save what it has: a long lock waits for no such server.
        """
        long = seconds > SHORT_SECONDS
        busy = self._locking or self._frozen() or (long and self._changing())
        if not busy and self._has_time(seconds):
            self.done[f"lock {seconds:g}"] += 1
            self._locking = True
            self._locked = long
            self._soon(self._lock(seconds))

    async def _lock(self, seconds: float) -> None:
        try:
            databases = [sqlite3.connect(path, timeout=5) for path in sorted(self.data.glob("*.db"))]
            try:
                for database in databases:
                    database.execute("BEGIN IMMEDIATE")
                await asyncio.sleep(seconds)
            finally:
                for database in databases:
                    database.close()
        finally:
            self._locking = self._locked = False

    def _has_time(self, seconds: float) -> bool:
        has = seconds <= self._long_seconds
        self._long_seconds -= seconds if has else 0
        return has

    def _talker(self, who: int) -> Talker:
        return self.talkers[who % len(self.talkers)]

    def _whole(self, which: int) -> Running | None:
        """Return a server that is not frozen, if all others are not frozen either."""
        if not self.up or self._frozen():
            return None
        return self.up[which % len(self.up)]

    def _frozen(self) -> bool:
        """Return whether a process is frozen."""
        return any(running.frozen for running in self.up)

    def _changing(self) -> bool:
        """Return whether a process stops or starts."""
        return self._stopping > 0

    def _excuse(self, pid: int) -> None:
        """Excuse the sessions whose home is this process, and those without one: it may be about to be theirs."""
        homes = self._homes()
        for talker in self.talkers:
            if homes.get(talker.name, pid) == pid:
                talker.excuse()

    def _homes(self) -> dict[str, int]:
        """Return the home of each session that has one, as the store or, in versions before, the service says."""
        rows = self._rows("sessions")
        if not rows or "home" not in rows[0]:
            return self.records.homes()
        pids = {row["id"]: row["pid"] for row in self._rows("processes")}
        return {row["name"]: pids[row["home"]] for row in rows if row["home"] in pids}

    # --- the end ------------------------------------------------------------------------------------------------

    def look(self) -> list[str]:
        """Return the rules that were broken so far."""
        faults = [fault for talker in self.talkers for fault in talker.look()]
        return self.faults + faults

    async def end(self) -> None:
        """Wait until everything has come to its end, leave the sessions, and check what is left behind."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        for talker in self.talkers:
            talker.network.calm()
        ends = time.monotonic() + PATIENCE
        for talker in self.talkers:
            await self._in_time(talker.settled(), f"{talker.name} waits for answers", ends)
        if self.look():
            return
        for talker in self.talkers:
            await self._in_time(talker.farewell(), f"{talker.name} cannot leave", ends)
        await self._check_sessions()
        for pid, at_rest in (await self._at_rest()).items():
            await self._check_descriptors(pid, at_rest)
        stopping, self.up = self.up, []
        for running in stopping:
            running.server.signal(signal.SIGTERM)
        await asyncio.gather(*(self._gone(running) for running in stopping))
        self._check_processes()
        self._check_files()
        self.faults += self.records.faults(hooks=self.setting.hooks, ended=True)
        runs = self.records.runs()
        for talker in self.talkers:
            lost = [asked.text for asked in talker.asked if asked.end == "answered" and not runs[asked.text]]
            self.faults += [f"{text} was answered, but not handled" for text in lost]

    async def _in_time(self, work: Coroutine[Any, Any, None], what: str, ends: float) -> None:
        try:
            async with asyncio.timeout(max(1.0, ends - time.monotonic())):
                await work
        except TimeoutError:
            waiting = [asked.text[:40] for talker in self.talkers for asked in talker.waiting]
            self.faults.append(f"{what} after {PATIENCE:g} s: {waiting[:5]}")

    async def _check_sessions(self) -> None:
        """Check that no session is left in the store soon."""
        for _ in range(LOOKS):
            left = self._rows("sessions")
            if not left:
                return
            await asyncio.sleep(0.05)
        self.faults.append(f"sessions are left: {left}")

    def _check_processes(self) -> None:
        """Check that no process is left in the store but those that were killed, which the next server removes."""
        if left := [row for row in self._rows("processes") if row["pid"] not in self._killed]:
            self.faults.append(f"processes are left: {left}")

    def _rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table, which need not exist."""
        with contextlib.closing(sqlite3.connect(self.data / "sessions.db")) as database:
            database.row_factory = sqlite3.Row
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchall():
                return []
            return [dict(row) for row in database.execute(f"SELECT * FROM {table}")]

    async def _at_rest(self) -> dict[int, Counter[str]]:
        """Return the descriptors that each process may have now."""
        return {running.pid: running.at_rest for running in self.up}

    async def _check_descriptors(self, pid: int, at_rest: Counter[str]) -> None:
        now: Counter[str] = Counter()
        for _ in range(LOOKS):
            now = descriptors(pid, self.data)
            if not now - at_rest:
                return
            await asyncio.sleep(0.05)
        self.faults.append(f"process {pid} has kept {now - at_rest}")

    def _check_files(self) -> None:
        for log in self._logs:
            for line in log.read_text("utf-8").splitlines():
                if any(alarm in f"{line} " for alarm in ALARMS):
                    self.faults.append(f"in the log: {line}")
        sockets = [path for path in self.data.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
        if len(sockets) > self._sockets_left * len(self._killed):
            self.faults.append(f"sockets are left: {sockets}")

    def tail(self) -> list[str]:
        """Return what the store holds, and the last lines of the log."""
        rows = [str(row) for table in ("sessions", "processes") for row in self._rows(table)]
        return rows + [line for log in self._logs for line in log.read_text("utf-8").splitlines()[-LOG_LINES:]]

    async def close(self) -> None:
        """End everything, whatever has happened."""
        for task in list(self._under_way):
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)
        for talker in self.talkers:
            await talker.close()
        for running in self.up:
            running.server.signal(signal.SIGCONT)
            await asyncio.to_thread(running.server.kill)


def descriptors(pid: int, data: Path) -> Counter[str]:
    """Count the descriptors of a process by kind, without files of the data folder: SQLite opens some at need."""
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if not target.startswith(str(data)):
            kinds[target.partition(":")[0]] += 1
    return kinds
