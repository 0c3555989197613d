"""Turn budget: turns become shorter when more connections wait for theirs, within bounds."""

import asyncio

import pytest

from antiphon.server.turn_budget import ROUND_SECONDS, TURN_SECONDS, TURN_SECONDS_LEAST, TurnBudget


@pytest.mark.parametrize(
    ("waiting", "seconds"),
    [
        (0, TURN_SECONDS),
        (4, TURN_SECONDS),
        (9, ROUND_SECONDS / 10),
        (39, ROUND_SECONDS / 40),
        (10_000, TURN_SECONDS_LEAST),
    ],
)
def test_a_turn_is_a_share_of_the_round(waiting: int, seconds: float) -> None:
    turns = TurnBudget()
    for _ in range(waiting):
        turns.wait()
    assert turns.seconds == pytest.approx(seconds)
    for _ in range(waiting):
        turns.go_on()
    assert turns.seconds == TURN_SECONDS


async def test_whoever_waits_for_the_next_turn_counts_until_it_comes() -> None:
    turns = TurnBudget()
    tasks = [asyncio.create_task(turns.next_turn()) for _ in range(9)]
    seen: list[float] = []
    asyncio.get_running_loop().call_soon(lambda: seen.append(turns.seconds))
    await asyncio.gather(*tasks)
    assert seen == [ROUND_SECONDS / 10]
    assert turns.seconds == TURN_SECONDS


async def test_one_that_is_cancelled_counts_no_longer() -> None:
    turns = TurnBudget()
    tasks = [asyncio.create_task(turns.next_turn()) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert turns.seconds == TURN_SECONDS
