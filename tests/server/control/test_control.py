"""Control socket: what is no question is closed without an answer, and nobody hears of it."""

import asyncio
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from antiphon.observe.log import open_log
from antiphon.server.control.control import FOLDER, LINE_MOST, Controlled, taking_control
from antiphon.server.relay.address import reachable

NO_QUESTIONS = {
    "nothing": b"",
    "half a line": b'{"command":',
    "a long line": b"x" * 2 * LINE_MOST,
    "no JSON": b"[[[[\xff\n",
    "another command": b'{"command":"restart"}\n',
}


async def reload() -> str:
    return "it cannot"


@pytest.mark.parametrize("said", NO_QUESTIONS.values(), ids=NO_QUESTIONS)
async def test_what_is_no_question_gets_no_answer_and_raises_nothing(tmp_path: Path, said: bytes) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    data, log = tmp_path / ("x" * 120) / ("y" * 120), open_log(tmp_path / "log", "info")
    data.mkdir(parents=True)
    async with taking_control(data, Controlled(lambda: None, reload, lambda: None), log):  # type: ignore[arg-type, return-value]
        path = str(data / FOLDER / f"{os.getpid()}.sock")

        async def ask(question: bytes) -> bytes:
            with reachable(path) as short:
                reader, writer = await asyncio.open_unix_connection(short)
            writer.write(question)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer

        assert await ask(said) == b""
        assert await ask(b'{"command":"reload"}\n') == b'{"failure":"it cannot"}\n'
    log.close()
    gc.collect()
    await asyncio.sleep(0)
    assert not told
