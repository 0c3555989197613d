"""Control socket: what is no question is closed without an answer, and nobody hears of it."""

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import ServerStopping
from antiphon.observe.log import open_log
from antiphon.server.control.control import FOLDER, LINE_MOST, Controlled, _listen, taking_control
from antiphon.server.control.report import ServerReport, report_of
from antiphon.server.relay.address import bound, reachable

RELOAD = b'{"command":"reload"}\n'
NO_QUESTIONS = {
    "nothing": b"",
    "half a line": b'{"command":',
    "a long line": b"x" * 2 * LINE_MOST,
    "no JSON": b"[[[[\xff\n",
    "another command": b'{"command":"restart"}\n',
}

Ask = Callable[[bytes], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def controlled(folder: Path, failure: str | None, *, draining: bool = False) -> AsyncIterator[Ask]:
    """Run a control socket with a long path, whose `reload` returns `failure`; yield what asks it."""
    folder.mkdir(exist_ok=True)
    data, log, now = folder / ("x" * 120) / ("y" * 120), open_log(folder / "log", "info"), datetime.now(UTC)
    data.mkdir(parents=True)

    def report() -> ServerReport:
        return report_of([], version="0", pid=1, started_at=now, now=now, draining=draining)

    async def reload() -> str | None:
        return failure

    async def ask(question: bytes) -> bytes:
        with reachable(str(data / FOLDER / f"{os.getpid()}.sock")) as short:
            reader, writer = await asyncio.open_unix_connection(short)
        writer.write(question)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    async with taking_control(data, Controlled(report, reload, lambda: None), log):
        yield ask
    log.close()


@pytest.mark.parametrize("said", NO_QUESTIONS.values(), ids=NO_QUESTIONS)
async def test_what_is_no_question_gets_no_answer_and_raises_nothing(tmp_path: Path, said: bytes) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with controlled(tmp_path, "it cannot") as ask:
        assert await ask(said) == b""
        assert await ask(RELOAD) == b'{"failure":"it cannot"}\n'
    gc.collect()
    await asyncio.sleep(0)
    assert not told


async def test_a_server_that_stops_does_not_say_that_it_has_reloaded(tmp_path: Path) -> None:
    async with controlled(tmp_path / "1", None) as ask:
        assert await ask(RELOAD) == b"{}\n"
    async with controlled(tmp_path / "2", None, draining=True) as ask:
        assert await ask(RELOAD) == f'{{"failure":"{ServerStopping()}"}}\n'.encode()


async def test_sockets_of_killed_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    async with controlled(tmp_path, None) as ask:
        assert await ask(RELOAD) == b"{}\n"
        (own,) = tmp_path.glob(f"*/*/{FOLDER}/*.sock")
        gone = 2**22 + 1  # more than Linux gives
        for name in (f"{gone}.sock", f"{os.getppid()}.sock", "note.sock", f"{10**30}.sock"):
            bound(own.with_name(name)).close()
        with contextlib.closing(bound(own.with_name(f"{gone + 1}.sock"))):  # of another container, perhaps
            listener, path = _listen(own.parent.parent)
        listener.close()
        kept = {each.name for each in own.parent.iterdir()}
    assert path == own
    assert kept == {own.name, f"{os.getppid()}.sock", "note.sock", f"{10**30}.sock", f"{gone + 1}.sock"}
