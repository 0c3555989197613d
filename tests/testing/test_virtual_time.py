"""Virtual time: what takes hours takes no time, in its order, and what can never happen is told."""

import asyncio
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from antiphon import Session
from antiphon.errors import ServiceTooSlow, SessionExpired
from antiphon.testing import Service, session, sessions, virtual_time


class Reminder:
    """A service that sends a word back after some seconds, and says who has gone."""

    def __init__(self) -> None:
        self.gone: list[str] = []
        self.since: list[datetime] = []

    async def received(self, message: str, session: Session) -> str:
        seconds, _, word = message.partition(" ")
        await asyncio.sleep(float(seconds))
        self.since.append(session.since)
        return word

    def closed(self, session: Session) -> None:
        self.gone.append(session.name)


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_hours_pass_at_once_and_in_order() -> None:
    began, done = time.monotonic(), []

    async def after(hours: float) -> None:
        await asyncio.sleep(3600 * hours)
        done.append((hours, now()))

    await asyncio.gather(after(3), after(1), after(2))
    assert done == [(1, 3600), (2, 7200), (3, 10800)]
    assert time.monotonic() - began < 60


@virtual_time
async def test_a_handler_that_sleeps_answers_at_its_time() -> None:
    async with session(Reminder()) as ann:
        assert await ann.ask("50 tea") == "tea"
        assert now() == 50
        with pytest.raises(ServiceTooSlow):
            await ann.ask("61 too late")
        assert now() == pytest.approx(110, abs=1)


@virtual_time
async def test_a_session_expires_at_its_time_and_others_later() -> None:
    reminder = Reminder()
    async with Service(reminder, session_total=3600) as service:
        ann = await service.enter("ann")
        await asyncio.sleep(1800)
        bob = await service.enter("bob")
        await asyncio.sleep(1799)
        assert await ann.ask("0 still here") == "still here"
        await asyncio.sleep(2)
        assert isinstance(await ann.ended(), SessionExpired)
        assert reminder.gone == ["ann"]
        assert await bob.ask("0 still here") == "still here"
    assert reminder.since[1] - reminder.since[0] == timedelta(seconds=1800)


@virtual_time
async def test_time_stands_still_while_a_thread_works() -> None:
    sleeper = asyncio.create_task(asyncio.sleep(5))
    await asyncio.to_thread(time.sleep, 0.05)
    assert now() == 0
    await sleeper
    assert now() == 5


def test_a_plain_function_is_refused_before_it_runs() -> None:
    with pytest.raises(TypeError, match="test_soon must be a coroutine function"):

        @virtual_time  # type: ignore[arg-type] # on purpose
        def test_soon() -> None:
            raise AssertionError


def test_what_can_never_happen_ends_the_test() -> None:
    @virtual_time
    async def wait_for_ever() -> None:
        async with session(Reminder(), session_total=60):
            await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="no timer is set"):
        wait_for_ever()


@virtual_time
async def test_a_test_has_its_fixtures_and_its_result(tmp_path: Path) -> None:
    assert tmp_path.is_dir()


async def test_a_name_given_twice_is_one_account_with_two_sessions() -> None:
    async def account(_: str, session: Session) -> str:
        return f"{session.name} {session.account}"

    async with sessions(account, "ann", "bob", "ann") as opened:
        assert [await each.ask("") for each in opened] == ["ann 1", "bob 2", "ann 1"]
