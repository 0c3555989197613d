"""What is kept of a session to be sent again."""

from hypothesis import given
from hypothesis import strategies as st

from antiphon.server.replay import REPLAY_LIMIT, Replay


def test_frames_are_kept_in_order_until_they_are_acknowledged() -> None:
    replay = Replay()
    for frame in (b"0", b"1", b"2"):
        replay.keep(frame)
    replay.acknowledge(1)
    assert (replay.first, replay.kept(), replay.sent) == (1, [b"1", b"2"], 3)
    replay.acknowledge(1)
    assert replay.kept() == [b"1", b"2"]


def test_what_was_never_sent_cannot_be_acknowledged() -> None:
    replay = Replay()
    replay.keep(b"0")
    replay.acknowledge(2**53)
    replay.keep(b"1")
    assert (replay.first, replay.kept()) == (1, [b"1"])


def test_a_frame_larger_than_all_that_is_kept_is_not_kept() -> None:
    replay = Replay()
    replay.keep(b"small")
    replay.keep(bytes(REPLAY_LIMIT + 1))
    assert (replay.first, replay.kept(), replay.sent) == (2, [], 2)


@given(st.lists(st.one_of(st.integers(0, REPLAY_LIMIT // 2), st.none().map(lambda _: -1)), max_size=60))
def test_the_newest_frames_are_kept_within_the_limit_and_their_numbers_are_right(sizes: list[int]) -> None:
    replay, sent = Replay(), []
    for size in sizes:
        if size < 0:
            replay.acknowledge(replay.first + 1)
        else:
            sent.append(bytes(size))
            replay.keep(sent[-1])
        assert replay.sent == len(sent)
        assert replay.kept() == sent[replay.first :]
        assert sum(map(len, replay.kept())) <= REPLAY_LIMIT
