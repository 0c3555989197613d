"""Both twins do the same with any bytes and any handler, and nothing leaks.

`make fuzz` runs this over parts in C that are compiled with sanitizers.
"""

from array import array
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.batch import BatchAnswerer, BatchResponder, PythonBatchAnswerer, PythonBatchResponder, Unsettled
from antiphon.wire.frames import Frame, FrameReader, Payload
from antiphon.wire.kinds import COUNT_SIZE, Kind, Phase, Side, limits
from support.leaks import assert_nothing_stays
from support.steps import Task, stepping
from support.wire_strategies import LIMITS, TOKEN, ends, payloads, streams, weighted

Twin = tuple[type, type]
PYTHON: Twin = (PythonBatchAnswerer, PythonBatchResponder)
NATIVE: Twin = (BatchAnswerer, BatchResponder)
"""The Python twins again if no compiler was found."""


class Odd(str):
    """A subclass of `str`."""

    __slots__ = ()


class Fault(Exception):
    """Raised by a handler."""


PLACES = [-(2**63), 1 - 2**63, -1, 2**63 - 2, 2**63 - 1]
REPLIES: list[object] = [None, 3, "", b"", "\ud800", bytearray(b"x"), Odd("x"), ["x"]]
"""Shared objects: their reference counts show one that is released too often, or never."""


@coroutine
def waiting() -> Generator[object, None, None]:
    yield "something"


async def coroutine_of(act: "Act") -> object:
    whats, value = act
    task = Task.current
    if "cancel" in whats and task is not None:
        task.cancel()
    if "name" in whats and task is not None:
        task.name = "named"
    if "wait" in whats:
        await waiting()
    if "raise" in whats:
        raise value
    return value


Act = tuple[str, Any]
sizes = st.sampled_from([0, 1, 4095, 4096, 4097, 5000, 16 * 1024, 64 * 1024 - 13, 64 * 1024 - 12, 64 * 1024])
replies = st.one_of(
    st.sampled_from(REPLIES), payloads, sizes.map(lambda size: "x" * size), sizes.map(lambda size: b"x" * size)
)
faults = st.sampled_from([Fault, KeyboardInterrupt, StopIteration, MemoryError])
acts: st.SearchStrategy[Act] = st.one_of(
    st.just(("echo", None)),
    st.tuples(st.just("give"), replies),
    st.tuples(st.just("raise"), faults),
    st.tuples(
        st.just("coroutine"),
        st.one_of(
            st.tuples(st.sampled_from(["give", "give", "cancel", "name"]), replies),
            st.tuples(st.sampled_from(["raise", "cancel raise", "name raise"]), faults),
            st.tuples(st.sampled_from(["wait", "cancel wait"]), replies),
        ),
    ),
    st.just(("generator", None)),
)
mostly_large = weighted(st.sampled_from(LIMITS), st.just(LIMITS[-1]))
listening: st.SearchStrategy[Act] = st.sampled_from(
    [("echo", None), ("leave", None), ("raise", Fault), ("leave", None)]
)
reentering: st.SearchStrategy[Act] = st.one_of(
    st.tuples(st.just("again"), streams()),
    st.tuples(st.just("hold"), st.booleans()),
    st.just(("settle", None)),
    st.just(("empty", None)),
)


@dataclass(frozen=True)
class Plan:
    """Plan of a run, which can be repeated with each twin."""

    data: bytes
    ends: list[int]
    acts: list[Act]
    takes: type | None
    steps: bool
    waits: bool
    message_limit: int
    answer_limit: int
    told: list[Act]
    """What each call of `acknowledge`, `write` and the other callbacks does, in turn."""
    framed: bool
    values: bool = False
    """Whether messages are decoded and answers encoded."""


@st.composite
def plans(draw: st.DrawFn, more: st.SearchStrategy[Act]) -> Plan:
    data = draw(streams())
    return Plan(
        data,
        draw(ends(data)),
        draw(st.lists(weighted(acts, more), min_size=1, max_size=6)),
        draw(st.sampled_from([None, str, bytes])),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(mostly_large),
        draw(mostly_large),
        draw(st.lists(listening if more is acts else listening | more, max_size=6)),
        draw(st.booleans()),
        draw(st.booleans()),
    )


def exact(data: bytes) -> "array[int]":
    """Return a copy without a byte after its end; `bytes` have a NUL there."""
    return (array("B", data) * 1) if data else array("B")


def shape(value: object) -> object:
    """Return what can be compared of a reply."""
    return type(value).__name__ if hasattr(value, "close") else (type(value).__name__, value)


@dataclass
class World:
    """The handler and the callbacks of one run."""

    plan: Plan
    done: list[object] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)
    unsettled: list[Unsettled] = field(default_factory=list)
    again: int = 0
    buffer: "array[int]" = field(default_factory=lambda: array("B"))
    """The bytes that the twin in C reads."""
    calls: int = 0
    tellings: int = 0
    call: Callable[[bytes], object] | None = None
    responder: Any = None

    def handle(self, message: Payload) -> object:
        self.done.append(message)
        self.calls += 1
        return self.act(self.plan.acts[self.calls % len(self.plan.acts)], message)

    def tell(self, *what: object) -> bool:
        """Do what is planned; return False, which leaves an ACK to the caller, if the plan says so."""
        self.done.append(what)
        self.tellings += 1
        act = self.plan.told[self.tellings % len(self.plan.told)] if self.plan.told else ("echo", None)
        self.act(act, "")
        return act[0] != "leave"

    def decode(self, payload: Payload) -> object:
        if not self.tell("decode", payload):
            raise ValueError(payload)
        return [payload]

    def encode(self, value: object, json: bytearray) -> None:
        if not self.tell("encode", shape(value)):
            raise ValueError(value)
        json[:] = repr(shape(value)).encode()

    def act(self, act: Act, message: Payload) -> object:
        what, value = act
        if what == "give":
            return value
        if what == "raise":
            raise value
        if what == "coroutine":
            self.opened.append(coroutine_of(value))
            return self.opened[-1]
        if what == "generator":
            return (letter for letter in "abc")
        if what == "again" and self.again < 3 and self.call is not None:
            self.again += 1
            self.call(value)
        if what == "hold" and self.responder is not None:
            self.responder.closed = value
        if what == "settle":
            self.unsettled.clear()
        if what == "empty":
            with suppress(BufferError):  # a call reads it
                del self.buffer[:]
        return message

    def as_read(self, data: bytes, twin: Twin) -> "bytes | array[int]":
        """Return bytes in the form that a twin gets."""
        if twin is not NATIVE:
            return data
        self.buffer = exact(data)
        return self.buffer

    def close(self) -> None:
        """Break reference cycles, and close coroutines."""
        self.call = self.responder = None
        self.buffer = array("B")
        for it in self.opened:
            it.close()


def left_of(answerer: Any) -> object:
    if answerer.unanswered is None:
        return None
    id, reply, error, waiting = answerer.unanswered
    return id, shape(reply), type(error), None if waiting is None else (type(waiting[0]), waiting[1])


def made(twin: Twin, plan: Plan, world: World) -> Any:
    return twin[0](
        world.handle,
        plan.takes,
        TOKEN,
        plan.message_limit,
        plan.answer_limit,
        stepping=stepping(world.done) if plan.steps else None,
        acknowledge=world.tell,
        decode=world.decode if plan.values else None,
        encode=world.encode if plan.values else None,
    )


def caught(world: World, call: Callable[..., object], *arguments: Any) -> None:
    """Note the result or the exception of a call."""
    try:
        world.done.append(call(*arguments))
    except (Fault, KeyboardInterrupt, StopIteration, MemoryError, RuntimeError) as error:
        world.done.append(type(error))


def answered(twin: Twin, plan: Plan) -> list[object]:
    """Run a plan on an answerer; each call starts where the last one has stopped."""
    world = World(plan)
    answerer = made(twin, plan, world)
    world.call = lambda data: caught(world, answerer, world.as_read(data, twin), 0, len(data))
    at = 0
    for end in plan.ends:
        data = plan.data[:end]
        caught(world, answerer, world.as_read(data, twin), at, end)
        at = min(answerer.position, end)
        world.done.append((answerer.position, answerer.count, left_of(answerer)))
    world.close()
    return world.done


def shortened(twin: Twin, plan: Plan) -> list[object]:
    """Run a plan on a responder; each call gets one piece."""
    world = World(plan)
    answerer = made(twin, plan, world)

    def write(data: bytes) -> None:
        world.tell("write", data)

    def write_framed(header: bytes, payload: Payload) -> None:
        write(header + (payload.encode() if isinstance(payload, str) else payload))

    def leave(data: Any, size: int, answers: bytes) -> None:
        world.tell("leave", bytes(data), size, answers, answerer.position, answerer.count, left_of(answerer))

    def settle() -> None:
        world.unsettled.clear()
        world.tell("settle")

    def wait(left: Any) -> None:
        world.done.append(("wait", left[0], left[3][1]))

    framed = write_framed if plan.framed else None
    take = twin[1](answerer, world.unsettled, settle, write, leave, framed, wait if plan.waits else None)
    world.responder = take
    world.call = lambda data: caught(world, take, world.as_read(data, twin), len(data))
    begin = 0
    for end in plan.ends:
        world.call(plan.data[begin:end])
        begin = end
        world.done.append(
            (take.sent_bytes, take.received_bytes, take.closed, [whole(piece) for piece in world.unsettled])
        )
    world.close()
    return world.done


def whole(piece: Unsettled) -> bytes | int:
    """Join a frame that was noted as header and payload."""
    if not isinstance(piece, tuple):
        return piece
    header, payload = piece
    return header + (payload.encode() if isinstance(payload, str) else payload)


@pytest.mark.parametrize("way", [answered, shortened])
@given(plan=plans(acts))
def test_both_twins_do_the_same_and_nothing_leaks(way: Callable[[Twin, Plan], list[object]], plan: Plan) -> None:
    assert way(NATIVE, plan) == way(PYTHON, plan)
    assert_nothing_stays(lambda: way(NATIVE, plan), [*REPLIES, TOKEN, plan.data])


@pytest.mark.parametrize("way", [answered, shortened])
@given(plan=plans(reentering))
def test_a_nested_call_does_no_harm(way: Callable[[Twin, Plan], list[object]], plan: Plan) -> None:
    """The result is not checked: both calls move the same position."""
    assert_nothing_stays(lambda: way(NATIVE, plan), [*REPLIES, TOKEN, plan.data])


@given(
    data=streams(),
    at=st.sampled_from(PLACES) | st.integers(-2, 40),
    end=st.sampled_from(PLACES) | st.integers(-2, 40),
)
def test_nothing_is_read_outside_the_bytes_at_any_positions(data: bytes, at: int, end: int) -> None:
    plan = Plan(data, [], [("echo", None)], None, False, False, 100, 100, [], False)
    way: Any = made(NATIVE, plan, World(plan))
    take: Any = NATIVE[1](way, [], print, len, lambda data, size, answers: None)
    for call in (partial(way, exact(data), at, end), partial(take, exact(data), end)):
        with suppress(ValueError):
            call()


@given(data=streams(), limit=st.sampled_from(LIMITS))
def test_only_frames_that_the_frame_reader_returns_are_handled(data: bytes, limit: int) -> None:
    told: list[object] = []

    def handle(message: Payload) -> str:
        told.append((Kind.MESSAGE, message))
        return ""

    def acknowledge(count: int) -> None:
        told.append((Kind.ACK, count.to_bytes(COUNT_SIZE, "big")))

    answerer: Any = BatchAnswerer(handle, None, TOKEN, limit, 0, acknowledge=acknowledge)
    answerer(exact(data), 0, len(data))
    rules = limits(Side.CLIENT, Phase.SESSION, limit)
    reader = FrameReader(rules)
    reader.admit(rules, TOKEN)
    reader.feed(data)
    for it in told:
        frame = reader.next()
        assert isinstance(frame, Frame)
        assert (frame.kind, frame.payload) == it
