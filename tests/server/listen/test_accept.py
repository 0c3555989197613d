"""Who is let in when the machine has little left, and when it has some again."""

import asyncio
import errno
from pathlib import Path

import pytest

from antiphon.server.listen import accept
from antiphon.server.server import Server
from support.raw import RawClient


async def test_a_listener_that_could_not_be_watched_is_watched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    fails = [OSError(errno.ENOSPC, "the system watches no more")] * 2
    watch = loop.add_reader

    def add_reader(*given: object) -> None:
        if fails:
            raise fails.pop()
        watch(*given)  # type: ignore[arg-type] # whatever it was

    monkeypatch.setattr(loop, "add_reader", add_reader)
    monkeypatch.setattr(accept, "RETRY_SECONDS", 0)
    async with Server(data=tmp_path / "data", host="127.0.0.1", port=0, plain=True, drain_seconds=0.1) as server:
        with await asyncio.to_thread(RawClient, server.addresses[0]) as client:
            assert (await asyncio.to_thread(client.hello)).product
    assert (tmp_path / "data" / "server.log").read_text("utf-8").count("accept-exhausted") == 1
