"""The messages that wait for the one before them."""

from antiphon.server.session.queue import QUEUED_LIMIT, QUEUED_MOST, Answered, MessageQueue


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


def test_it_is_full_at_so_many_bytes_and_no_longer_when_one_is_answered() -> None:
    waiting = MessageQueue()
    waiting.put(1, "x")
    waiting.put(2, bytes(QUEUED_LIMIT - 1))
    assert waiting.full
    waiting.answer(3, b"END")
    assert waiting.full
    waiting.answer(2, b"END")
    assert (waiting.full, waiting.size, list(waiting)) == (False, 4, [(1, "x"), (2, Answered(b"END"))])
    waiting.answer(2, b"another")
    assert waiting.size == 4
    assert (waiting.take(), waiting.take(), waiting.size) == ((1, "x"), (2, Answered(b"END")), 0)


def test_of_two_messages_with_one_id_the_first_is_answered_first() -> None:
    waiting = MessageQueue()
    waiting.put(1, "one")
    waiting.put(1, "two")
    waiting.answer(1, b"first")
    assert list(waiting) == [(1, Answered(b"first")), (1, "two")]
    waiting.answer(1, b"second")
    assert list(waiting) == [(1, Answered(b"first")), (1, Answered(b"second"))]
