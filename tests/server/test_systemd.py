"""A server under a service manager, as processes: what it is told, passes and gives, and how it ends them."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from antiphon import connect
from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE
from antiphon.data.folder import KEY_RING_FILE
from antiphon.errors import ServiceFailed
from support.processes import ANTIPHON, clean_environment
from support.raw import RawClient
from support.workers import until

PROGRAM = """\
while read -r name; do
    echo $$ >"$name"
    sleep 0.4
    env | grep -cE '^(NOTIFY_SOCKET|LISTEN_|WATCHDOG_)'
done
"""
"""Writes its PID to the file of that name, and says after a while how many variables of the manager it has."""
START = 'exec 3<&0 </dev/null && export LISTEN_PID=$$ && exec env --default-signal=HUP "$0" "$@"'
"""Becomes the command, with standard input as descriptor 3. It hears SIGHUP, which `nohup make test` ignores."""


class Manager:
    """A service manager: it holds a listening socket, and is told what happens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._name = f"@antiphon-test-{os.getpid()}-{self.listener.fileno()}"
        self._notify.bind(f"\0{self._name[1:]}")
        self._notify.settimeout(60)
        self.told: list[str] = []

    def start(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a server in the folder."""
        variables = {"NOTIFY_SOCKET": self._name, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "antiphon.socket"}
        service = f"exec:sh {self._folder / 'program.sh'}"
        (self._folder / "program.sh").write_text(PROGRAM)
        with (self._folder / "out.txt").open("ab") as out:
            return subprocess.Popen(
                ["/bin/sh", "-c", START, str(ANTIPHON), "serve", service, "--access", "identify", "--no-input",
                 "--data", "data", "--exec-pause", "0", "--exec-wait", "5", *options],
                cwd=self._folder,
                env=clean_environment(self._folder, **variables, WATCHDOG_USEC="300000", **environment),
                stdin=self.listener.fileno(),
                stdout=out,
            )  # fmt: skip

    def wait_for(self, pattern: str) -> str:
        """Read what is told until it has a line with `pattern`; return the whole message."""
        while True:
            self.told.append(self._notify.recv(4096).decode())
            if re.search(rf"^{pattern}$", self.told[-1], re.MULTILINE):
                return self.told[-1]

    def address(self) -> str:
        """Return where the last server says that it listens."""
        return str(re.findall(r"antiphon connect '(\S+)'", (self._folder / "out.txt").read_text())[-1])

    def close(self) -> None:
        self.listener.close()
        self._notify.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    with contextlib.closing(manager):
        yield manager


@contextlib.asynccontextmanager
async def asked(manager: Manager, file: Path) -> AsyncIterator["asyncio.Task[object]"]:
    """Ask the program in a session; the block begins when it has the message."""
    async with connect(manager.address(), name="ann", give_up=20) as session:
        answering = asyncio.ensure_future(session.ask(file.name, timeout=60))
        await until(lambda: file.exists() and file.read_text().endswith("\n"))
        yield answering
        await asyncio.wait({answering})


async def test_a_service_manager_starts_reloads_and_stops_a_server_and_starts_it_again(
    manager: Manager, tmp_path: Path
) -> None:
    server = manager.start("--workers", "2")
    try:
        assert manager.wait_for("READY=1") == "READY=1\nSTATUS=connections: 0, sessions: 0"
        assert f":{manager.listener.getsockname()[1]}#" in manager.address()
        manager.wait_for("WATCHDOG=1")
        server.send_signal(signal.SIGHUP)
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", manager.wait_for("RELOADING=1"))
        assert manager.wait_for("READY=1") == "READY=1"

        # SIGTERM to the main process alone, as KillMode=mixed has it: the program ends after its answer.
        async with asked(manager, tmp_path / "first") as answering:
            server.send_signal(signal.SIGTERM)
            assert await answering == "0"
        manager.wait_for("STOPPING=1")
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()

    given = tmp_path / "given"
    given.mkdir()
    secrets = (KEY_RING_FILE, KEY_FILE, CERTIFICATE_FILE)
    for name in secrets:
        (tmp_path / "data" / name).rename(given / name)
    before = manager.address()
    early = socket.create_connection(manager.listener.getsockname())  # it waits for the next start
    server = manager.start(CREDENTIALS_DIRECTORY=str(given))
    try:
        manager.wait_for("READY=1")
        assert manager.address() == before, "port and key are those from before"
        assert not [name for name in secrets if (tmp_path / "data" / name).exists()]
        with RawClient.over(early) as client:
            client.hello()
        server.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        assert manager.wait_for("READY=1") == "READY=1"

        # SIGTERM to everything, as systemd's default has it: the program ends before its answer.
        async with asked(manager, tmp_path / "second") as answering:
            program = int((tmp_path / "second").read_text())
            os.kill(program, signal.SIGTERM)
            server.send_signal(signal.SIGTERM)
            with pytest.raises(ServiceFailed):
                await answering
        assert server.wait(60) == 0
        assert manager.wait_for("STOPPING=1") == "STOPPING=1\nSTATUS=stopping"
    finally:
        early.close()
        server.kill()
        server.wait()
