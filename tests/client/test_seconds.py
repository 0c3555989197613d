"""Seconds that a program passes to either client: what is no time is refused before anything is sent."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from antiphon import blocking, connect
from antiphon.errors import SettingInvalid, TimedOut
from antiphon.testing import RunningServer, session

NO_TIMES = [math.nan, -0.5, -math.inf, True, "5", [1]]


async def connect_waiting(**options: Any) -> None:
    async with connect("ann@localhost:1", password="none is asked for", **options):
        pass


async def connect_blocking(**options: Any) -> None:
    await asyncio.to_thread(blocking.connect, "ann@localhost:1", password="none is asked for", **options)


@pytest.mark.parametrize("opening", [connect_waiting, connect_blocking], ids=["asyncio", "blocking"])
@pytest.mark.parametrize("parameter", ["timeout", "give_up"])
@pytest.mark.parametrize("value", [*NO_TIMES, math.inf])
async def test_connect_refuses_it_and_dials_nobody(
    opening: Callable[..., Any], parameter: str, value: Any
) -> None:
    with pytest.raises(SettingInvalid, match=rf"^{parameter}: must be a number of seconds from .* to 1000000000"):
        await opening(**{parameter: value})


async def test_a_zero_is_a_time_to_give_up_in_and_not_to_connect_in() -> None:
    with pytest.raises(SettingInvalid, match=r"^timeout: .* from 0\.001 to 1000000000, not 0"):
        await connect_waiting(timeout=0, give_up=0)


@pytest.mark.parametrize("value", NO_TIMES)
async def test_the_asyncio_client_refuses_it_and_asks_nothing(value: Any) -> None:
    heard: list[str] = []
    async with session(heard.append) as ann:
        with pytest.raises(SettingInvalid, match=r"^timeout: must be a number of seconds from 0 on, not "):
            await ann.ask("hello", timeout=value)
        await ann.ask("goodbye", timeout=math.inf)
    assert heard == ["goodbye"]


def test_the_blocking_client_refuses_it_in_every_call_and_asks_nothing() -> None:
    heard: list[str] = []
    with RunningServer(heard.append) as server:
        ann = server.connect("ann")
        calls: list[Callable[..., Any]] = [
            lambda value: ann.ask("hello", timeout=value),
            lambda value: ann.ask_stream("hello", timeout=value),
            lambda value: next(ann.ask_many(["hello"], timeout=value)),
            lambda value: ann.receive(timeout=value),
        ]
        for call in calls:
            for value in NO_TIMES:
                with pytest.raises(SettingInvalid, match=r"^timeout: must be a number of seconds from 0 on, not "):
                    call(value)
        with pytest.raises(TimedOut):
            ann.receive(timeout=0)
        ann.ask("goodbye", timeout=math.inf)
    assert heard == ["goodbye"]
