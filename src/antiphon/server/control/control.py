"""Control socket: by it `antiphon status`, `reload` and `drain` reach a running server.

It is a Unix socket in the data folder, for this user alone (and root), who could end the process as well. One line
of JSON asks, one line answers, and the server closes.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec

from antiphon.errors import ServerStopping
from antiphon.observe.log import ServerLog
from antiphon.server.control.report import ServerReport
from antiphon.server.forking import give_up_socket
from antiphon.server.relay import address

FOLDER = "control"
"""Folder of the sockets, inside the data folder; each has the number of its process as its name."""
ASK_SECONDS = 3.0
"""Time in which a question must come."""
ASKERS_MOST = 16
"""Questions at once; further ones are closed."""
LINE_MOST = 1024
"""Bytes of a question."""
_NO_QUESTION = OSError, TimeoutError, ValueError, EOFError, asyncio.LimitOverrunError, msgspec.MsgspecError
"""What is raised where somebody asks nothing, or half a question, or too long a one, or is gone."""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked of a server."""

    command: Literal["status", "reload", "drain"]


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server answers. After `drain` the connection stays open until the process has ended."""

    report: ServerReport | None = None
    """After `status`."""
    failure: str | None = None
    """After `reload`: why it goes on with what it had."""


class Controlled:
    """What the control socket uses of a server or a supervisor."""

    def __init__(
        self,
        report: Callable[[], ServerReport],
        reload: Callable[[], Awaitable[str | None]],
        drain: Callable[[], None],
    ) -> None:
        """Answer with `report`; `reload` returns why it has failed, if it has; `drain` begins the end."""
        self.report = report
        self.reload = reload
        self.drain = drain


@contextlib.asynccontextmanager
async def taking_control(data: Path, controlled: Controlled, log: ServerLog) -> AsyncIterator[None]:
    """Answer questions about a server in the block. `data` is the data folder.

    A server that cannot have the socket serves without it, and logs that.
    """
    try:
        listener, path = await asyncio.to_thread(_listen, data)
    except OSError as error:
        log.warning("no-control", problem=error.strerror or str(error))
        yield
        return
    give_up_socket(listener)
    askers = _Askers(controlled)
    server = await asyncio.start_unix_server(askers.come, sock=listener, limit=LINE_MOST)
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):
            path.unlink()
        await askers.leave()


def _listen(data: Path) -> tuple[socket.socket, Path]:
    folder = data / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{os.getpid()}.sock"
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # of a process that had this number, and was killed
    for each in folder.glob("*.sock"):
        if _is_left(each):
            each.unlink(missing_ok=True)
    return address.bound(path), path


def _is_left(path: Path) -> bool:
    """Return whether the process of a socket was killed. One that has just begun may not listen yet."""
    if not path.stem.isdecimal():
        return False
    try:
        os.kill(int(path.stem), 0)
    except ProcessLookupError:
        return address.is_refused(str(path))
    except (OSError, OverflowError):
        return False
    return False


class _Askers:
    """Connections to the control socket."""

    def __init__(self, controlled: Controlled) -> None:
        self._controlled = controlled
        self._tasks: set[asyncio.Task[None]] = set()

    def come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= ASKERS_MOST:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def leave(self) -> None:
        """Close those that wait."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(*_NO_QUESTION):
            address.check_owner(writer.get_extra_info("socket"), or_root=True)
            async with asyncio.timeout(ASK_SECONDS):
                question = msgspec.json.decode(await reader.readuntil(), type=Question)
            answer = Answer()
            match question.command:
                case "status":
                    answer = Answer(report=self._controlled.report())
                case "reload":
                    answer = Answer(failure=await self._reload())
            writer.write(msgspec.json.encode(answer) + b"\n")
            async with asyncio.timeout(ASK_SECONDS):
                await writer.drain()
            if question.command == "drain":
                self._controlled.drain()
                await reader.read()  # whoever asked waits for the end of the process

    async def _reload(self) -> str | None:
        """Reload; return why it has failed, if it has. A server that stops loads nothing again."""
        failure = await self._controlled.reload()
        return failure or (str(ServerStopping()) if self._controlled.report().draining else None)
