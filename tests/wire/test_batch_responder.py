"""Responder: both twins write the same, and leave the same to the caller."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.batch import (
    BATCH_LIMIT,
    UNSETTLED_LIMIT,
    WAITING,
    BatchAnswerer,
    BatchResponder,
    PythonBatchAnswerer,
    PythonBatchResponder,
    Unsettled,
)
from antiphon.wire.frames import Payload, encode, encode_message
from antiphon.wire.kinds import TOKEN_SIZE, Flag, Kind
from support.leaks import assert_no_block_stays
from support.steps import Task, something, stepping

TOKEN = bytes(range(TOKEN_SIZE))
LIMIT = 2 * BATCH_LIMIT
TWINS: list[tuple[type, type]] = list(
    dict.fromkeys([(PythonBatchAnswerer, PythonBatchResponder), (BatchAnswerer, BatchResponder)])
)
"""Only the Python pair if no compiler was found."""

Twin = tuple[type, type]
twins = pytest.mark.parametrize("twin", TWINS)


def message(id: int, payload: Payload) -> bytes:
    return encode_message(id, payload, 0, TOKEN)


def answer(id: int, payload: Payload) -> bytes:
    return encode_message(id, payload, Flag.LAST)


def whole(piece: Unsettled) -> bytes | int:
    """Join a frame that was noted as header and payload."""
    if not isinstance(piece, tuple):
        return piece
    header, payload = piece
    return header + (payload.encode() if isinstance(payload, str) else payload)


class Fixture:
    """A responder, and what it has called."""

    def __init__(
        self,
        twin: Twin,
        handle: Callable[[Any], object] = lambda message: message,
        *,
        framed: bool = False,
        limit: int = LIMIT,
    ) -> None:
        answerer, responder = twin
        self.done: list[object] = []
        self.answerer: Any = answerer(handle, None, TOKEN, limit, limit, acknowledge=self.done.append)
        self.unsettled: list[Unsettled] = []
        rest = self.settle, self.write, self.leave, *([self.write_framed] if framed else [])
        self.respond: Any = responder(self.answerer, self.unsettled, *rest)

    def settle(self) -> None:
        self.done.append(("settle", self.unsettled[:]))
        self.unsettled.clear()

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def write_framed(self, header: bytes, payload: Payload) -> None:
        self.done.append(whole((header, payload)))

    def leave(self, data: bytes, size: int, answers: bytes) -> None:
        self.done.append(
            (data, size, answers, self.answerer.position, self.answerer.count, self.answerer.unanswered)
        )


@twins
def test_a_batch_is_answered_and_noted(twin: Twin) -> None:
    fixture = Fixture(twin)
    data = message(1, "one") + message(2, b"two")
    fixture.respond(data, len(data))
    answers = answer(1, "one") + answer(2, b"two")
    assert fixture.done == [answers]
    assert fixture.unsettled == [answers, 2]
    assert fixture.respond.sent_bytes == len(answers)


@twins
def test_bytes_of_the_buffer_after_the_size_are_not_read(twin: Twin) -> None:
    fixture = Fixture(twin)
    data = bytearray(message(1, "one") + message(2, "of the last one"))
    fixture.respond(data, len(message(1, "one")))
    assert fixture.done == [answer(1, "one")]


@twins
@pytest.mark.parametrize(
    "odd",
    [message(2, "half")[:-1], encode(Kind.HEARTBEAT, 0), encode_message(2, "no", 0, bytes(TOKEN_SIZE))],
    ids=["half a frame", "another kind", "another token"],
)
def test_what_is_no_whole_message_is_left_with_the_answers_before_it(twin: Twin, odd: bytes) -> None:
    fixture = Fixture(twin)
    first = message(1, "one")
    data = first + odd
    fixture.respond(data, len(data))
    assert fixture.done == [(data, len(data), answer(1, "one"), len(first), 1, None)]
    assert (fixture.unsettled, fixture.respond.sent_bytes) == ([], 0)


@twins
def test_a_message_without_an_answer_is_left(twin: Twin) -> None:
    fixture = Fixture(twin, lambda _: None)
    data = message(7, "one")
    fixture.respond(data, len(data))
    assert fixture.done == [(data, len(data), b"", len(data), 1, (7, None, None, None))]


@twins
def test_answers_above_the_batch_limit_are_left(twin: Twin) -> None:
    fixture = Fixture(twin)
    data = message(1, bytes(BATCH_LIMIT))
    fixture.respond(data, len(data))
    assert fixture.done == [(data, len(data), answer(1, bytes(BATCH_LIMIT)), len(data), 1, None)]


@twins
def test_settle_is_called_above_the_limit(twin: Twin) -> None:
    fixture = Fixture(twin)
    data = message(1, bytes(UNSETTLED_LIMIT // 4))
    for _ in range(9):
        fixture.respond(data, len(data))
    reply = answer(1, bytes(UNSETTLED_LIMIT // 4))
    assert fixture.done == [
        *[reply] * 3,
        ("settle", [reply, 1] * 4),
        *[reply] * 4,
        ("settle", [reply, 1] * 4),
        *[reply] * 2,
    ]
    assert fixture.unsettled == [reply, 1]
    fixture.unsettled.clear()  # as the replay buffer may
    for _ in range(3):
        fixture.respond(data, len(data))
    assert fixture.done[-4:] == [reply] * 4


@twins
@pytest.mark.parametrize("at", ["settle", "write", "leave"])
def test_an_exception_of_a_callback_leaves_the_call(twin: Twin, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(*_: object) -> None:
        raise RuntimeError(at)

    monkeypatch.setattr(Fixture, at, boom)
    fixture = Fixture(twin)
    data = message(1, bytes(UNSETTLED_LIMIT // 4)) + (b"odd" if at == "leave" else b"")
    for _ in range(3 if at == "settle" else 0):
        fixture.respond(data, len(data))  # as much as may be unsettled
    with pytest.raises(RuntimeError, match=at):
        fixture.respond(data, len(data))


@twins
def test_while_closed_everything_is_left_unread(twin: Twin) -> None:
    fixture = Fixture(twin)
    first, data = message(1, "one"), message(2, "two")
    fixture.respond(first, len(first))
    fixture.respond.closed = True
    fixture.respond(data, len(data))
    assert fixture.done[1:] == [(data, len(data), b"", 0, 0, None)]
    fixture.respond.closed = False
    fixture.respond(data, len(data))
    assert fixture.done[2:] == [answer(2, "two")]
    assert fixture.respond.received_bytes == len(first + data + data)


@twins
def test_acks_alone_write_nothing(twin: Twin) -> None:
    fixture = Fixture(twin)
    data = encode(Kind.ACK, 0, (7).to_bytes(8, "big"), token=TOKEN)
    fixture.respond(data, len(data))
    assert (fixture.done, fixture.unsettled) == ([7], [])
    assert (fixture.respond.received_bytes, fixture.respond.sent_bytes) == (len(data), 0)


@twins
def test_nothing_leaks(twin: Twin) -> None:
    def once() -> None:
        fixture = Fixture(twin, framed=True)
        for data in (message(1, "one") * 3, message(1, bytes(5000)), message(1, "x" * 5000), b"odd"):
            fixture.respond(data, len(data))
        fixture.settle()

    assert_no_block_stays(once)


LARGE = ["x" * 5000, b"y" * 5000]


@pytest.mark.parametrize("twin", TWINS[1:])
@pytest.mark.parametrize("payload", LARGE, ids=["text", "bytes"])
def test_the_twin_in_c_does_not_copy_a_single_large_answer(twin: Twin, payload: Payload) -> None:
    fixture = Fixture(twin, lambda _: payload, framed=True)
    data = message(1, "more")
    fixture.respond(data, len(data))
    (piece, count) = fixture.unsettled
    assert isinstance(piece, tuple)
    assert piece[1] is payload
    assert (whole(piece), count) == (answer(1, payload), 1)
    assert fixture.done == [answer(1, payload)]
    assert fixture.respond.sent_bytes == len(answer(1, payload))


@pytest.mark.parametrize("twin", TWINS[1:])
@pytest.mark.parametrize(
    ("payload", "messages"),
    [("я" * 5000, 1), ("x" * 4000, 1), ("x" * 5000, 2), (b"x" * BATCH_LIMIT, 1), (b"x" * (LIMIT + 1), 1)],
    ids=["not as it stands", "small", "not alone", "more than a piece", "too much"],
)
def test_other_answers_are_joined(twin: Twin, payload: Payload, messages: int) -> None:
    fixtures = []
    for framed in (False, True):
        fixture = Fixture(twin, lambda _: payload, framed=framed)
        data = message(1, "more") * messages
        fixture.respond(data, len(data))
        assert not any(isinstance(piece, tuple) for piece in fixture.unsettled)
        fixtures.append((fixture.done, fixture.unsettled, fixture.respond.sent_bytes))
    assert fixtures[0] == fixtures[1]


@twins
@pytest.mark.parametrize("payload", LARGE, ids=["text", "bytes"])
def test_a_large_answer_above_the_limit_is_left(twin: Twin, payload: Payload) -> None:
    fixture = Fixture(twin, lambda _: payload, framed=True, limit=len(payload) - 1)
    data = message(7, "more")
    fixture.respond(data, len(data))
    assert fixture.done == [(data, len(data), b"", len(data), 1, (7, payload, None, None))]


@pytest.mark.parametrize("twin", TWINS[1:])
def test_the_twin_in_c_refuses_a_size_beyond_the_bytes(twin: Twin) -> None:
    fixture = Fixture(twin)
    with pytest.raises(ValueError, match="not within"):
        fixture.respond(b"short", 6)
    with pytest.raises(TypeError):
        fixture.respond(b"short")


@given(
    st.lists(
        st.one_of(
            st.builds(message, st.integers(0, 3), st.text(max_size=5) | st.binary(max_size=5)),
            st.just(message(9, bytes(BATCH_LIMIT - 5))),
            st.just(message(8, "x" * 5000)),
            st.just(encode(Kind.ACK, 0, (5).to_bytes(8, "big"), token=TOKEN)),
            st.just(encode(Kind.HEARTBEAT, 0)),
            st.binary(max_size=30),
        ),
        max_size=6,
    ),
    st.integers(0, 60),
)
def test_both_twins_do_the_same(pieces: list[bytes], less: int) -> None:
    def handle(message: Payload) -> object:
        if not message:
            raise LookupError
        return {1: message, 2: message * 2, 3: None}.get(len(message) % 4, "…")

    data = b"".join(pieces)
    size = max(0, len(data) - less)
    told = []
    for twin in TWINS:
        fixture = Fixture(twin, handle, framed=True)
        fixture.respond(data, size)
        told.append(
            (
                repr(fixture.done),
                list(map(whole, fixture.unsettled)),
                fixture.respond.sent_bytes,
                fixture.respond.received_bytes,
            )
        )
    assert told[0] == told[-1]


class Waiting:
    """A responder whose coroutines may wait, and are continued by the test."""

    def __init__(self, twin: Twin, limit: int = LIMIT) -> None:
        self.fixture = Fixture(twin)
        answerer, responder = twin
        self.answerer: Any = answerer(self.handle, None, TOKEN, LIMIT, limit, stepping=stepping())
        rest = self.fixture.settle, self.fixture.write, self.leave, None
        self.respond: Any = responder(self.answerer, self.fixture.unsettled, *rest, self.wait)
        self.waited: list[Any] = []
        self.others: list[Any] = []

    async def handle(self, message: str) -> str:
        if message == "hold":
            self.respond.closed = True
        return message if message == "now" else await something()

    def wait(self, left: Any, began: float) -> None:
        assert (self.respond.closed, Task.current, began) == (WAITING, None, self.answerer.began)
        id, coroutine, error, (task, waits_for) = left
        assert error is None
        self.waited.append((id, task, waits_for))
        coroutine.close()

    def leave(self, data: bytes, size: int, answers: bytes) -> None:
        self.others.append(self.answerer.unanswered)
        if self.answerer.unanswered is not None:
            self.answerer.unanswered[1].close()

    def begin(self, *messages: str) -> "Waiting":
        data = b"".join(message(id, text) for id, text in enumerate(messages, 7))
        self.respond(data, len(data))
        return self


@twins
def test_a_single_message_whose_coroutine_waits_is_answered_in_the_end(twin: Twin) -> None:
    waiting = Waiting(twin).begin("wait")
    (id, task, waits_for) = waiting.waited[0]
    assert (id, type(task), waits_for, waiting.others) == (7, Task, "something", [])
    assert waiting.answerer.unanswered is None
    assert waiting.respond.answer(7, "done") is True
    done = answer(7, "done")
    assert (waiting.fixture.done, waiting.fixture.unsettled, waiting.respond.sent_bytes) == (
        [done],
        [done, 0],
        len(done),
    )
    assert not waiting.respond.closed
    assert waiting.respond.answer(7, "done") is False
    waiting.begin("now", "now")
    assert waiting.fixture.unsettled[3] == 2
    waiting.begin("wait")
    assert waiting.respond.answer(2**32 - 1, b"again") is True
    assert waiting.fixture.done[-1] == answer(2**32 - 1, b"again")


@twins
def test_the_task_of_a_coroutine_that_waits_is_not_used_again(twin: Twin) -> None:
    waiting = Waiting(twin)
    for _ in range(2):
        waiting.begin("wait")
        waiting.respond.answer(7, "done")
    (_, first, _), (_, second, _) = waiting.waited
    assert first is not second
    del waiting.waited[:], second
    assert sys.getrefcount(first) == 2  # the name and the argument, no one else


@twins
@pytest.mark.parametrize(
    "messages", [("now", "wait"), ("wait", "now"), ("hold",)], ids=["before", "behind", "held"]
)
def test_a_coroutine_that_waits_among_others_is_left(twin: Twin, messages: tuple[str, ...]) -> None:
    waiting = Waiting(twin).begin(*messages)
    assert (waiting.waited, len(waiting.others)) == ([], 1)
    assert waiting.others[0][3][1] == "something"
    assert waiting.respond.answer(7, "done") is False
    assert waiting.fixture.done == []


@twins
def test_if_bytes_are_received_while_it_waits_its_answer_is_left(twin: Twin) -> None:
    waiting = Waiting(twin).begin("wait")
    waiting.begin("now")
    assert waiting.others == [None]
    waiting.respond.closed = True  # as the caller does
    assert waiting.respond.answer(7, "done") is False
    assert (waiting.fixture.done, waiting.fixture.unsettled) == ([], [])


class Text(str):
    __slots__ = ()


@twins
@pytest.mark.parametrize(
    "reply",
    [None, 7, Text("text"), "\ud800", bytes(LIMIT - 9), bytes(BATCH_LIMIT)],
    ids=["nothing", "a number", "no plain text", "half a pair", "too large", "more than a piece"],
)
def test_an_answer_that_cannot_be_written_is_left(twin: Twin, reply: object) -> None:
    waiting = Waiting(twin, LIMIT - 10).begin("wait")
    assert waiting.respond.answer(7, reply) is False
    assert (waiting.fixture.done, waiting.fixture.unsettled, waiting.respond.closed) == ([], [], WAITING)


@twins
def test_an_answer_may_be_as_large_as_the_limit(twin: Twin) -> None:
    waiting = Waiting(twin, 100).begin("wait")
    assert waiting.respond.answer(7, bytes(101)) is False
    assert waiting.respond.answer(7, bytes(100)) is True


@twins
def test_the_write_function_may_close_it(twin: Twin) -> None:
    def write(_: bytes) -> None:
        waiting.respond.closed = True

    waiting = Waiting(twin)
    _, responder = twin
    waiting.respond = responder(
        waiting.answerer, [], waiting.fixture.settle, write, waiting.leave, None, waiting.wait
    )
    waiting.begin("wait")
    assert waiting.respond.answer(7, "done") is True
    assert waiting.respond.closed == 1


@twins
def test_answers_of_coroutines_that_waited_are_settled_above_the_limit(twin: Twin) -> None:
    waiting = Waiting(twin)
    for _ in range(5):
        waiting.begin("wait")
        assert waiting.respond.answer(7, bytes(UNSETTLED_LIMIT // 4))
    settled = [each for each in waiting.fixture.done if isinstance(each, tuple)]
    assert settled == [("settle", [answer(7, bytes(UNSETTLED_LIMIT // 4)), 0] * 4)]


@twins
@pytest.mark.parametrize("at", ["wait", "write"])
def test_an_exception_of_wait_or_write_leaves_the_call(
    twin: Twin, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boom(*_: object) -> None:
        raise RuntimeError(at)

    monkeypatch.setattr(*{"wait": (Waiting, "wait"), "write": (Fixture, "write")}[at], boom)
    waiting = Waiting(twin)
    with pytest.raises(RuntimeError, match=at):
        waiting.begin("wait").respond.answer(7, "done")


@twins
def test_nothing_leaks_of_coroutines_that_waited(twin: Twin) -> None:
    def once() -> None:
        waiting = Waiting(twin)
        for reply in ("done", None, bytes(BATCH_LIMIT)):
            waiting.begin("wait").respond.answer(7, reply)
            waiting.respond.closed = False
        waiting.fixture.settle()

    assert_no_block_stays(once)


@pytest.mark.parametrize("twin", TWINS[1:])
def test_answer_takes_an_id_and_a_reply(twin: Twin) -> None:
    respond = Waiting(twin).begin("wait").respond
    for arguments in [(7,), (7, "done", "more"), ("seven", "done"), (-1, "done"), (2**64, "done")]:
        with pytest.raises((TypeError, OverflowError)):
            respond.answer(*arguments)


@twins
@pytest.mark.parametrize("inner", ["reply", "raise"])  # as long as "outer"
def test_a_coroutine_keeps_its_task_if_another_runs_within_its_step(twin: Twin, inner: str) -> None:
    tasks: list[object] = []
    waited: list[object] = []

    async def handle(said: str) -> str:
        tasks.append(Task.current)
        if said == "outer":
            outer, Task.current = Task.current, None
            respond(message(8, inner), len(message(8, inner)))
            Task.current = outer
            await something()
        if said == "raise":
            raise LookupError
        return said

    def wait(left: Any, _: float) -> None:
        waited.append(left[3][0])
        left[1].close()

    fixture = Fixture(twin)
    answerer, responder = twin
    steps = answerer(handle, None, TOKEN, LIMIT, LIMIT, stepping=stepping())
    respond = responder(steps, fixture.unsettled, fixture.settle, fixture.write, lambda *_: None, None, wait)
    respond(message(7, "outer"), len(message(7, "outer")))
    assert waited == tasks[:1] != tasks[1:]


@twins
def test_an_answer_that_is_prepared_is_noted_and_not_written(twin: Twin) -> None:
    waiting = Waiting(twin).begin("wait")
    assert waiting.respond.prepare(7, "done") == answer(7, "done")
    assert (waiting.fixture.done, waiting.fixture.unsettled) == ([], [answer(7, "done"), 0])
    assert (waiting.respond.closed, waiting.respond.sent_bytes) == (WAITING, 0)
    assert waiting.respond.prepare(7, 7) is None
    waiting.respond.closed = 1
    assert waiting.respond.prepare(7, "done") is None
