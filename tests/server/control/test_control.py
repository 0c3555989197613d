"""Tests of the control socket: what comes to it that asks nothing."""

import asyncio
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from antiphon.observe.log import open_log
from antiphon.server.control.control import FOLDER, LINE_MOST, Controlled, taking_control


@pytest.mark.parametrize("sent", [b"", b'{"command":', b"x" * (4 * LINE_MOST), b"nonsense\n"])
async def test_a_connection_that_asks_nothing_is_closed_and_nobody_hears_of_it(
    sent: bytes, tmp_path: Path
) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    controlled = Controlled(pytest.fail, pytest.fail, pytest.fail)
    async with taking_control(tmp_path, controlled, open_log(tmp_path / "server.log")):
        reader, writer = await asyncio.open_unix_connection(tmp_path / FOLDER / f"{os.getpid()}.sock")
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
    gc.collect()
    assert reported == []
