"""The shortest way through a connection: the twins do the same, and leave the same to others."""

import gc
import sys
from collections.abc import Callable, Generator
from contextvars import Context, ContextVar, copy_context
from itertools import count
from types import coroutine
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.answering import (
    BATCH_LIMIT,
    FRESH_LIMIT,
    WAITS,
    Answerer,
    Fresh,
    PythonAnswerer,
    PythonShortcut,
    Shortcut,
    Stepping,
)
from antiphon.wire.frames import Payload, encode, encode_message
from antiphon.wire.kinds import TOKEN_SIZE, Flag, Kind

TOKEN = bytes(range(TOKEN_SIZE))
LIMIT = 2 * BATCH_LIMIT
TWINS: list[tuple[type, type]] = list(dict.fromkeys([(PythonAnswerer, PythonShortcut), (Answerer, Shortcut)]))
"""One pair of them where no compiler was found."""

Twin = tuple[type, type]
twins = pytest.mark.parametrize("twin", TWINS)


def message(id: int, payload: Payload) -> bytes:
    return encode_message(id, payload, 0, TOKEN)


def answer(id: int, payload: Payload) -> bytes:
    return encode_message(id, payload, Flag.LAST)


def whole(piece: Fresh) -> bytes | int:
    """Put together what was noted in two parts."""
    if not isinstance(piece, tuple):
        return piece
    header, payload = piece
    return header + (payload.encode() if isinstance(payload, str) else payload)


class Way:
    """A shortcut and what it has done."""

    def __init__(
        self,
        twin: Twin,
        handle: Callable[[Any], object] = lambda message: message,
        *,
        framed: bool = False,
        limit: int = LIMIT,
    ) -> None:
        answerer, shortcut = twin
        self.done: list[object] = []
        self.answerer: Any = answerer(handle, None, TOKEN, limit, limit, acknowledge=self.done.append)
        self.fresh: list[Fresh] = []
        rest = self.settle, self.write, self.otherwise, *([self.write_framed] if framed else [])
        self.take: Any = shortcut(self.answerer, self.fresh, *rest)

    def settle(self) -> None:
        self.done.append(("settle", self.fresh[:]))
        self.fresh.clear()

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def write_framed(self, header: bytes, payload: Payload) -> None:
        self.done.append(whole((header, payload)))

    def otherwise(self, data: bytes, size: int, answers: bytes) -> None:
        self.done.append((data, size, answers, self.answerer.at, self.answerer.count, self.answerer.left))


@twins
def test_what_comes_is_answered_and_noted(twin: Twin) -> None:
    way = Way(twin)
    data = message(1, "one") + message(2, b"two")
    way.take(data, len(data))
    answers = answer(1, "one") + answer(2, b"two")
    assert way.done == [answers]
    assert way.fresh == [answers, 2]
    assert way.take.said == len(answers)


@twins
def test_what_stands_behind_in_the_buffer_is_not_looked_at(twin: Twin) -> None:
    way = Way(twin)
    data = bytearray(message(1, "one") + message(2, "of the last one"))
    way.take(data, len(message(1, "one")))
    assert way.done == [answer(1, "one")]


@twins
@pytest.mark.parametrize(
    "odd",
    [message(2, "half")[:-1], encode(Kind.HEARTBEAT, 0), encode_message(2, "no", 0, bytes(TOKEN_SIZE))],
    ids=["half a frame", "another kind", "another token"],
)
def test_what_is_no_whole_message_goes_another_way_behind_what_was_answered(twin: Twin, odd: bytes) -> None:
    way = Way(twin)
    first = message(1, "one")
    data = first + odd
    way.take(data, len(data))
    assert way.done == [(data, len(data), answer(1, "one"), len(first), 1, None)]
    assert (way.fresh, way.take.said) == ([], 0)


@twins
def test_what_the_service_does_not_answer_at_once_goes_another_way(twin: Twin) -> None:
    way = Way(twin, lambda _: None)
    data = message(7, "one")
    way.take(data, len(data))
    assert way.done == [(data, len(data), b"", len(data), 1, (7, None, None, None))]


@twins
def test_more_than_goes_out_in_one_piece_goes_another_way(twin: Twin) -> None:
    way = Way(twin)
    data = message(1, bytes(BATCH_LIMIT))
    way.take(data, len(data))
    assert way.done == [(data, len(data), answer(1, bytes(BATCH_LIMIT)), len(data), 1, None)]


@twins
def test_what_is_fresh_is_settled_now_and_then(twin: Twin) -> None:
    way = Way(twin)
    data = message(1, bytes(FRESH_LIMIT // 4))
    for _ in range(9):
        way.take(data, len(data))
    reply = answer(1, bytes(FRESH_LIMIT // 4))
    assert way.done == [
        *[reply] * 3,
        ("settle", [reply, 1] * 4),
        *[reply] * 4,
        ("settle", [reply, 1] * 4),
        *[reply] * 2,
    ]
    assert way.fresh == [reply, 1]
    way.fresh.clear()  # somebody else has settled it
    for _ in range(3):
        way.take(data, len(data))
    assert way.done[-4:] == [reply] * 4


@twins
@pytest.mark.parametrize("at", ["settle", "write", "otherwise"])
def test_a_fault_of_those_it_calls_is_not_swallowed(twin: Twin, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(*_: object) -> None:
        raise RuntimeError(at)

    monkeypatch.setattr(Way, at, boom)
    way = Way(twin)
    data = message(1, bytes(FRESH_LIMIT // 4)) + (b"odd" if at == "otherwise" else b"")
    for _ in range(3 if at == "settle" else 0):
        way.take(data, len(data))  # no more than may be fresh
    with pytest.raises(RuntimeError, match=at):
        way.take(data, len(data))


@twins
def test_while_it_is_held_everything_goes_another_way_unseen(twin: Twin) -> None:
    way = Way(twin)
    first, data = message(1, "one"), message(2, "two")
    way.take(first, len(first))
    way.take.held = True
    way.take(data, len(data))
    assert way.done[1:] == [(data, len(data), b"", 0, 0, None)]
    way.take.held = False
    way.take(data, len(data))
    assert way.done[2:] == [answer(2, "two")]
    assert way.take.heard == len(first + data + data)


@twins
def test_acknowledgements_alone_have_nothing_written(twin: Twin) -> None:
    way = Way(twin)
    data = encode(Kind.ACK, 0, (7).to_bytes(8, "big"), token=TOKEN)
    way.take(data, len(data))
    assert (way.done, way.fresh) == ([7], [])
    assert (way.take.heard, way.take.said) == (len(data), 0)


@twins
def test_nothing_is_held_of_what_went_through(twin: Twin) -> None:
    def once() -> None:
        way = Way(twin, framed=True)
        for data in (message(1, "one") * 3, message(1, bytes(5000)), message(1, "x" * 5000), b"odd"):
            way.take(data, len(data))
        way.settle()

    once()
    gc.collect()  # what others have left
    before = sys.getallocatedblocks()
    for _ in range(200):
        once()
        gc.collect(0)
    gc.collect()
    assert sys.getallocatedblocks() - before < 100


LARGE = ["x" * 5000, b"y" * 5000]


@pytest.mark.parametrize("twin", TWINS[1:])
@pytest.mark.parametrize("payload", LARGE, ids=["text", "bytes"])
def test_the_native_twin_does_not_copy_one_large_answer(twin: Twin, payload: Payload) -> None:
    way = Way(twin, lambda _: payload, framed=True)
    data = message(1, "more")
    way.take(data, len(data))
    (piece, count) = way.fresh
    assert isinstance(piece, tuple)
    assert piece[1] is payload
    assert (whole(piece), count) == (answer(1, payload), 1)
    assert way.done == [answer(1, payload)]
    assert way.take.said == len(answer(1, payload))


@pytest.mark.parametrize("twin", TWINS[1:])
@pytest.mark.parametrize(
    ("payload", "messages"),
    [("я" * 5000, 1), ("x" * 4000, 1), ("x" * 5000, 2), (b"x" * BATCH_LIMIT, 1), (b"x" * (LIMIT + 1), 1)],
    ids=["not as it stands", "small", "not alone", "more than a piece", "too much"],
)
def test_other_answers_are_put_together(twin: Twin, payload: Payload, messages: int) -> None:
    ways = []
    for framed in (False, True):
        way = Way(twin, lambda _: payload, framed=framed)
        data = message(1, "more") * messages
        way.take(data, len(data))
        assert not any(isinstance(piece, tuple) for piece in way.fresh)
        ways.append((way.done, way.fresh, way.take.said))
    assert ways[0] == ways[1]


@twins
@pytest.mark.parametrize("payload", LARGE, ids=["text", "bytes"])
def test_a_large_answer_above_the_limit_is_left(twin: Twin, payload: Payload) -> None:
    way = Way(twin, lambda _: payload, framed=True, limit=len(payload) - 1)
    data = message(7, "more")
    way.take(data, len(data))
    assert way.done == [(data, len(data), b"", len(data), 1, (7, payload, None, None))]


@pytest.mark.parametrize("twin", TWINS[1:])
def test_the_native_twin_reads_nothing_behind_the_bytes(twin: Twin) -> None:
    way = Way(twin)
    with pytest.raises(ValueError, match="not within"):
        way.take(b"short", 6)
    with pytest.raises(TypeError):
        way.take(b"short")


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
def test_the_twins_do_the_same(pieces: list[bytes], less: int) -> None:
    def handle(message: Payload) -> object:
        if not message:
            raise LookupError
        return {1: message, 2: message * 2, 3: None}.get(len(message) % 4, "…")

    data = b"".join(pieces)
    size = max(0, len(data) - less)
    told = []
    for twin in TWINS:
        way = Way(twin, handle, framed=True)
        way.take(data, size)
        told.append((repr(way.done), list(map(whole, way.fresh)), way.take.said, way.take.heard))
    assert told[0] == told[-1]


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="none")


class Turn:
    """What a coroutine's first step is taken with."""

    current: ClassVar["Turn | None"] = None
    variables: Context

    def __init__(self, number: int = 0) -> None:
        self.touched = False
        self.number = number


def begun(loop: object, turn: Turn) -> None:
    assert (loop, Turn.current) == ("loop", None)
    Turn.current = turn


def ended(loop: object, turn: Turn) -> None:
    assert (loop, Turn.current) == ("loop", turn)
    Turn.current = None


def stepping(twin: Twin, handle: Callable[[Any], object]) -> Way:
    """A way for coroutines, whose turns are numbered."""
    numbers = count()

    def make() -> Turn:
        return Turn(next(numbers))

    way = Way(twin)
    context = copy_context()
    context.run(VARIABLE.set, "the server's")
    answerer, shortcut = twin
    way.answerer = answerer(handle, None, TOKEN, LIMIT, LIMIT, steps=True)
    told = Stepping(make, begun, ended, "loop", context)
    way.take = shortcut(way.answerer, way.fresh, way.settle, way.write, way.otherwise, None, told)
    return way


@twins
def test_coroutines_take_their_first_step_in_a_turn_and_variables_of_their_own(twin: Twin) -> None:
    async def handle(message: str) -> str:
        assert Turn.current is not None
        assert Turn.current.variables[VARIABLE] == VARIABLE.get()
        before = VARIABLE.get()
        VARIABLE.set(message)
        return before

    way = stepping(twin, handle)
    for text in ("one", "two"):
        way.take(message(1, text), len(message(1, text)))
    assert way.done == [answer(1, "the server's")] * 2
    assert (Turn.current, VARIABLE.get()) == (None, "none")


@twins
def test_a_coroutine_that_waits_is_left_with_its_turn_and_the_next_one_has_another(
    twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    @coroutine
    def wait() -> Generator[str, None, str]:
        yield "something"
        return "never"

    async def handle(message: str) -> str:
        return await wait() if message == "wait" else f"{Turn.current and Turn.current.number}"

    seen: list[int] = []

    def otherwise(way: Way, *_: object) -> None:
        seen.append(way.take.turn.number)

    monkeypatch.setattr(Way, "otherwise", otherwise)
    way = stepping(twin, handle)
    data = message(1, "wait")
    way.take(data, len(data))
    (id, reply, error, waits_for) = way.answerer.left
    assert (id, error, waits_for, seen, Turn.current) == (1, None, ("something",), [0], None)
    reply.close()
    data = message(2, "number")
    way.take(data, len(data))
    assert way.done == [answer(2, "1")]


class Waiting:
    """A way on which coroutines wait, and are gone on with."""

    def __init__(self, twin: Twin, limit: int = LIMIT) -> None:
        self.way = Way(twin)
        answerer, shortcut = twin
        self.answerer: Any = answerer(self.handle, None, TOKEN, LIMIT, limit, steps=True)
        rest = self.way.settle, self.way.write, self.otherwise, None
        told = Stepping(Turn, begun, ended, "loop", copy_context(), self.wait)
        self.take: Any = shortcut(self.answerer, self.way.fresh, *rest, told)
        self.waited: list[Any] = []
        self.others: list[Any] = []

    async def handle(self, message: str) -> str:
        if message == "hold":
            self.take.held = True
        return message if message == "now" else await self.something()

    @staticmethod
    @coroutine
    def something() -> Generator[str, None, str]:
        yield "something"
        return "never"

    def wait(self, turn: Turn, left: Any) -> None:
        assert (self.take.held, Turn.current) == (WAITS, None)
        self.waited.append((turn, left[0], left[3]))
        left[1].close()

    def otherwise(self, data: bytes, size: int, answers: bytes) -> None:
        self.others.append(self.answerer.left)
        if self.answerer.left is not None:
            self.answerer.left[1].close()

    def begin(self, *messages: str) -> "Waiting":
        data = b"".join(message(id, text) for id, text in enumerate(messages, 7))
        self.take(data, len(data))
        return self


@twins
def test_a_coroutine_that_waits_alone_is_gone_on_with_and_answered_in_the_end(twin: Twin) -> None:
    waiting = Waiting(twin).begin("wait")
    (turn, id, waits_for) = waiting.waited[0]
    assert (type(turn), id, waits_for, waiting.others) == (Turn, 7, ("something",), [])
    assert waiting.answerer.left is None
    assert waiting.take.answer(7, "done") is True
    done = answer(7, "done")
    assert (waiting.way.done, waiting.way.fresh, waiting.take.said) == ([done], [done, 0], len(done))
    assert not waiting.take.held
    assert waiting.take.answer(7, "done") is False
    waiting.begin("now", "now")
    assert waiting.way.fresh[3] == 2
    waiting.begin("wait")
    assert waiting.take.answer(2**32 - 1, b"again") is True
    assert waiting.way.done[-1] == answer(2**32 - 1, b"again")


@twins
def test_its_turn_is_not_held(twin: Twin) -> None:
    waiting = Waiting(twin)
    for _ in range(2):
        waiting.begin("wait")
        waiting.take.answer(7, "done")
    (first, *_), (second, *_) = waiting.waited
    assert first is not second
    assert waiting.take.turn is None


@twins
@pytest.mark.parametrize(
    "messages", [("now", "wait"), ("wait", "now"), ("hold",)], ids=["before", "behind", "held"]
)
def test_one_that_does_not_wait_alone_goes_another_way(twin: Twin, messages: tuple[str, ...]) -> None:
    waiting = Waiting(twin).begin(*messages)
    assert (waiting.waited, len(waiting.others)) == ([], 1)
    assert waiting.others[0][3] == ("something",)
    assert waiting.take.answer(7, "done") is False
    assert waiting.way.done == []


@twins
def test_what_happens_while_it_waits_leaves_its_answer_to_others(twin: Twin) -> None:
    waiting = Waiting(twin).begin("wait")
    waiting.begin("now")
    assert waiting.others == [None]
    waiting.take.held = True  # as whoever is called then does
    assert waiting.take.answer(7, "done") is False
    assert (waiting.way.done, waiting.way.fresh) == ([], [])


class Text(str):
    __slots__ = ()


@twins
@pytest.mark.parametrize(
    "reply",
    [None, 7, Text("text"), "\ud800", bytes(LIMIT - 9), bytes(BATCH_LIMIT)],
    ids=["nothing", "a number", "no plain text", "half a pair", "too large", "more than a piece"],
)
def test_an_odd_answer_is_left_to_others(twin: Twin, reply: object) -> None:
    waiting = Waiting(twin, LIMIT - 10).begin("wait")
    assert waiting.take.answer(7, reply) is False
    assert (waiting.way.done, waiting.way.fresh, waiting.take.held) == ([], [], WAITS)


@twins
def test_an_answer_may_be_as_large_as_the_limit(twin: Twin) -> None:
    waiting = Waiting(twin, 100).begin("wait")
    assert waiting.take.answer(7, bytes(101)) is False
    assert waiting.take.answer(7, bytes(100)) is True


@twins
def test_whoever_is_written_to_may_hold_it_again(twin: Twin) -> None:
    def write(_: bytes) -> None:
        waiting.take.held = True

    waiting = Waiting(twin)
    _, shortcut = twin
    told = Stepping(Turn, begun, ended, "loop", copy_context(), waiting.wait)
    waiting.take = shortcut(waiting.answerer, [], waiting.way.settle, write, waiting.otherwise, None, told)
    waiting.begin("wait")
    assert waiting.take.answer(7, "done") is True
    assert waiting.take.held == 1


@twins
def test_the_answers_of_those_that_waited_are_settled_now_and_then(twin: Twin) -> None:
    waiting = Waiting(twin)
    for _ in range(5):
        waiting.begin("wait")
        assert waiting.take.answer(7, bytes(FRESH_LIMIT // 4))
    settled = [each for each in waiting.way.done if isinstance(each, tuple)]
    assert settled == [("settle", [answer(7, bytes(FRESH_LIMIT // 4)), 0] * 4)]


@twins
@pytest.mark.parametrize("at", ["wait", "write"])
def test_a_fault_of_whoever_goes_on_is_not_swallowed(twin: Twin, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(*_: object) -> None:
        raise RuntimeError(at)

    monkeypatch.setattr(*{"wait": (Waiting, "wait"), "write": (Way, "write")}[at], boom)
    waiting = Waiting(twin)
    with pytest.raises(RuntimeError, match=at):
        waiting.begin("wait").take.answer(7, "done")


@twins
def test_nothing_is_held_of_those_that_waited(twin: Twin) -> None:
    def once() -> None:
        waiting = Waiting(twin)
        for reply in ("done", None, bytes(BATCH_LIMIT)):
            waiting.begin("wait").take.answer(7, reply)
            waiting.take.held = False
        waiting.way.settle()

    once()
    gc.collect()  # what others have left
    before = sys.getallocatedblocks()
    for _ in range(200):
        once()
        gc.collect(0)
    gc.collect()
    assert sys.getallocatedblocks() - before < 100


@pytest.mark.parametrize("twin", TWINS[1:])
def test_an_answer_is_an_id_and_what_was_replied(twin: Twin) -> None:
    take = Waiting(twin).begin("wait").take
    for arguments in [(7,), (7, "done", "more"), ("seven", "done"), (-1, "done"), (2**64, "done")]:
        with pytest.raises((TypeError, OverflowError)):
            take.answer(*arguments)


@pytest.mark.parametrize("twin", TWINS[1:])
def test_a_turn_serves_again_only_where_nobody_knows_of_it(twin: Twin) -> None:
    kept: list[Turn | None] = []

    async def handle(message: str) -> str:
        turn = Turn.current
        assert turn is not None
        if message == "keep":
            kept.append(turn)
        turn.touched = message == "touch"
        return str(turn.number)

    way = stepping(twin, handle)
    for text in ("", "", "keep", "", "touch", "", ""):
        way.take(message(1, text), len(message(1, text)))
    assert way.done == [answer(1, number) for number in ("0", "0", "0", "1", "1", "2", "2")]


@twins
def test_what_a_coroutine_raises_leaves_no_turn_behind(twin: Twin) -> None:
    async def handle(message: str) -> str:
        raise LookupError(message)

    way = stepping(twin, handle)
    data = message(1, "why")
    way.take(data, len(data))
    assert isinstance(way.answerer.left[2], LookupError)
    assert Turn.current is None


@twins
@pytest.mark.parametrize("at", ["make", "enter", "leave"])
def test_a_fault_around_a_step_is_not_swallowed(twin: Twin, at: str) -> None:
    def boom(*_: object) -> None:
        raise RuntimeError(at)

    async def handle(message: str) -> str:
        return message

    def nothing(*_: object) -> None:
        pass

    way = Way(twin)
    answerer, shortcut = twin
    around: Any = {"make": Turn, "enter": nothing, "leave": nothing, at: boom}
    told = Stepping(**around, loop=None, variables=copy_context())
    steps = answerer(handle, None, TOKEN, LIMIT, LIMIT, steps=True)
    take = shortcut(steps, way.fresh, way.settle, way.write, way.otherwise, None, told)
    with pytest.raises(RuntimeError, match=at):
        take(message(1, "one"), len(message(1, "one")))
    assert way.done == []


@twins
def test_a_call_within_a_step_takes_no_turn_away_from_it(twin: Twin) -> None:
    told: list[object] = []

    def enter(loop: object, turn: Turn) -> None:
        told.append(turn)
        if len(told) == 1:
            take(b"odd", 3)  # goes another way, and the turn with it

    async def handle(message: str) -> str:
        return message

    way = Way(twin)
    answerer, shortcut = twin
    steps = answerer(handle, None, TOKEN, LIMIT, LIMIT, steps=True)
    told_by = Stepping(Turn, enter, lambda loop, turn: told.append(turn), None, copy_context())
    take = shortcut(steps, way.fresh, way.settle, way.write, way.otherwise, None, told_by)
    take(message(1, "one"), len(message(1, "one")))
    first, second, *left = told
    assert left == [second, first]


@twins
@pytest.mark.parametrize("inner", ["reply", "raise"])  # as long as the outer one
def test_one_that_waits_goes_on_with_its_own_turn_though_another_came_within_its_step(
    twin: Twin, inner: str
) -> None:
    turns: list[object] = []
    waited: list[object] = []

    async def handle(said: str) -> str:
        if said == "outer":
            take(message(8, inner), len(message(8, inner)))
            await Waiting.something()
        if said == "raise":
            raise LookupError
        return said

    def wait(turn: Turn, left: Any) -> None:
        waited.append(turn)
        left[1].close()

    way = Way(twin)
    answerer, shortcut = twin
    steps = answerer(handle, None, TOKEN, LIMIT, LIMIT, steps=True)
    told = Stepping(Turn, lambda _, turn: turns.append(turn), lambda *_: None, None, copy_context(), wait)
    take = shortcut(steps, way.fresh, way.settle, way.write, lambda *_: None, None, told)
    take(message(7, "outer"), len(message(7, "outer")))
    assert waited == turns[:1]


@pytest.mark.parametrize("twin", TWINS[1:])
def test_how_steps_are_taken_is_told_by_a_stepping(twin: Twin) -> None:
    way = Way(twin)
    with pytest.raises(TypeError):
        twin[1](way.answerer, way.fresh, way.settle, way.write, way.otherwise, None, ("short",))
