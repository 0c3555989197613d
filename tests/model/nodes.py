"""Nodes as a world: servers with a data folder each, one PostgreSQL database, and clocks that are hours apart.

What happens to a server there happens to a node here. Besides, nodes are hidden from each other for a while.
"""

import asyncio
import atexit
import shutil
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from model.world import Setting, World
from support import clock_off
from support.nodes import PORTS
from support.postgres import Postgres
from support.processes import ANTIPHON, ServerProcess
from support.serving import seed

HOUR = 3600.0
SHARED = ("secret.key", "certificate.key", "certificate.pem")
"""Files of the first data folder that all have: a client knows one key."""
POOL = 5
"""Connections to the database that a process keeps once it has needed them."""
LOCK = "LOCK TABLE sessions, processes, revocations, accounts, failures IN EXCLUSIVE MODE"
"""As a writer of SQLite does: others read, and do not write."""


@cache
def postgres() -> Postgres:
    """Return the server of all runs."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    folder.chmod(0o755)
    server = Postgres(folder)
    server.start()

    def end() -> None:
        server.stop()
        shutil.rmtree(folder)

    atexit.register(end)
    return server


class NodesWorld(World):
    """One run of the model over nodes."""

    _sockets_left = 2  # until a server starts in the same folder, or has run for a minute

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Make the database and the accounts; call `begin` next."""
        self.database = postgres().database("model")
        self._started = 0
        self._hidden = False
        super().__init__(folder, setting)

    def _seeded(self, name: str) -> bytes:
        return seed(self._folder_of(0), name, store=self.database)[0]

    def _folder_of(self, number: int) -> Path:
        return self.data / f"node{number}"

    def _serve(self, *options: str, **environment: str) -> ServerProcess:
        number = self._started % self.setting.servers  # so one may start where another one drains, or elsewhere
        self._started += 1
        data = self._folder_of(number)
        if not data.exists():
            data.mkdir(0o700)
            for file in self._folder_of(0).glob("*.*"):
                if file.name in SHARED:
                    shutil.copy(file, data)
        program = (clock_off.__file__, str(HOUR * number * (-1) ** number)) if number else (ANTIPHON,)
        nodes = ("--store", self.database, "--relay-address", PORTS)
        return ServerProcess(data, *options, *nodes, program=program, **environment)

    # --- what happens -------------------------------------------------------------------------------------------

    def hide(self, which: int, seconds: float) -> None:
        """Have new relays to a node refused for a while, as a firewall does; the node goes on."""
        running = self._whole(which)
        if running is None or self._hidden or self._locking or not self._has_time(seconds):
            return
        self.done[f"hide {seconds:g}"] += 1
        self._hidden = True
        self._soon(self._hide(running.pid, seconds))

    async def _hide(self, pid: int, seconds: float) -> None:
        try:
            was = await asyncio.to_thread(self._write, pid, "127.0.0.1:1")
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self._write, pid, was)
        finally:
            self._hidden = False

    def _write(self, pid: int, address: str) -> str:
        """Write a relay address into the row of a process; return the one before."""
        with psycopg.connect(self.database) as connection:
            row = connection.execute("SELECT node_address FROM processes WHERE pid = %s", (pid,)).fetchone()
            connection.execute("UPDATE processes SET node_address = %s WHERE pid = %s", (address, pid))
        return str(row[0]) if row else ""

    async def _lock(self, seconds: float) -> None:
        try:
            connection = await psycopg.AsyncConnection.connect(self.database)
            async with connection:
                await connection.execute(LOCK.encode())
                await asyncio.sleep(seconds)
                await connection.rollback()
        finally:
            self._locking = self._locked = False

    # --- the end ------------------------------------------------------------------------------------------------

    def _rows(self, table: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.database, row_factory=dict_row) as connection:
            return connection.execute(f"SELECT * FROM {table}".encode()).fetchall()

    async def _at_rest(self) -> dict[int, Counter[str]]:
        return {pid: at_rest + Counter(socket=POOL) for pid, at_rest in (await super()._at_rest()).items()}

    def _check_files(self) -> None:
        super()._check_files()
        log = "".join(each.read_text("utf-8") for each in self._logs)
        for event in ("relayed", "process-dead", "relay-failed"):
            self.done[event] += log.count(f" {event} ")
        for line in log.splitlines():  # who gives up, or was frozen, is refused in time
            if " relay-refused " in line and not any(f'why="{why}"' in line for why in ("closed", "late")):
                self.faults.append(f"in the log: {line}")
