"""The end of a turn: answers of several connections are written one behind the other."""

import asyncio
from typing import cast

import pytest

from antiphon.server.handler.turn_end import AT_ONCE_MOST, TurnEnd
from antiphon.wire.held import DUE_MOST, HeldMessages


class Held:
    """Held messages of one connection, which note that their answer is written."""

    at_once = 0

    def __init__(self, written: list["Held"], *, fails: bool = False) -> None:
        self._written = written
        self._fails = fails

    def write_late(self) -> None:
        self._written.append(self)
        if self._fails:
            raise LookupError


@pytest.fixture
def written() -> list[Held]:
    return []


def add(end: TurnEnd, *held: Held) -> None:
    """Do what `HeldMessages` do with an answer."""
    for each in held:
        end.due.append(cast("HeldMessages", each))
        if len(end.due) in {1, DUE_MOST}:
            end.grew()


async def test_answers_of_one_turn_are_written_in_order_when_it_is_over(written: list[Held]) -> None:
    end, held = TurnEnd(), [Held(written) for _ in range(3)]
    add(end, *held)
    assert not written
    await asyncio.sleep(0)
    assert written == held
    assert [each.at_once for each in held] == [0, 0, 0]
    add(end, *held)
    await asyncio.sleep(0)
    assert written == held * 2


async def test_so_many_do_not_wait(written: list[Held]) -> None:
    end, held = TurnEnd(), [Held(written) for _ in range(DUE_MOST + 2)]
    add(end, *held)
    assert written == held[:DUE_MOST]
    await asyncio.sleep(0)
    assert written == held


async def test_a_connection_that_was_alone_does_not_wait_for_a_while(written: list[Held]) -> None:
    end, alone = TurnEnd(), Held(written)
    add(end, alone)
    await asyncio.sleep(0)
    assert (written, alone.at_once) == ([alone], AT_ONCE_MOST)


@pytest.mark.parametrize("more", [0, DUE_MOST - 4])
async def test_an_answer_that_cannot_be_written_keeps_no_other_back(written: list[Held], more: int) -> None:
    end, held = TurnEnd(), [Held(written), Held(written, fails=True), *(Held(written) for _ in range(2 + more))]
    told: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    add(end, *held)  # the last one of many, whose handler has this run, is not concerned
    await asyncio.sleep(0)
    assert (written, [type(each) for each in told]) == (held, [LookupError])
