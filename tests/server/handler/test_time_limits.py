"""How long handlers may wait: one timer for all of them, and each is stopped when its own time is over."""

import asyncio
from contextvars import copy_context
from typing import Any

from antiphon.server.handler.task import HandlerTask, start
from antiphon.server.handler.time_limits import TimeLimits


class Clock:
    """A loop's clock and timers, which go on when they are told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, function: Any) -> object:
        self.timers.append((when, function))
        return object()

    def go_on(self, until: float) -> None:
        while self.timers and self.timers[0][0] <= until:
            self.now, function = self.timers.pop(0)
            function()
        self.now = until


async def for_ever() -> None:
    await asyncio.Event().wait()


def begun(turns: TimeLimits, clock: Clock) -> HandlerTask:
    turn: Any = start(for_ever(), copy_context())
    turn.get_loop = lambda: clock
    turn.then = turns.remove
    turns.add(turn)
    return turn  # type: ignore[no-any-return] # it is one


async def test_each_turn_is_cancelled_when_its_own_time_is_over_and_there_is_one_timer() -> None:
    clock, turns = Clock(), TimeLimits(10)
    first = begun(turns, clock)
    clock.go_on(4)
    second = begun(turns, clock)
    assert len(clock.timers) == 1
    clock.go_on(9.9)
    assert not first.late
    clock.go_on(10)
    assert (first.late, first.cancelling(), second.late) == (True, 1, False)
    assert [when for when, _ in clock.timers] == [14]
    await asyncio.wait([first])
    assert list(turns) == [second]
    clock.go_on(14)
    assert second.late
    assert not clock.timers
    await asyncio.wait([second])
    assert not turns


async def test_a_turn_that_lets_itself_not_be_cancelled_is_cancelled_once_and_the_others_in_time() -> None:
    clock, turns = Clock(), TimeLimits(10)

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await for_ever()

    first: Any = start(stubborn(), copy_context())
    first.get_loop = lambda: clock
    turns.add(first)
    clock.go_on(5)
    second = begun(turns, clock)
    clock.go_on(15)
    assert (first.cancelling(), second.late) == (1, True)
    clock.go_on(100)
    assert first.cancelling() == 1
    await asyncio.wait([second])
    assert list(turns) == [first]
    first.cancel()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])


async def test_after_all_have_ended_the_next_one_has_its_whole_time() -> None:
    clock, turns = Clock(), TimeLimits(10)
    first = begun(turns, clock)
    first.cancel()
    await asyncio.wait([first])
    clock.go_on(6)
    second = begun(turns, clock)
    clock.go_on(10)
    assert not second.late
    clock.go_on(16)
    assert second.late
    await asyncio.wait([second])
