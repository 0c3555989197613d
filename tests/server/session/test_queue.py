"""The messages that wait for the one before them."""

from antiphon.server.session.queue import QUEUED_LIMIT, QUEUED_MOST, MessageQueue


def test_what_came_first_is_taken_first() -> None:
    waiting = MessageQueue()
    waiting.put(3, "three")
    waiting.put(1, b"one")
    assert list(waiting) == [(3, "three"), (1, b"one")]
    assert (waiting.take(), waiting.take(), len(waiting)) == ((3, "three"), (1, b"one"), 0)


def test_it_is_full_at_so_many_and_no_longer_when_one_is_taken() -> None:
    waiting = MessageQueue()
    for id in range(QUEUED_MOST):
        assert not waiting.full
        waiting.put(id, "x")
    assert waiting.full
    waiting.take()
    assert not waiting.full


def test_it_is_full_at_so_many_bytes_and_no_longer_when_one_is_taken_back() -> None:
    waiting = MessageQueue()
    waiting.put(1, "x")
    waiting.put(2, bytes(QUEUED_LIMIT - 1))
    assert waiting.full
    assert not waiting.remove(3)
    assert waiting.full
    assert waiting.remove(2)
    assert (waiting.full, waiting.size, list(waiting)) == (False, 1, [(1, "x")])
