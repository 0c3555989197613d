"""What is kept of a session to be sent again."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.server.session.pieces import CHUNK_SIZE, FRAMED_OVERHEAD, PIECE_OVERHEAD
from antiphon.server.session.replay import REPLAY_LIMIT, STEP, UNPROVED_LIMIT, ReplayBuffer
from antiphon.wire.frames import HEADER_SIZE, encode
from antiphon.wire.kinds import KIB, Kind


def frame(id: int, size: int = 0) -> bytes:
    return encode(Kind.MESSAGE, id, bytes(size))


def test_frames_are_kept_in_order_until_they_are_acknowledged() -> None:
    replay = ReplayBuffer()
    for id in range(3):
        replay.add(frame(id))
    replay.acknowledge(1)
    assert (replay.first, replay.frames(), replay.sent) == (1, [frame(1), frame(2)], 3)
    replay.acknowledge(1)
    assert replay.frames() == [frame(1), frame(2)]


def test_what_was_sent_in_one_piece_is_acknowledged_frame_by_frame() -> None:
    replay = ReplayBuffer()
    replay.add(frame(0))
    replay.add(frame(1) + frame(2, 5) + frame(3), 3)
    replay.add(frame(4))
    for received in range(1, 5):
        replay.acknowledge(received)
        assert (replay.first, replay.sent) == (received, 5)
        assert replay.frames() == [frame(id, 5 * (id == 2)) for id in range(received, 5)]


@pytest.mark.parametrize("is_settled", [True, False])
def test_what_was_never_sent_cannot_be_acknowledged(is_settled: bool) -> None:
    replay = ReplayBuffer()
    if is_settled:
        replay.add(frame(0) + frame(1), 2)
    else:
        replay.unsettled += (frame(0), 1, frame(1), 0)
    assert not replay.acknowledge(3)
    assert not replay.acknowledge(2**53)
    assert (replay.first, replay.frames()) == (0, [frame(0), frame(1)])
    assert replay.acknowledge(1)
    assert replay.acknowledge(2)
    assert replay.acknowledge(0), "an old one is nothing new"
    assert (replay.first, replay.frames()) == (2, [])


def test_what_is_skipped_counts_before_what_is_kept() -> None:
    replay = ReplayBuffer()
    for id in range(4):
        replay.add(frame(id))
    replay.acknowledge(2)
    replay.skip(10)
    assert (replay.first, replay.frames(), replay.sent) == (12, [frame(2), frame(3)], 14)
    replay.acknowledge(13)
    assert (replay.first, replay.frames()) == (13, [frame(3)])
    replay.acknowledge(14)
    replay.skip(1)
    assert (replay.first, replay.frames(), replay.sent) == (15, [], 15)


def test_a_frame_larger_than_all_that_is_kept_is_not_kept() -> None:
    replay = ReplayBuffer()
    replay.add(frame(0))
    replay.add(frame(1, REPLAY_LIMIT + 1))
    assert (replay.first, replay.frames(), replay.sent) == (2, [], 2)


pieces = st.lists(st.integers(0, 16 * KIB), min_size=1, max_size=5)
small = st.lists(st.integers(0, KIB), min_size=1, max_size=5)
large = st.integers(0, REPLAY_LIMIT // 2).map(lambda size: [size])
said = st.tuples(st.sampled_from(["keep", "fresh", "waited"]), st.one_of(pieces, small, large))
acknowledged = st.tuples(st.just("acknowledge"), st.integers(-1, 7))
looked = st.tuples(st.just("look"), st.none())


@pytest.mark.parametrize("limit", [REPLAY_LIMIT, UNPROVED_LIMIT])
@given(steps=st.lists(st.one_of(said, acknowledged, looked), max_size=60))
def test_the_newest_frames_are_kept_within_the_limit_and_their_numbers_are_right(
    limit: int, steps: list[tuple[str, Any]]
) -> None:
    replay = ReplayBuffer(limit=limit)
    sent: list[bytes] = []
    heard = least = 0
    for step, what in [*steps, ("look", None)]:
        if step == "acknowledge":
            assert replay.acknowledge(len(sent) - what) == (what >= 0)
            least = max(least, len(sent) - what) if what >= 0 else least
        elif step == "look":
            assert replay.frames() == sent[replay.first :]
            assert (replay.sent, replay.received) == (len(sent), heard)
            assert replay.first >= least
            assert replay.first == least or sum(map(len, sent[replay.first - 1 :])) > limit / 4
            assert sum(map(len, replay.frames())) <= limit
        else:
            frames = [frame(len(sent) + number, size * limit // REPLAY_LIMIT) for number, size in enumerate(what)]
            sent += frames
            if step == "keep":
                replay.add(b"".join(frames), len(frames))
            elif step == "waited":
                replay.count(len(frames))
                heard += len(frames)
                for each in frames:
                    replay.unsettled += (each, 0)
            else:
                replay.unsettled += (b"".join(frames), len(frames))
                heard += len(frames)
    assert all(len(each) >= HEADER_SIZE for each in replay.frames())


LOOKS: list[Callable[[ReplayBuffer], object]] = [
    lambda books: books.add(frame(9)),
    lambda books: books.acknowledge(0),
    lambda books: books.frames(),
    lambda books: books.settle(),
]


@pytest.mark.parametrize("look", LOOKS, ids=["keep", "acknowledge", "kept", "settle"])
def test_what_is_fresh_is_counted_and_kept_before_anything_else(look: Callable[[ReplayBuffer], object]) -> None:
    books = ReplayBuffer(received=5)
    books.add(frame(0))
    books.unsettled += (frame(1) + frame(2), 2, (frame(3, 5)[:HEADER_SIZE], bytes(5)), 1)
    look(books)
    assert books.unsettled == []
    assert (books.received, books.first) == (8, 0)
    assert books.frames()[:4] == [frame(0), frame(1), frame(2), frame(3, 5)]


def test_what_is_acknowledged_while_it_is_fresh_is_never_kept_and_counts() -> None:
    books = ReplayBuffer(received=5)
    books.add(frame(0) + frame(1), 2)
    books.unsettled += (frame(2) + frame(3), 2, (frame(4, 5)[:HEADER_SIZE], bytes(5)), 1)
    books.acknowledge(5)
    assert books.unsettled == []
    assert (books.received, books.sent, books.first, books.frames()) == (8, 5, 5, [])
    books.unsettled += (frame(5) + frame(6), 2)
    books.acknowledge(6)
    assert (books.received, books.sent, books.first, books.frames()) == (10, 7, 6, [frame(6)])
    books.acknowledge(7)
    books.add(frame(7, REPLAY_LIMIT - HEADER_SIZE - PIECE_OVERHEAD))  # there is room for as much as at first
    assert books.first == 7


def test_one_frame_that_answers_what_was_counted_when_it_came_is_kept_and_counts_nothing_else() -> None:
    books = ReplayBuffer()
    books.count()
    books.unsettled += (frame(1), 0, frame(2), 1)
    assert (books.received, books.sent, books.frames()) == (2, 2, [frame(1), frame(2)])


def test_counts_have_what_is_fresh() -> None:
    for name, expected in (("received", 2), ("sent", 2), ("first", 0), ("full", False)):
        books = ReplayBuffer()
        books.unsettled += (frame(1) + frame(2), 2)
        assert getattr(books, name) == expected


def test_what_came_in_two_parts_is_kept_as_one_and_makes_way_as_any_other() -> None:
    books = ReplayBuffer()
    books.unsettled += ((b"head", "text"), 1)
    books.settle()
    books.unsettled += ((frame(0, 4)[:HEADER_SIZE], b"1234"), 1)
    books.acknowledge(1)
    assert books.frames() == [frame(0, 4)[:HEADER_SIZE] + b"1234"]
    books.unsettled += (frame(1, REPLAY_LIMIT - HEADER_SIZE - PIECE_OVERHEAD), 1)
    assert (books.full, books.first) == (True, 2)
    books.unsettled += ((frame(2)[:HEADER_SIZE], bytes(REPLAY_LIMIT - HEADER_SIZE + 1)), 1)
    assert (books.first, books.frames()) == (4, [])


RESERVED = 1.15
"""A `bytearray` has an eighth in reserve, and the queue itself counts."""
MEASURED_MOST = 4


def measured(fill: Callable[[ReplayBuffer], object], limit: int) -> int:
    """Return the bytes of memory that a replay buffer takes once it is filled."""
    replay = ReplayBuffer(limit=limit)
    tracemalloc.start()
    try:
        fill(replay)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def one_by_one(replay: ReplayBuffer) -> None:
    for id in range(30_000):
        replay.add(frame(1000 + id % 7))


def by_the_fast_path(replay: ReplayBuffer) -> None:
    for _ in range(1500):
        for id in range(20):
            replay.unsettled += (frame(1000 + id), 1)
        replay.settle()


def in_large_pieces(replay: ReplayBuffer) -> None:
    for _ in range(100):
        replay.add(frame(1, 6 * KIB))


def framed(replay: ReplayBuffer) -> None:
    for _ in range(100):
        replay.unsettled += ((frame(1, 6 * KIB)[:HEADER_SIZE], bytes(6 * KIB)), 1)
    replay.settle()


def medium(replay: ReplayBuffer) -> None:
    for _ in range(1000):
        replay.add(frame(1, CHUNK_SIZE // 2))


@pytest.mark.parametrize("limit", [REPLAY_LIMIT, UNPROVED_LIMIT])
@pytest.mark.parametrize("fill", [one_by_one, by_the_fast_path, in_large_pieces, framed, medium])
def test_the_limit_counts_the_memory_that_is_taken(fill: Callable[[ReplayBuffer], object], limit: int) -> None:
    seen: list[int] = []  # in one try, other threads and what Python does the first time may take memory too
    while len(seen) < MEASURED_MOST and not (seen and limit / 2 < seen[-1] < limit * RESERVED):
        seen.append(measured(fill, limit))
    assert limit / 2 < seen[-1] < limit * RESERVED, seen


def test_of_a_batch_larger_than_the_limit_the_newest_frames_are_kept() -> None:
    replay = ReplayBuffer(limit=UNPROVED_LIMIT)
    replay.add(frame(0))
    frames = [frame(1 + number, KIB) for number in range(64)]
    replay.add(b"".join(frames), len(frames))
    kept = replay.frames()
    assert kept == frames[-len(kept) :]
    assert len(kept) == (UNPROVED_LIMIT - PIECE_OVERHEAD) // len(frames[0])
    assert (replay.first, replay.sent) == (65 - len(kept), 65)
    replay.acknowledge(64)
    assert replay.frames() == frames[-1:]


def test_a_chunk_of_small_frames_is_acknowledged_frame_by_frame() -> None:
    replay = ReplayBuffer()
    frames = [frame(id, id % 3) for id in range(500)]
    for each in frames:
        replay.add(each)
    for received in (1, 2, 250, 499):
        replay.acknowledge(received)
        assert (replay.first, replay.frames()) == (received, frames[received:])
    replay.add(frame(500))
    assert replay.frames() == [frames[499], frame(500)]


def test_a_buffer_is_full_while_a_chunk_more_would_push_out_what_is_kept() -> None:
    replay = ReplayBuffer()
    while not replay.full:
        replay.add(frame(1, KIB))
    assert replay.first == 0


class Owner:
    def __init__(self) -> None:
        self.told: list[int] = []

    def replay_grown(self, size: int) -> None:
        self.told.append(size)


def test_the_owner_is_told_in_steps() -> None:
    owner = Owner()
    replay = ReplayBuffer(owner=owner)
    for _ in range(100):
        replay.add(frame(1, 100))
    steps = 100 * (100 + HEADER_SIZE) // STEP
    assert owner.told == [STEP * number for number in range(1, steps + 1)]
    replay.acknowledge(90)
    assert owner.told[-1] == 0
    replay.add(frame(1, 3 * STEP))
    assert owner.told[-1] == 3 * STEP
    replay.forget()
    assert owner.told[-1] == 0
    assert (replay.first, replay.sent, replay.frames()) == (101, 101, [])


def test_the_owner_is_told_of_what_is_not_settled() -> None:
    owner = Owner()
    replay = ReplayBuffer(owner=owner)
    replay.report(3 * STEP + 1)
    replay.unsettled += ((frame(1, 5 * STEP)[:HEADER_SIZE], bytes(5 * STEP - FRAMED_OVERHEAD)), 1)
    replay.settle()
    replay.acknowledge(1)
    assert owner.told == [3 * STEP, 5 * STEP, 0]
