"""The client's exchange: both twins do the same, take only the answer that is due, and leave everything else.

`make fuzz` runs this over parts in C that are compiled with sanitizers.
"""

import asyncio
import struct
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.conversation import LAST_ID, ServerConversation
from antiphon.wire.exchange import Exchange, Loop, PythonExchange, Wire
from antiphon.wire.frames import encode, encode_message
from antiphon.wire.kinds import Flag, Kind
from support.leaks import assert_no_block_stays, assert_nothing_stays
from support.wire_strategies import TOKEN

SERVER = ServerConversation()
LIMIT = 100
ACK_EVERY = 1000
Settled = tuple[int, int, Any]


class Stop(Exception):
    """What a task that is cancelled gets; not asyncio's, so that it is seen where it comes from."""


class Side:
    """An exchange with a connection, and a loop of its own or a real one; it notes what it is told."""

    def __init__(self, twin: Any, real: asyncio.AbstractEventLoop | None = None) -> None:
        self.written: list[bytes] = []
        self.settled: list[Settled] = []
        self.soon: list[object] = []
        self.forks: list[None] = []
        self.closing = False
        self.fails: BaseException | None = None
        loop = Loop(self, self.call_soon, lambda _: None, Stop, _raise)
        if real is not None:
            loop = Loop(real, real.call_soon, asyncio.current_task, asyncio.CancelledError, _raise)
        wire = Wire(self.write, lambda: self.closing, TOKEN, LIMIT, LIMIT, ACK_EVERY, self.forks)
        self.exchange = twin(loop, wire, lambda *counts: self.settled.append(counts))
        self.exchange.enter(0, 0)

    def call_soon(self, function: object, *_: object, context: object = None) -> None:
        self.soon.append((function, context))

    def write(self, frame: bytes) -> None:
        self.written.append(frame)
        if self.fails is not None:
            raise self.fails


def _raise(error: BaseException) -> None:
    raise error


@pytest.fixture(params=[PythonExchange, Exchange], ids=["python", "native"])
def twin(request: pytest.FixtureRequest) -> Any:
    """Return each twin; without a compiler, the one in Python twice."""
    return request.param


@pytest.fixture
def side(twin: Any) -> Side:
    """Return a side with an open exchange."""
    return Side(twin)


# --- asking -------------------------------------------------------------------------------------------------


def test_a_message_is_sent_with_the_token_and_the_next_id(side: Side) -> None:
    asking = side.exchange.ask("hello")
    assert side.written == [encode_message(1, "hello", token=TOKEN)]
    assert (asking.id, asking.message, asking.size, asking.answers) == (1, "hello", 5, None)
    assert side.exchange.take(SERVER.answer(1, "world"))
    assert asking.done()
    assert asking.result() == "world"
    side.exchange.ask("я".encode())
    assert side.written[1] == encode_message(2, "я".encode(), token=TOKEN)


def test_the_ids_begin_anew_behind_the_last_one(side: Side) -> None:
    side.exchange.leave()
    side.exchange.enter(LAST_ID, 0)
    assert side.exchange.ask("hello").id == 1


class Text(str):
    """A subclass of `str`."""

    __slots__ = ()


@pytest.mark.parametrize(
    "message",
    [Text("x"), "x" * (LIMIT + 1), b"x" * (LIMIT + 1), "я" * LIMIT, "half \ud800", None, 3, bytearray(b"x")],
)
def test_an_unusual_message_is_left_to_the_caller(side: Side, message: object) -> None:
    assert side.exchange.ask(message) is None
    assert side.written == []
    assert side.exchange.ask("x" * LIMIT).id == 1


def test_nothing_is_sent_beside_another_message(side: Side) -> None:
    side.exchange.ask("one")
    assert side.exchange.ask("two") is None
    assert len(side.written) == 1


@pytest.mark.parametrize("how", ["closed", "closing", "forked"])
def test_nothing_is_sent_where_nothing_may_be(side: Side, how: str) -> None:
    if how == "closed":
        side.exchange.leave()
    elif how == "forked":
        side.forks.append(None)
    else:
        side.closing = True
    assert side.exchange.ask("hello") is None
    assert side.written == []


def test_a_message_that_may_be_written_in_part_is_counted_and_cancelled(side: Side) -> None:
    side.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        side.exchange.ask("hello")
    [(answered, size, asking)] = side.settled
    assert (answered, size, asking.id, asking.cancelled) == (0, 0, 1, True)
    assert not side.exchange.open


# --- answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(SERVER.push("news"), id="no answer"),
        pytest.param(SERVER.part(1, "one of many"), id="an answer of many"),
        pytest.param(SERVER.end(1), id="an end"),
        pytest.param(encode(Kind.ERROR, 1, b"{}"), id="an error"),
        pytest.param(encode(Kind.HEARTBEAT, 0), id="a heartbeat"),
        pytest.param(encode(0x80, 1, b"optional"), id="an optional kind"),
        pytest.param(SERVER.answer(2, "other"), id="another message's answer"),
        pytest.param(SERVER.answer(1, "one") + SERVER.push("news"), id="more than the answer"),
        pytest.param(SERVER.answer(1, "one")[:-1], id="half a frame"),
        pytest.param(SERVER.answer(1, "")[:-1], id="half a header"),
        pytest.param(encode(Kind.MESSAGE, 1, b"\xff", Flag.TEXT | Flag.LAST), id="no UTF-8"),
        pytest.param(encode(Kind.MESSAGE, 1, b"x", 0x06), id="an unknown flag"),
        pytest.param(SERVER.answer(1, "x" * (LIMIT + 1)), id="too large"),
        pytest.param(struct.pack(">IBBHI", 8, Kind.MESSAGE, Flag.LAST, 1, 1), id="reserved bits"),
        pytest.param(struct.pack(">IBBHI", 7, Kind.MESSAGE, Flag.LAST, 0, 1), id="too short"),
        pytest.param(bytearray(SERVER.answer(1, "one")), id="no bytes"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_anything_else_ends_the_exchange_and_is_left_to_the_caller(side: Side, data: bytes) -> None:
    asking = side.exchange.ask("hello")
    assert not side.exchange.take(data)
    assert side.settled == [(0, 0, asking)]
    assert not asking.done()
    assert not side.exchange.open
    assert not side.exchange.take(SERVER.answer(1, "late"))


def test_what_comes_unasked_ends_the_exchange(side: Side) -> None:
    side.exchange.ask("hello")
    assert side.exchange.take(SERVER.answer(1, "x"))
    assert not side.exchange.take(SERVER.answer(1, "x"))
    assert side.settled == [(1, len(SERVER.answer(1, "x")), None)]


def test_an_ack_that_is_due_is_left_to_the_caller(side: Side) -> None:
    size = len(SERVER.answer(1, "x" * LIMIT))
    for id in range(1, ACK_EVERY // size + 1):
        side.exchange.ask("hello")
        assert side.exchange.take(SERVER.answer(id, "x" * LIMIT))
    asking = side.exchange.ask("hello")
    assert not side.exchange.take(SERVER.answer(asking.id, "x" * LIMIT))
    assert side.settled == [(asking.id - 1, (asking.id - 1) * size, asking)]


def test_what_was_not_acknowledged_before_counts_for_the_ack_too(side: Side) -> None:
    side.exchange.leave()
    size = len(SERVER.answer(1, "x"))
    side.exchange.enter(0, ACK_EVERY - 2 * size)
    side.exchange.ask("hello")
    assert side.exchange.take(SERVER.answer(1, "x"))
    side.exchange.ask("hello")
    assert not side.exchange.take(SERVER.answer(2, "x"))
    assert side.settled[1][:2] == (1, ACK_EVERY - size)


def test_the_exchange_is_left_once_and_counts_anew(side: Side) -> None:
    side.exchange.leave()
    side.exchange.leave()
    assert side.settled == [(0, 0, None)]
    side.exchange.enter(7, 0)
    assert side.exchange.ask("hello").id == 8


# --- the task that waits ------------------------------------------------------------------------------------


async def test_an_answer_resumes_its_task_at_once_and_in_its_own_context(twin: Any) -> None:
    loop = asyncio.get_running_loop()
    side, said, seen, at_once = Side(twin, loop), ContextVar("said", default="outside"), [], []

    async def ask() -> None:
        said.set("inside")
        for _ in range(2):
            answer = await side.exchange.ask("hello")
            seen.append((answer, said.get(), asyncio.current_task()))

    def come(id: int) -> None:
        assert side.exchange.take(SERVER.answer(id, f"answer {id}"))
        at_once.append((len(seen), said.get(), asyncio.current_task()))

    task = asyncio.create_task(ask())
    loop.call_soon(come, 1)
    loop.call_soon(come, 2)
    await task
    assert seen == [("answer 1", "inside", task), ("answer 2", "inside", task)]
    assert at_once == [(1, "outside", None), (2, "outside", None)]


async def test_within_another_task_an_answer_resumes_its_task_soon(twin: Any) -> None:
    side = Side(twin, asyncio.get_running_loop())
    task = asyncio.create_task(asked(side))
    await asyncio.sleep(0)
    assert side.exchange.take(SERVER.answer(1, "world"))
    assert not task.done()
    assert await task == "world"


async def test_where_the_context_is_in_use_an_answer_resumes_its_task_soon(twin: Any) -> None:
    loop = asyncio.get_running_loop()
    side, context = Side(twin, loop), copy_context()
    task = asyncio.create_task(asked(side), context=context)
    done_at_once = []

    def come() -> None:
        assert side.exchange.take(SERVER.answer(1, "world"))
        done_at_once.append(task.done())

    loop.call_soon(come, context=context)
    assert await task == "world"
    assert done_at_once == [False]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_program_is_raised_by_the_loop_and_not_by_the_connection(twin: Any, error: Any) -> None:
    taken = []

    async def ask(side: Side) -> None:
        await side.exchange.ask("hello")
        raise error

    async def main() -> None:
        loop = asyncio.get_running_loop()
        side = Side(twin, loop)
        task = asyncio.create_task(ask(side))
        loop.call_soon(lambda: taken.append(side.exchange.take(SERVER.answer(1, "world"))))
        await asyncio.wait({task})
        await asyncio.sleep(60)

    with pytest.raises(error):
        asyncio.run(main())
    assert taken == [True]


@pytest.mark.parametrize("error", [LookupError, RuntimeError])
async def test_what_a_step_raises_does_not_reach_the_connection(twin: Any, error: Any) -> None:
    loop, told, steps = asyncio.get_running_loop(), asyncio.Event(), []
    side = Side(twin, loop)

    def step(asking: Any) -> None:  # of a task of a third party
        steps.append(asking.result())
        raise error

    def report(_: object, context: Any) -> None:
        steps.append(type(context["exception"]))
        told.set()

    loop.set_exception_handler(report)
    asking = side.exchange.ask("hello")
    next(asking)
    asking.add_done_callback(step, context=copy_context())
    loop.call_soon(lambda: steps.append(side.exchange.take(SERVER.answer(1, "world"))))
    await told.wait()
    assert steps == ["world", True, error]
    await asyncio.sleep(0)
    assert len(steps) == 3


async def test_a_task_that_is_cancelled_while_it_waits_is_told_why(twin: Any) -> None:
    side = Side(twin, asyncio.get_running_loop())
    task = asyncio.create_task(asked(side))
    await asyncio.sleep(0)
    task.cancel("enough")
    assert not side.exchange.take(SERVER.answer(1, "late"))
    [(_, _, asking)] = side.settled
    assert asking.cancelled
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task


async def test_a_time_limit_ends_the_waiting(twin: Any) -> None:
    side = Side(twin, asyncio.get_running_loop())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asked(side), 0.001)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await Side(twin, asyncio.get_running_loop()).exchange.ask("hello")


async def test_after_the_exchange_was_left_the_task_is_woken_by_hand(twin: Any) -> None:
    side = Side(twin, asyncio.get_running_loop())
    task = asyncio.create_task(asked(side))
    await asyncio.sleep(0)
    side.exchange.leave()
    [(_, _, asking)] = side.settled
    asking.answers = ["the answer"]
    asking.wake()
    asking.wake()
    assert await task is None
    assert asking.answers == ["the answer"]


async def test_an_answer_that_is_there_at_once_is_returned_without_waiting(twin: Any) -> None:
    side = Side(twin, asyncio.get_running_loop())
    asking = side.exchange.ask("hello")
    assert side.exchange.take(SERVER.answer(1, b""))
    assert await asking == b""


async def test_only_one_task_may_wait(twin: Any) -> None:
    asking = Side(twin, asyncio.get_running_loop()).exchange.ask("hello")

    async def wait() -> object:
        return await asking

    first = asyncio.create_task(wait())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="twice"):
        await wait()
    first.cancel()


async def asked(side: Side) -> object:
    return await side.exchange.ask("hello")


# --- both twins ---------------------------------------------------------------------------------------------


def _flipped(frame: bytes, at: int, bit: int) -> bytes:
    return frame[:at] + bytes([frame[at] ^ 1 << bit]) + frame[at + 1 :] if at < len(frame) else frame


_answers = st.builds(SERVER.answer, st.integers(1, 4), st.sampled_from(["", "world", b"\xff", "я", "x" * LIMIT]))
_data = st.one_of(
    _answers,
    _answers,
    st.builds(_flipped, _answers, st.integers(0, 13), st.integers(0, 7)),
    st.builds(lambda frame, cut: frame[:-cut], _answers, st.integers(1, 13)),
    st.builds(lambda one, other: one + other, _answers, _answers),
)
_steps = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(["", "hello", b"hello", "я" * 60, "\ud800", None])),
    st.tuples(st.just("take"), _data),
    st.tuples(st.sampled_from(["leave", "enter", "await", "cancel", "wake"]), st.none()),
)


def play(twin: Any, steps: list[tuple[str, Any]]) -> list[object]:
    """Return all that can be seen of an exchange while steps are taken."""
    side, asking = Side(twin), None
    seen: list[object] = []
    context = copy_context()

    def awaited(told: Any) -> None:
        seen.append(("resumed", told is asking))

    for step, what in steps:
        result: object = None
        if step == "ask":
            asking = side.exchange.ask(what) or asking
        elif step == "take":
            result = side.exchange.take(what)
        elif step == "leave":
            side.exchange.leave()
        elif step == "enter":
            side.exchange.leave()
            side.exchange.enter(1, 900)
        elif asking is not None:
            try:
                if step == "await":
                    result = next(asking) is asking
                    asking.add_done_callback(awaited, context=context)
                else:
                    result = asking.cancel() if step == "cancel" else asking.wake()
            except (Stop, RuntimeError, StopIteration) as error:
                result = type(error), getattr(error, "value", str(error))
        state = asking and (asking.id, asking.message, asking.size, asking.done(), asking.cancelled)
        seen.append((step, result, state, side.exchange.open, len(side.soon)))
    settled = [(answered, size, pending and pending.id) for answered, size, pending in side.settled]
    if asking is not None:
        asking.cancel()
    side.settled.clear()  # no circles: the leak check would have to collect garbage each time
    side.soon.clear()
    del side.exchange
    return [seen, settled, side.written]


@given(steps=st.lists(_steps, max_size=12))
def test_both_twins_do_the_same_and_nothing_leaks(steps: list[tuple[str, Any]]) -> None:
    assert play(Exchange, steps) == play(PythonExchange, steps)
    assert_nothing_stays(lambda: play(Exchange, steps), [what for _, what in steps])


def test_the_garbage_collector_frees_an_exchange_with_a_message_on_its_way(twin: Any) -> None:
    def leave_behind() -> None:
        side = Side(twin)
        asking = side.exchange.ask("hello")
        asking.add_done_callback(partial(print, side, asking), context=copy_context())

    assert_no_block_stays(leave_behind)
