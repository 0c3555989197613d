"""Answers that are written together: when they wait, and when they do not."""

import asyncio
from typing import cast

import pytest

from antiphon.server.connection import late_answers
from antiphon.server.connection.late_answers import ALONE_MOST, IDLE_ITERATIONS, LateAnswers
from antiphon.server.connection.write_buffer import WriteBuffer
from antiphon.server.home.fence import Fence


class Written:
    """Notes what is written, in place of a write buffer."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def put(self, data: bytes) -> None:
        self.pieces.append(data)


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def late(written: Written) -> LateAnswers:
    return LateAnswers(cast("WriteBuffer", written))


async def pass_by(iterations: int) -> None:
    for _ in range(iterations):
        await asyncio.sleep(0)


async def test_answers_that_follow_one_another_are_written_together(late: LateAnswers, written: Written) -> None:
    late.add(b"1", last=False)
    await pass_by(IDLE_ITERATIONS)
    late.add(b"2", last=False)
    assert not written.pieces
    await pass_by(IDLE_ITERATIONS + 2)
    assert written.pieces == [b"12"]


async def test_the_last_one_and_whatever_else_is_written_take_the_others_along(
    late: LateAnswers, written: Written
) -> None:
    late.add(b"1", last=False)
    late.add(b"2", last=True)
    late.add(b"3", last=False)
    late.write()
    late.write()
    await pass_by(IDLE_ITERATIONS + 2)
    assert written.pieces == [b"12", b"3"]


async def test_after_one_that_waited_in_vain_the_next_ones_do_not_wait(
    late: LateAnswers, written: Written
) -> None:
    late.add(b"1", last=False)
    await pass_by(IDLE_ITERATIONS + 2)
    assert written.pieces == [b"1"]
    for _ in range(ALONE_MOST):
        late.add(b"2", last=False)
    assert written.pieces == [b"1", *[b"2"] * ALONE_MOST]
    late.add(b"3", last=False)
    assert written.pieces[-1] == b"2"


async def test_behind_a_closed_fence_they_wait_until_it_opens(
    late: LateAnswers, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recover() -> None:
        """Read no claims."""

    fence = Fence()
    fence.join(recover)
    monkeypatch.setattr(late_answers, "fence", fence)
    late.frames.append(b"1")
    fence.close()
    late.write_in_turn()
    await pass_by(1)
    assert not written.pieces
    fence.recovered(recover, fence.closings)
    await pass_by(2)
    assert written.pieces == [b"1"]
    late.frames.append(b"2")
    late.write_in_turn()
    assert written.pieces == [b"1", b"2"]
