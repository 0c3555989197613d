"""A whole batch answered in one step: the twins do the same, and what the gate does."""

import gc
import importlib.util
import sys
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.answering import BATCH_LIMIT, Answerer, PythonAnswerer
from antiphon.wire.frames import Frame, FrameReader, Payload, encode, encode_message, split
from antiphon.wire.kinds import TOKEN_SIZE, Flag, Kind, Phase, Side, limits

TOKEN = bytes(range(TOKEN_SIZE))
OTHER = TOKEN[:-1] + b"!"
LIMIT = 100
TWINS: list[type] = list(dict.fromkeys([PythonAnswerer, Answerer]))
"""One of them where no compiler was found."""

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


def test_the_native_twin_is_the_one_in_use_where_it_was_built() -> None:
    built = importlib.util.find_spec("antiphon.wire._answering") is not None
    assert ([PythonAnswerer] != TWINS) == built


def test_where_it_was_not_built_the_other_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "antiphon.wire._answering", None)
    again = importlib.util.find_spec("antiphon.wire.answering")
    assert again is not None
    assert again.loader is not None
    module = importlib.util.module_from_spec(again)
    again.loader.exec_module(module)
    assert module.Answerer is module.PythonAnswerer


def ack(count: int, token: bytes = TOKEN, id: int = 0, flags: int = 0) -> bytes:
    return encode(Kind.ACK, id, count.to_bytes(8, "big"), flags, token)


@twins
def test_acknowledgements_among_messages_are_passed_on_in_order(twin: Twin) -> None:
    told: list[object] = []
    answerer = twin(told.append, None, TOKEN, LIMIT, LIMIT, acknowledge=told.append)
    data = ack(2**64 - 1) + ack(3)
    assert (asked(answerer, data), answerer.at, answerer.count) == (b"", len(data), 0)

    def yes(message: Payload) -> str:
        told.append(message)
        return "yes"

    answerer = twin(yes, None, TOKEN, LIMIT, LIMIT, acknowledge=told.append)
    data = ack(4) + message(1, "one") + ack(5) + message(2, "two")
    assert asked(answerer, data) == encode_message(1, "yes", Flag.LAST) + encode_message(2, "yes", Flag.LAST)
    assert (told, answerer.at, answerer.count) == ([2**64 - 1, 3, 4, "one", 5, "two"], len(data), 2)


@twins
@pytest.mark.parametrize(
    "odd",
    [ack(1)[:-1], ack(1, OTHER), ack(1, id=1), ack(1, flags=1), encode(Kind.ACK, 0, bytes(7), token=TOKEN)],
    ids=["cut", "another token", "id", "flags", "short"],
)
def test_an_acknowledgement_that_is_not_as_it_should_be_is_left(twin: Twin, odd: bytes) -> None:
    told: list[int] = []
    answerer = twin(echo, None, TOKEN, LIMIT, LIMIT, acknowledge=told.append)
    assert (asked(answerer, odd), answerer.at, told) == (b"", 0, [])


@twins
def test_an_acknowledgement_is_left_where_nobody_takes_it(twin: Twin) -> None:
    answerer = made(twin)
    assert (asked(answerer, ack(1)), answerer.at) == (b"", 0)


@twins
def test_what_taking_an_acknowledgement_raises_is_not_swallowed(twin: Twin) -> None:
    def boom(count: int) -> None:
        raise RuntimeError

    answerer = twin(echo, None, TOKEN, LIMIT, LIMIT, acknowledge=boom)
    with pytest.raises(RuntimeError):
        asked(answerer, ack(1))
    assert answerer.at == 0


@pytest.mark.parametrize("twin", TWINS[1:])
@pytest.mark.parametrize(("at", "end"), [(-1, 5), (0, 6), (2**63 - 1, -2)])
def test_the_native_twin_reads_nothing_around_the_bytes(twin: Twin, at: int, end: int) -> None:
    with pytest.raises(ValueError, match="not within"):
        made(twin)(b"short", at, end)


@twins
def test_messages_are_answered_in_order_each_under_its_id(twin: Twin) -> None:
    answerer = made(twin)
    data = message(1, "one") + message(7, b"\xff") + message(2**32 - 1, "три")
    answers = answerer(data, 0, len(data))
    assert list(split(answers)) == [
        encode_message(1, "one", Flag.LAST),
        encode_message(7, b"\xff", Flag.LAST),
        encode_message(2**32 - 1, "три", Flag.LAST),
    ]
    assert (answerer.at, answerer.count, answerer.left) == (len(data), 3, None)


@twins
def test_it_begins_where_it_is_told_and_takes_a_bytearray(twin: Twin) -> None:
    answerer = made(twin)
    first = message(1, "one")
    data = bytearray(first + message(2, "two") + b"\0\0")
    assert asked(answerer, data, len(first)) == encode_message(2, "two", Flag.LAST)
    assert (answerer.at, answerer.count) == (len(data) - 2, 1)
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
def test_whatever_is_odd_is_left_alone_with_all_that_follows(twin: Twin, odd: str) -> None:
    answerer = made(twin)
    first = message(1, "one")
    assert asked(answerer, first + ODD[odd] + message(3, "three") * 4) == encode_message(1, "one", Flag.LAST)
    assert (answerer.at, answerer.count, answerer.left) == (len(first), 1, None)


@twins
@pytest.mark.parametrize("at", range(TOKEN_SIZE))
def test_every_byte_of_a_token_counts(twin: Twin, at: int) -> None:
    other = TOKEN[:at] + bytes([TOKEN[at] ^ 0x80]) + TOKEN[at + 1 :]
    told: list[object] = []
    answerer = twin(told.append, None, TOKEN, LIMIT, LIMIT, acknowledge=told.append)
    for odd in (message(1, "x", other), ack(1, other)):
        assert (asked(answerer, odd), answerer.at, told) == (b"", 0, [])


@twins
@pytest.mark.parametrize("at", range(20))
def test_every_byte_of_a_text_is_looked_at(twin: Twin, at: int) -> None:
    around = b"a" * at, b"b" * (20 - at)
    whole, bad = "я".encode().join(around), b"\xff".join(around)
    assert asked(made(twin), message(1, whole.decode())) == encode_message(1, whole.decode(), Flag.LAST)
    answerer = made(twin)
    assert (asked(answerer, encode(Kind.MESSAGE, 1, bad, Flag.TEXT, TOKEN)), answerer.at) == (b"", 0)


@twins
@pytest.mark.parametrize("size", range(len(message(2, "hello"))))
def test_half_a_frame_waits_for_its_other_half(twin: Twin, size: int) -> None:
    answerer = made(twin)
    first = message(1, "one")
    assert asked(answerer, first + message(2, "hello")[:size]) == encode_message(1, "one", Flag.LAST)
    assert (answerer.at, answerer.count, answerer.left) == (len(first), 1, None)


LEFT: list[object] = [None, 3, "x" * (LIMIT + 1), b"x" * (LIMIT + 1), "\ud800", bytearray(b"x"), ["x"]]


@twins
@pytest.mark.parametrize("reply", LEFT, ids=repr)
def test_what_is_no_answer_at_once_is_left_to_the_caller(twin: Twin, reply: object) -> None:
    replies = {"one": "1", "two": reply, "three": "3"}
    answerer = made(twin, lambda message: replies[message])
    data = message(1, "one") + message(2, "two")
    assert asked(answerer, data + message(3, "three")) == encode_message(1, "1", Flag.LAST)
    assert (answerer.at, answerer.count) == (len(data), 2)
    assert answerer.left == (2, reply, None, None)
    assert asked(answerer, data + message(3, "three"), len(data)) == encode_message(3, "3", Flag.LAST)
    assert answerer.left is None


@twins
def test_a_message_and_an_answer_of_the_limit_pass(twin: Twin) -> None:
    assert asked(made(twin), message(1, "x" * LIMIT)) == encode_message(1, "x" * LIMIT, Flag.LAST)


class Odd(str):
    """No exact `str`: it may say one thing and be another."""

    __slots__ = ()


@twins
def test_a_kind_of_str_of_ones_own_is_left_too(twin: Twin) -> None:
    answerer = made(twin, Odd)
    assert asked(answerer, message(1, "one")) == b""
    assert answerer.left == (1, "one", None, None)


@twins
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_the_service_raises_is_left_with_its_traceback(twin: Twin, kind: type[BaseException]) -> None:
    def raises(message: Payload) -> Payload:
        if message == "two":
            raise kind("why")
        return message

    answerer = made(twin, raises)
    assert asked(answerer, message(1, "one") + message(2, "two")) == encode_message(1, "one", Flag.LAST)
    id, reply, error, _ = answerer.left
    assert (id, reply, type(error), error.args) == (2, None, kind, ("why",))
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    assert trace.tb_frame.f_code is raises.__code__


@twins
def test_a_service_of_text_is_given_text_only(twin: Twin) -> None:
    answerer = made(twin, takes=str)
    first = message(1, "one")
    assert asked(answerer, first + message(2, b"two")) == encode_message(1, "one", Flag.LAST)
    assert answerer.at == len(first)


@twins
def test_a_service_of_bytes_is_given_the_utf8_of_text(twin: Twin) -> None:
    answerer = made(twin, takes=bytes)
    assert asked(answerer, message(1, "три")) == encode_message(1, "три".encode(), Flag.LAST)
    bad = encode(Kind.MESSAGE, 2, b"\xff", Flag.TEXT, TOKEN)
    assert (asked(answerer, bad), answerer.at) == (b"", 0)


@twins
def test_the_caller_gets_a_look_when_there_are_many_answers(twin: Twin) -> None:
    answerer = twin(lambda message: "x" * 30_000, None, TOKEN, LIMIT, 30_000)
    data = message(1, "x") * 10
    answers = answerer(data, 0, len(data))
    assert answerer.count == 3
    assert BATCH_LIMIT <= len(answers) < BATCH_LIMIT + 30_012
    assert answerer.at == len(data) * 3 // 10


@twins
def test_a_token_has_its_size(twin: Twin) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        twin(echo, None, TOKEN[:-1], LIMIT, LIMIT)


@twins
def test_nothing_is_held_of_what_was_answered(twin: Twin) -> None:
    answer = b"an answer that is held here only"
    answerer = made(twin, lambda _: answer)
    before = sys.getrefcount(answer)
    for _ in range(100):
        asked(answerer, message(1, "one") * 3)
    assert sys.getrefcount(answer) == before


@twins
def test_nothing_is_held_of_what_a_call_within_has_left(twin: Twin) -> None:
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
def test_nothing_is_held_of_what_went_through(twin: Twin) -> None:
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
        answerer = twin(handle, bytes, TOKEN, LIMIT, LIMIT, steps=True, acknowledge=lambda count: count)
        for payload in (b"fault", b"coroutine", b"none", b"x" * LIMIT):
            asked(answerer, ack(2**40) + message(1, "text") * 3 + message(2, payload))
            if payload == b"coroutine":
                answerer.left[1].close()

    once()
    gc.collect()  # what others have left
    before = sys.getallocatedblocks()
    for _ in range(200):
        once()
    assert sys.getallocatedblocks() - before < 100


class Waits:
    """Something to be awaited that says what it yields."""

    def __await__(self) -> Generator[object, object, object]:
        return (yield "a future")


@twins
def test_a_coroutine_takes_its_first_step_where_that_is_wanted(twin: Twin) -> None:
    async def answer(message: str) -> str:
        if message == "two":
            await Waits()
        if message == "three":
            raise ValueError("why")
        return message.upper()

    answerer = twin(answer, None, TOKEN, LIMIT, LIMIT, steps=True)
    assert asked(answerer, message(1, "one") + message(2, "two")) == encode_message(1, "ONE", Flag.LAST)
    id, coroutine, error, waits_for = answerer.left
    assert (id, error, waits_for) == (2, None, ("a future",))
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value == "TWO"
    assert asked(answerer, message(3, "three")) == b""
    id, reply, error, waits_for = answerer.left
    assert (id, reply, type(error), waits_for) == (3, None, ValueError, None)


@twins
def test_elsewhere_a_coroutine_is_left_as_it_is(twin: Twin) -> None:
    async def answer(message: str) -> str:
        return message

    answerer = made(twin, answer)
    asked(answerer, message(1, "one"))
    id, coroutine, error, waits_for = answerer.left
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
    """Answer otherwise now and then; what is left is compared as it is."""
    return {0: message, 1: None, 2: "x" * len(message) * 9}[hash_of(message)]


def hash_of(message: Payload) -> int:
    return [0, 0, 0, 0, 0, 1, 2][sum(message.encode() if isinstance(message, str) else message) % 7]


@given(st.lists(frames, max_size=12).map(b"".join), st.sampled_from([None, str, bytes]), st.data())
def test_the_twins_do_the_same_with_whatever_comes(data: bytes, takes: type | None, more: st.DataObject) -> None:
    at = more.draw(st.sampled_from([0, len(data)]))
    told = []
    for twin in TWINS:
        answerer = made(twin, replies, takes)
        told.append((answerer(data, at, len(data)), answerer.at, answerer.count, answerer.left))
    assert told == told[:1] * len(TWINS)


@twins
@given(data=st.lists(frames, max_size=12).map(b"".join))
def test_what_is_answered_is_what_the_gate_lets_in(twin: Twin, data: bytes) -> None:
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
