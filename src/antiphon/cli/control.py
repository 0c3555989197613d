"""Questions to running servers over their control sockets, for `antiphon status`, `reload` and `drain`."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import msgspec
from cyclopts import Parameter

from antiphon.data.folder import data_folder
from antiphon.errors import NotRunning, ProcessNotRunning, ServerSilent
from antiphon.server.control.control import FOLDER, Answer, Question
from antiphon.server.relay.address import reachable

ANSWER_SECONDS = 5.0
"""Longest wait for the answer about a server; one that is busy answers between two steps."""
RELOAD_SECONDS = 90.0
"""Longest wait for a reload: new workers have 60 s to begin."""
DRAIN_SECONDS = 60.0
"""Longest wait for the end of a server: it ends 30 s after it was told, at the latest."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ControlOptions:
    """Options that select servers and the form of the output."""

    data: Path | None = field(
        default=None, metadata={"help": "The data folder of the server [default: this user's]."}
    )
    pid: int | None = field(
        default=None, metadata={"help": "Process of one server, where several have this folder [default: all]."}
    )
    json: Annotated[bool, Parameter(negative=())] = field(
        default=False, metadata={"help": "Print the result as one line of JSON."}
    )

    @property
    def folder(self) -> Path:
        """The data folder.

        Raises:
            UsageError: none is named, and the user has no home folder.
        """
        return (self.data or data_folder()).expanduser().absolute()


def running(options: ControlOptions) -> list["RunningServer"]:
    """Return the servers that run, by the numbers of their processes.

    Raises:
        NotRunning: there is none, or none of the process that is named.
    """
    paths = (options.folder / FOLDER).glob("*.sock")
    numbers = sorted(int(path.stem) for path in paths if path.stem.isdecimal())
    servers = [RunningServer(options.folder, pid) for pid in numbers if options.pid in (None, pid)]
    servers = [server for server in servers if server.is_there()]
    if not servers and options.pid is not None:
        raise ProcessNotRunning(path=str(options.folder), pid=options.pid)
    if not servers:
        raise NotRunning(path=str(options.folder))
    return servers


class RunningServer:
    """A server that may be asked."""

    def __init__(self, folder: Path, pid: int) -> None:
        """Ask the server of process `pid`, whose data folder is `folder`."""
        self.pid = pid
        self._path = folder / FOLDER / f"{pid}.sock"

    def is_there(self) -> bool:
        """Return whether its socket is listened at."""
        try:
            with self._connected(ANSWER_SECONDS):
                return True
        except ServerSilent:
            return True
        except OSError:
            return False

    def ask(self, command: Literal["status", "reload"]) -> Answer:
        """Return the answer to a command.

        Raises:
            ServerSilent: there is none.
        """
        with self._asked(command, ANSWER_SECONDS if command == "status" else RELOAD_SECONDS) as lines:
            return self._answer(lines.readline())

    def drain(self) -> None:
        """Stop it, and wait until its process has ended.

        Raises:
            ServerSilent: it has not ended in time.
        """
        with self._asked("drain", DRAIN_SECONDS) as lines:
            self._answer(lines.readline())
            with contextlib.suppress(ConnectionError):
                lines.read()

    @contextlib.contextmanager
    def _asked(self, command: Literal["status", "reload", "drain"], seconds: float) -> Iterator[BinaryIO]:
        try:
            with self._connected(seconds) as near:
                near.sendall(msgspec.json.encode(Question(command)) + b"\n")
                with near.makefile("rb") as lines:
                    yield lines
        except OSError:
            raise ServerSilent(pid=self.pid) from None

    @contextlib.contextmanager
    def _connected(self, seconds: float) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as near:
            near.settimeout(seconds)
            with reachable(str(self._path)) as short:
                near.connect(short)
            yield near

    def _answer(self, line: bytes) -> Answer:
        try:
            return msgspec.json.decode(line, type=Answer)
        except msgspec.MsgspecError:
            raise ServerSilent(pid=self.pid) from None
