"""Answerer: both twins answer a batch alike, and only frames that the frame reader admits."""

import importlib.util
import sys
import time
from array import array
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.batch import BATCH_LIMIT, BatchAnswerer, PythonBatchAnswerer
from antiphon.wire.frames import Frame, FrameReader, Payload, encode, encode_message, split_frames
from antiphon.wire.kinds import TOKEN_SIZE, Flag, Kind, Phase, Side, limits
from antiphon.wire.times import counts_of, new_times
from support.leaks import assert_no_block_stays
from support.steps import stepping

TOKEN = bytes(range(TOKEN_SIZE))
OTHER = TOKEN[:-1] + b"!"
LIMIT = 100
TWINS: list[type] = list(dict.fromkeys([PythonBatchAnswerer, BatchAnswerer]))
"""Only the Python twin if no compiler was found."""

Twin = Callable[..., Any]
twins = pytest.mark.parametrize("twin", TWINS)


def echo(message: Payload) -> Payload:
    return message


def made(twin: Twin, handle: Callable[[Any], object] = echo, takes: type | None = None) -> Any:
    return twin(handle, takes, TOKEN, LIMIT, LIMIT)


def asked(answerer: Any, data: bytes | bytearray, at: int = 0) -> Any:
    return answerer(data, at, len(data))


def message(id: int, payload: Payload, token: bytes = TOKEN, flags: int = 0) -> bytes:
    return encode_message(id, payload, flags, token)


def test_the_twin_in_c_is_used_if_it_was_built() -> None:
    built = importlib.util.find_spec("antiphon.wire._batch") is not None
    assert ([PythonBatchAnswerer] != TWINS) == built


def test_the_python_twin_is_used_if_the_c_part_was_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "antiphon.wire._batch", None)
    again = importlib.util.find_spec("antiphon.wire.batch")
    assert again is not None
    assert again.loader is not None
    module = importlib.util.module_from_spec(again)
    again.loader.exec_module(module)
    assert module.BatchAnswerer is module.PythonBatchAnswerer


def ack(count: int, token: bytes = TOKEN, id: int = 0, flags: int = 0) -> bytes:
    return encode(Kind.ACK, id, count.to_bytes(8, "big"), flags, token)


class Clock:
    """A clock that stands still between two messages; each takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = 1000.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now

    def handle(self, message: Payload) -> Payload:
        self.now += self.seconds
        return message


@twins
@pytest.mark.parametrize(
    ("seconds", "answered", "looks"),
    [
        (1.0, 2, 2),  # the time begins after the first message
        (0.3, 8, 3),  # looked for after 1, 2 and 8
        (0.05, 32, 4),
        (0.02, 64, 5),
        (0.01, 128, 7),  # from 32 on after every 32
        (0.0, 200, 9),
    ],
)
def test_a_call_ends_when_the_time_of_the_turn_is_over(
    twin: Twin, seconds: float, answered: int, looks: int
) -> None:
    clock = Clock(seconds)
    answerer = twin(clock.handle, None, TOKEN, LIMIT, LIMIT, clock=clock)
    answerer.turn_seconds = 1.0
    frame = message(1, "x")
    assert asked(answerer, frame * 200) == encode_message(1, "x", Flag.LAST) * answered
    assert (answerer.count, answerer.position, answerer.unanswered) == (answered, answered * len(frame), None)
    assert clock.looks == looks
    assert answerer(frame * 200, answerer.position, 200 * len(frame)) != b"" or answered == 200


def timed(twin: Twin, clock: Clock, handle: Callable[[Any], object], **options: Any) -> tuple[Any, Any]:
    times = new_times([0.5, 1.5])
    answerer = twin(handle, None, TOKEN, LIMIT, LIMIT, clock=clock, times=times, **options)
    answerer.turn_seconds = 100.0
    return answerer, times


@twins
@pytest.mark.parametrize("messages", [1, 2, 3, 50])
def test_the_time_of_each_message_is_noted(twin: Twin, messages: int) -> None:
    clock = Clock(1.0)
    answerer, times = timed(twin, clock, clock.handle)
    asked(answerer, message(1, "x") * messages)
    assert (counts_of(times), times[-1], answerer.seconds) == ([0, messages, 0], messages, messages)
    answerer(b"", 0, 0)
    assert (counts_of(times), times[-1], answerer.seconds) == ([0, messages, 0], messages, messages)


@twins
@pytest.mark.parametrize("before", [0, 1, 2, 5])
def test_a_message_without_an_answer_is_left_to_the_caller_with_its_beginning(twin: Twin, before: int) -> None:
    clock = Clock(1.0)

    def handle(text: Payload) -> Payload:
        clock.handle(text)
        if text == "fails":
            raise ValueError
        return text

    answerer, times = timed(twin, clock, handle)
    asked(answerer, message(1, "x") * before + message(2, "fails"))
    assert answerer.unanswered is not None
    assert sum(counts_of(times)) == before
    assert times[-1] + clock.now - answerer.began == before + 1


@twins
def test_the_system_clock_is_the_one_that_the_caller_reads(twin: Twin) -> None:
    before = time.perf_counter()
    answerer = twin(echo, None, TOKEN, LIMIT, LIMIT, clock=time.perf_counter, times=new_times([1.0]))
    asked(answerer, message(1, "x"))
    assert before <= answerer.began <= time.perf_counter()


@twins
def test_times_that_are_no_array_of_doubles_are_refused(twin: Twin) -> None:
    if twin is not PythonBatchAnswerer:
        for wrong in (array("f", [0.0] * 4), array("d", [0.0]), b"12345678" * 2):
            with pytest.raises((TypeError, BufferError)):
                twin(echo, None, TOKEN, LIMIT, LIMIT, clock=Clock(0.0), times=wrong)


@twins
def test_acks_count_for_the_time_of_the_turn(twin: Twin) -> None:
    clock = Clock(1.0)
    answerer = twin(clock.handle, None, TOKEN, LIMIT, LIMIT, acknowledge=clock.handle, clock=clock)
    assert asked(answerer, ack(1) * 100) == b""
    assert (answerer.position, answerer.count) == (2 * len(ack(1)), 0)


@twins
def test_one_message_needs_no_look_at_the_clock(twin: Twin) -> None:
    clock = Clock(1.0)
    answerer = twin(clock.handle, None, TOKEN, LIMIT, LIMIT, clock=clock)
    assert asked(answerer, message(1, "x")) == encode_message(1, "x", Flag.LAST)
    assert clock.looks == 0


@twins
def test_what_the_clock_raises_leaves_the_call(twin: Twin) -> None:
    def broken() -> float:
        raise OSError("no clock")

    answerer = twin(echo, None, TOKEN, LIMIT, LIMIT, clock=broken)
    with pytest.raises(OSError, match="no clock"):
        asked(answerer, message(1, "x") * 2)


@twins
def test_acks_between_messages_are_passed_on_in_order(twin: Twin) -> None:
    told: list[object] = []
    answerer = twin(told.append, None, TOKEN, LIMIT, LIMIT, acknowledge=told.append)
    data = ack(2**64 - 1) + ack(3)
    assert (asked(answerer, data), answerer.position, answerer.count) == (b"", len(data), 0)

    def yes(message: Payload) -> str:
        told.append(message)
        return "yes"

    answerer = twin(yes, None, TOKEN, LIMIT, LIMIT, acknowledge=told.append)
    data = ack(4) + message(1, "one") + ack(5) + message(2, "two")
    assert asked(answerer, data) == encode_message(1, "yes", Flag.LAST) + encode_message(2, "yes", Flag.LAST)
    assert (told, answerer.position, answerer.count) == ([2**64 - 1, 3, 4, "one", 5, "two"], len(data), 2)


@twins
@pytest.mark.parametrize(
    "odd",
    [ack(1)[:-1], ack(1, OTHER), ack(1, id=1), ack(1, flags=1), encode(Kind.ACK, 0, bytes(7), token=TOKEN)],
    ids=["cut", "another token", "id", "flags", "short"],
)
def test_an_invalid_ack_is_left(twin: Twin, odd: bytes) -> None:
    told: list[int] = []
    answerer = twin(echo, None, TOKEN, LIMIT, LIMIT, acknowledge=told.append)
    assert (asked(answerer, odd), answerer.position, told) == (b"", 0, [])


@twins
def test_an_ack_is_left_without_acknowledge(twin: Twin) -> None:
    answerer = made(twin)
    assert (asked(answerer, ack(1)), answerer.position) == (b"", 0)


@twins
@pytest.mark.parametrize(("given", "is_left"), [(False, True), (None, False), (0, False), (True, False)])
def test_an_ack_is_left_for_which_acknowledge_returns_false(twin: Twin, given: object, is_left: bool) -> None:
    answerer = twin(echo, None, TOKEN, LIMIT, LIMIT, acknowledge=lambda count: given)
    first, last = message(1, "one"), message(2, "two")
    data = first + ack(3) + last
    asked_now = asked(answerer, data)
    answers = [encode_message(1, "one", Flag.LAST), encode_message(2, "two", Flag.LAST)]
    assert asked_now == b"".join(answers[: 1 if is_left else 2])
    assert (answerer.count, answerer.unanswered) == (1 if is_left else 2, None)
    assert answerer.position == (len(first) if is_left else len(data))


@twins
def test_an_exception_of_acknowledge_leaves_the_call(twin: Twin) -> None:
    def boom(count: int) -> None:
        raise RuntimeError

    answerer = twin(echo, None, TOKEN, LIMIT, LIMIT, acknowledge=boom)
    with pytest.raises(RuntimeError):
        asked(answerer, ack(1))
    assert answerer.position == 0


@pytest.mark.parametrize("twin", TWINS[1:])
@pytest.mark.parametrize(("at", "end"), [(-1, 5), (0, 6), (2**63 - 1, -2)])
def test_the_twin_in_c_refuses_positions_outside_the_bytes(twin: Twin, at: int, end: int) -> None:
    with pytest.raises(ValueError, match="not within"):
        made(twin)(b"short", at, end)


@twins
def test_messages_are_answered_in_order_each_under_its_id(twin: Twin) -> None:
    answerer = made(twin)
    data = message(1, "one") + message(7, b"\xff") + message(2**32 - 1, "три")
    answers = answerer(data, 0, len(data))
    assert list(split_frames(answers)) == [
        encode_message(1, "one", Flag.LAST),
        encode_message(7, b"\xff", Flag.LAST),
        encode_message(2**32 - 1, "три", Flag.LAST),
    ]
    assert (answerer.position, answerer.count, answerer.unanswered) == (len(data), 3, None)


@twins
def test_it_starts_at_the_given_position_and_takes_a_bytearray(twin: Twin) -> None:
    answerer = made(twin)
    first = message(1, "one")
    data = bytearray(first + message(2, "two") + b"\0\0")
    assert asked(answerer, data, len(first)) == encode_message(2, "two", Flag.LAST)
    assert (answerer.position, answerer.count) == (len(data) - 2, 1)
    data += b"it may grow again"


ODD = {
    "a wrong token": message(2, "x", OTHER),
    "no token": encode_message(2, "x"),
    "text that is no UTF-8": encode(Kind.MESSAGE, 2, b"\xff", Flag.TEXT, TOKEN),
    "too large": message(2, "x" * (LIMIT + 1)),
    "no id": message(0, "x"),
    "another kind": encode(Kind.CANCEL, 2, token=TOKEN),
    "an unknown flag": message(2, "x", flags=4),
    "reserved bits": message(2, "x")[:7] + b"\1" + message(2, "x")[8:],
    "other reserved bits": message(2, "x")[:6] + b"\1" + message(2, "x")[7:],
    "shorter than a token": encode(Kind.MESSAGE, 2, b"", 0, TOKEN[:-1]),
    "a length that is all ones": b"\xff\xff\xff\xff" + message(2, "x")[4:],
    "a length of nothing": b"\0\0\0\0" + message(2, "x")[4:],
    "a length of nothing before bytes": b"\0\0\0\0" + message(2, b"x")[4:],
}


@twins
@pytest.mark.parametrize("odd", ODD)
def test_an_unusual_frame_is_left_with_everything_after_it(twin: Twin, odd: str) -> None:
    answerer = made(twin)
    first = message(1, "one")
    assert asked(answerer, first + ODD[odd] + message(3, "three") * 4) == encode_message(1, "one", Flag.LAST)
    assert (answerer.position, answerer.count, answerer.unanswered) == (len(first), 1, None)


@twins
@pytest.mark.parametrize("at", range(TOKEN_SIZE))
def test_every_byte_of_a_token_is_compared(twin: Twin, at: int) -> None:
    other = TOKEN[:at] + bytes([TOKEN[at] ^ 0x80]) + TOKEN[at + 1 :]
    told: list[object] = []
    answerer = twin(told.append, None, TOKEN, LIMIT, LIMIT, acknowledge=told.append)
    for odd in (message(1, "x", other), ack(1, other)):
        assert (asked(answerer, odd), answerer.position, told) == (b"", 0, [])


@twins
@pytest.mark.parametrize("at", range(20))
def test_every_byte_of_a_text_is_checked(twin: Twin, at: int) -> None:
    around = b"a" * at, b"b" * (20 - at)
    whole, bad = "я".encode().join(around), b"\xff".join(around)
    assert asked(made(twin), message(1, whole.decode())) == encode_message(1, whole.decode(), Flag.LAST)
    answerer = made(twin)
    assert (asked(answerer, encode(Kind.MESSAGE, 1, bad, Flag.TEXT, TOKEN)), answerer.position) == (b"", 0)


@twins
@pytest.mark.parametrize("size", range(len(message(2, "hello"))))
def test_half_a_frame_is_left(twin: Twin, size: int) -> None:
    answerer = made(twin)
    first = message(1, "one")
    assert asked(answerer, first + message(2, "hello")[:size]) == encode_message(1, "one", Flag.LAST)
    assert (answerer.position, answerer.count, answerer.unanswered) == (len(first), 1, None)


LEFT: list[object] = [None, 3, "x" * (LIMIT + 1), b"x" * (LIMIT + 1), "\ud800", bytearray(b"x"), ["x"]]


@twins
@pytest.mark.parametrize("reply", LEFT, ids=repr)
def test_a_reply_that_is_no_answer_is_left_to_the_caller(twin: Twin, reply: object) -> None:
    replies = {"one": "1", "two": reply, "three": "3"}
    answerer = made(twin, lambda message: replies[message])
    data = message(1, "one") + message(2, "two")
    assert asked(answerer, data + message(3, "three")) == encode_message(1, "1", Flag.LAST)
    assert (answerer.position, answerer.count) == (len(data), 2)
    assert answerer.unanswered == (2, reply, None, None)
    assert asked(answerer, data + message(3, "three"), len(data)) == encode_message(3, "3", Flag.LAST)
    assert answerer.unanswered is None


@twins
def test_a_message_and_an_answer_may_have_the_size_of_the_limit(twin: Twin) -> None:
    assert asked(made(twin), message(1, "x" * LIMIT)) == encode_message(1, "x" * LIMIT, Flag.LAST)


class Odd(str):
    """A subclass of `str`, which may override its methods."""

    __slots__ = ()


@twins
def test_a_subclass_of_str_is_left(twin: Twin) -> None:
    answerer = made(twin, Odd)
    assert asked(answerer, message(1, "one")) == b""
    assert answerer.unanswered == (1, "one", None, None)


@twins
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_of_the_handler_is_left_with_its_traceback(twin: Twin, kind: type[BaseException]) -> None:
    def raises(message: Payload) -> Payload:
        if message == "two":
            raise kind("why")
        return message

    answerer = made(twin, raises)
    assert asked(answerer, message(1, "one") + message(2, "two")) == encode_message(1, "one", Flag.LAST)
    id, reply, error, _ = answerer.unanswered
    assert (id, reply, type(error), error.args) == (2, None, kind, ("why",))
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    assert trace.tb_frame.f_code is raises.__code__


@twins
def test_a_handler_of_text_gets_text_only(twin: Twin) -> None:
    answerer = made(twin, takes=str)
    first = message(1, "one")
    assert asked(answerer, first + message(2, b"two")) == encode_message(1, "one", Flag.LAST)
    assert answerer.position == len(first)


@twins
def test_a_handler_of_bytes_gets_the_utf8_of_text(twin: Twin) -> None:
    answerer = made(twin, takes=bytes)
    assert asked(answerer, message(1, "три")) == encode_message(1, "три".encode(), Flag.LAST)
    bad = encode(Kind.MESSAGE, 2, b"\xff", Flag.TEXT, TOKEN)
    assert (asked(answerer, bad), answerer.position) == (b"", 0)


@twins
def test_it_stops_when_the_answers_reach_the_batch_limit(twin: Twin) -> None:
    answerer = twin(lambda message: "x" * 30_000, None, TOKEN, LIMIT, 30_000)
    data = message(1, "x") * 10
    answers = answerer(data, 0, len(data))
    assert answerer.count == 3
    assert BATCH_LIMIT <= len(answers) < BATCH_LIMIT + 30_012
    assert answerer.position == len(data) * 3 // 10


@twins
def test_a_token_of_another_size_is_refused(twin: Twin) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        twin(echo, None, TOKEN[:-1], LIMIT, LIMIT)


@pytest.mark.parametrize("twin", TWINS[1:])
def test_the_twin_in_c_cannot_be_made_without_arguments(twin: Any) -> None:
    with pytest.raises(TypeError):
        twin.__new__(twin)


@twins
def test_no_reference_to_an_answer_stays(twin: Twin) -> None:
    answer = b"an answer that is held here only"
    answerer = made(twin, lambda _: answer)
    before = sys.getrefcount(answer)
    for _ in range(100):
        asked(answerer, message(1, "one") * 3)
    assert sys.getrefcount(answer) == before


@twins
def test_no_reference_stays_to_what_a_nested_call_has_left(twin: Twin) -> None:
    left = ["no answer"]

    def handle(message: Payload) -> object:
        if message == "outer":
            asked(answerer, message_within)
        return left

    answerer = made(twin, handle)
    message_within, data = message(1, "inner"), message(2, "outer")
    before = sys.getrefcount(left)
    asked(answerer, data)
    asked(answerer, b"")
    assert sys.getrefcount(left) == before


@twins
def test_nothing_leaks(twin: Twin) -> None:
    class Fault(Exception):
        pass

    class Large:
        def __await__(self) -> Generator[object, object, object]:
            return (yield [self])

    async def waits() -> str:
        await Large()
        return "done"

    def handle(message: Payload) -> object:
        if message == b"fault":
            raise Fault
        if message == b"coroutine":
            return waits()
        return None if message == b"none" else message

    def once() -> None:
        answerer = twin(handle, bytes, TOKEN, LIMIT, LIMIT, stepping=stepping(), acknowledge=lambda count: count)
        for payload in (b"fault", b"coroutine", b"none", b"x" * LIMIT):
            asked(answerer, ack(2**40) + message(1, "text") * 3 + message(2, payload))
            if payload == b"coroutine":
                answerer.unanswered[1].close()

    assert_no_block_stays(once)


@twins
def test_without_stepping_a_coroutine_is_left(twin: Twin) -> None:
    async def answer(message: str) -> str:
        return message

    answerer = made(twin, answer)
    asked(answerer, message(1, "one"))
    id, coroutine, error, waits_for = answerer.unanswered
    assert (id, error, waits_for) == (1, None, None)
    coroutine.close()


payloads = st.one_of(st.text(max_size=20), st.binary(max_size=LIMIT))
frames = st.one_of(
    st.builds(message, st.integers(0, 2**32 - 1), payloads),
    st.builds(message, st.integers(1, 3), payloads, st.sampled_from([TOKEN, OTHER, TOKEN[1:]])),
    st.sampled_from(list(ODD.values())),
    st.binary(max_size=40),
)


def replies(message: Payload) -> object:
    """Return no answer now and then; then `unanswered` is compared."""
    return {0: message, 1: None, 2: "x" * len(message) * 9}[hash_of(message)]


def hash_of(message: Payload) -> int:
    return [0, 0, 0, 0, 0, 1, 2][sum(message.encode() if isinstance(message, str) else message) % 7]


@given(st.lists(frames, max_size=12).map(b"".join), st.sampled_from([None, str, bytes]), st.data())
def test_both_twins_do_the_same_with_any_bytes(data: bytes, takes: type | None, more: st.DataObject) -> None:
    at = more.draw(st.sampled_from([0, len(data)]))
    told = []
    for twin in TWINS:
        answerer = made(twin, replies, takes)
        told.append((answerer(data, at, len(data)), answerer.position, answerer.count, answerer.unanswered))
    assert told == told[:1] * len(TWINS)


@twins
@given(data=st.lists(frames, max_size=12).map(b"".join))
def test_only_messages_that_the_frame_reader_returns_are_answered(twin: Twin, data: bytes) -> None:
    given: list[Payload] = []

    def remember(message: Payload) -> Payload:
        given.append(message)
        return message

    answerer = made(twin, remember)
    answerer(data, 0, len(data))
    reader = FrameReader(limits(Side.CLIENT, Phase.SESSION, LIMIT))
    reader.admit(limits(Side.CLIENT, Phase.SESSION, LIMIT), TOKEN)
    reader.feed(data)
    for payload in given:
        frame = reader.next()
        assert isinstance(frame, Frame)
        assert (frame.kind, frame.payload) == (Kind.MESSAGE, payload)
