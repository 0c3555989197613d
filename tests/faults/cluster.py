"""A PostgreSQL server of a test's own, to which everything may happen."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Self

import psycopg

from support.postgres import Postgres

DATABASE = "faults"
ENDS_WITHIN = 30


class Cluster(Postgres):
    """The server, in `folder`, and what can be done to its processes."""

    @classmethod
    def begun(cls, folder: Path) -> Self:
        """Return a server that runs, with an empty database; its files are below `folder`."""
        folder.chmod(0o755)
        (folder / "pg").mkdir()
        server = cls(folder / "pg")
        server.start()
        server.database(DATABASE)
        return server

    @property
    def direct(self) -> str:
        """The address by the Unix socket, which nothing stands in the way of; it may always write."""
        return self.dsn(DATABASE, options="-cdefault_transaction_read_only%3Doff")

    def by(self, port: int) -> str:
        """Return the address through a port of 127.0.0.1."""
        return f"postgresql://keeper@127.0.0.1:{port}/{DATABASE}"

    def end(self, number: int) -> None:
        """Send a signal that ends the server (SIGINT, SIGQUIT) to its first process, and wait for the end."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(ENDS_WITHIN)
        self._process = None

    def kill(self) -> None:
        """Kill all its processes, as when the machine loses power."""
        assert self._process is not None
        self._signal(signal.SIGSTOP)  # none of them sees the death of another one
        self._signal(signal.SIGKILL)
        self._process.wait(ENDS_WITHIN)
        self._process = None

    def freeze(self) -> None:
        """Stop all its processes."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """Send a signal to the first process, which makes no others then, and to all that it has made.

        They are in process groups of their own.
        """
        assert self._process is not None
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children")
        if number == signal.SIGSTOP:
            os.kill(first, number)
        for child in children.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)
        if number != signal.SIGSTOP:
            os.kill(first, number)

    def connections(self) -> int:
        """Return how many connections the nodes have."""
        with self.root() as root:
            found = root.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'antiphon'")
            return int(found.fetchone()[0])  # type: ignore[index] # a count is always there

    def take_all(self) -> list["psycopg.Connection[object]"]:
        """Take every connection that there is for ordinary users, those of the nodes included."""
        taken: list[psycopg.Connection[object]] = []
        for _ in range(20):
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    taken.append(psycopg.connect(self.dsn(DATABASE, application_name="taker")))
            with self.root() as root:
                root.execute(
                    "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
                    " WHERE application_name = 'antiphon'"
                )
        return taken

    def read_only(self, on: str) -> None:
        """Have new transactions read only (`on`), or not (`off`)."""
        with self.root() as root:
            root.execute(f"ALTER SYSTEM SET default_transaction_read_only = {on}".encode())
            root.execute("SELECT pg_reload_conf()")
