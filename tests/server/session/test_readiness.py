"""Readiness: who waits for room, and whom a handler that never waits lets run."""

import asyncio

from antiphon.server.session.readiness import Readiness
from antiphon.server.turn_budget import TurnBudget


async def test_where_nothing_is_blocked_nobody_waits() -> None:
    readiness = Readiness(TurnBudget())
    await readiness.wait(lambda: False)
    readiness.wake()


async def test_all_who_wait_look_again_when_they_are_woken() -> None:
    readiness, blocked, looks = Readiness(TurnBudget()), True, 0

    def is_blocked() -> bool:
        nonlocal looks
        looks += 1
        return blocked

    async with asyncio.timeout(60):
        waiting = [asyncio.create_task(readiness.wait(is_blocked)) for _ in range(3)]
        while looks < 3:
            await asyncio.sleep(0)
        readiness.wake()  # still blocked
        while looks < 6:
            await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        blocked = False
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)  # nobody looks without being woken
        readiness.wake()
        await asyncio.gather(*waiting)
    assert looks == 9


async def test_who_never_waits_lets_others_run_after_each_slice() -> None:
    readiness, ran = Readiness(TurnBudget()), asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    async with asyncio.timeout(60):
        while not ran.is_set():
            await readiness.wait(lambda: False)


async def test_within_a_slice_there_is_no_turn_of_the_loop() -> None:
    readiness, turns = Readiness(TurnBudget()), 0

    def turn() -> None:
        nonlocal turns
        turns += 1

    await readiness.wait(lambda: False)  # begins a slice
    asyncio.get_running_loop().call_soon(turn)
    await readiness.wait(lambda: False)
    assert turns == 0
