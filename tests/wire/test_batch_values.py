"""Answerer and responder: values, decoded for the handler and encoded as JSON, alike in both twins."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Self

import pytest
from msgspec import Struct

from antiphon.wire.batch import (
    WAITING,
    BatchAnswerer,
    BatchResponder,
    PythonBatchAnswerer,
    PythonBatchResponder,
)
from antiphon.wire.frames import Payload, encode_message
from antiphon.wire.kinds import TOKEN_SIZE, Flag
from antiphon.wire.values import encode_json_into, shape_of
from support.steps import stepping

TOKEN = bytes(range(TOKEN_SIZE))
LIMIT = 2000
PAIRS = list(dict.fromkeys([(PythonBatchAnswerer, PythonBatchResponder), (BatchAnswerer, BatchResponder)]))
"""Answerer and responder; only the Python twins if no compiler was found."""

pairs = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)


class Order(Struct):
    item: str
    count: int = 1


ORDER = '{"item":"tea","count":2}'


@dataclass
class Stream:
    """A stream that is a dataclass: no value."""

    count: int = 1

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        raise StopAsyncIteration


def made(pair: Any, handle: Callable[[Any], object], **more: Any) -> Any:
    more = {"decode": shape_of(Order).decode, "encode": encode_json_into} | more
    return pair[0](handle, None, TOKEN, LIMIT, LIMIT, **more)


def message(id: int, payload: Payload) -> bytes:
    return encode_message(id, payload, 0, TOKEN)


def last(id: int, payload: Payload) -> bytes:
    return encode_message(id, payload, Flag.LAST)


def asked(answerer: Any, data: bytes) -> bytes:
    frames: bytes = answerer(data, 0, len(data))
    return frames


@pairs
def test_values_are_decoded_and_encoded(pair: Any) -> None:
    seen: list[Order] = []

    def handle(order: Order) -> Order:
        seen.append(order)
        order.count += 1
        return order

    answerer = made(pair, handle)
    data = message(1, ORDER) + message(2, ORDER.encode())
    assert asked(answerer, data) == last(1, '{"item":"tea","count":3}') + last(2, '{"item":"tea","count":3}')
    assert seen == [Order("tea", 3), Order("tea", 3)]
    assert (answerer.position, answerer.count, answerer.unanswered) == (len(data), 2, None)


@pairs
@pytest.mark.parametrize("payload", ["{}", "", b"\xff", "[" * 100_000])
def test_what_does_not_fit_is_left_unread_and_the_handler_is_not_called(pair: Any, payload: Payload) -> None:
    called: list[Order] = []
    answerer = pair[0](called.append, None, TOKEN, 2**20, LIMIT, decode=shape_of(Order).decode)
    data = message(1, payload) + message(2, ORDER)
    assert asked(answerer, data) == b""
    assert (answerer.position, answerer.count, answerer.unanswered, called) == (0, 0, None, [])


@pairs
@pytest.mark.parametrize(
    "reply", [object(), Stream(), None, bytearray(b"x"), memoryview(b"x"), [object()], "x" * 2001, ["x" * 2001]]
)
def test_what_is_no_value_or_cannot_be_encoded_or_is_too_large_is_left(pair: Any, reply: object) -> None:
    answerer = made(pair, lambda _: reply)
    assert asked(answerer, message(1, ORDER)) == b""
    id, left, error, waiting = answerer.unanswered
    assert (id, error, waiting) == (1, None, None)
    assert left is reply


@pairs
def test_streams_and_coroutines_are_no_values(pair: Any) -> None:
    async def stream(order: Order) -> AsyncIterator[Order]:
        yield order

    async def later(order: Order) -> Order:
        return order

    encoded: list[object] = []
    for handle in (stream, later):
        answerer = made(pair, handle, encode=lambda value, _: encoded.append(value))
        assert asked(answerer, message(1, ORDER)) == b""
        assert answerer.unanswered is not None
        if handle is later:
            answerer.unanswered[1].close()
    assert encoded == []


@pairs
@pytest.mark.parametrize(
    ("reply", "sent"),
    [
        ("text", "text"), (b"bytes", b"bytes"), (7, "7"), (True, "true"), ([], "[]"), ({"a": [1]}, '{"a":[1]}'),
        (Order("чай"), '{"item":"чай","count":1}'),
    ],
)  # fmt: skip
def test_text_and_bytes_go_as_they_are_and_the_rest_as_json(pair: Any, reply: object, sent: Payload) -> None:
    assert asked(made(pair, lambda _: reply), message(1, ORDER)) == last(1, sent)


@pairs
def test_only_text_is_decoded_for_a_handler_of_text(pair: Any) -> None:
    answerer = pair[0](list, str, TOKEN, LIMIT, LIMIT, decode=str.upper, encode=encode_json_into)
    assert asked(answerer, message(1, "ab") + message(2, b"ab")) == last(1, '["A","B"]')
    assert answerer.count == 1


@pairs
def test_a_coroutine_may_answer_with_a_value(pair: Any) -> None:
    async def at_once(order: Order) -> Order:
        return order

    async def later(order: Order) -> Order:
        await asyncio.sleep(0)
        return order

    assert asked(made(pair, at_once, stepping=stepping([])), message(1, ORDER)) == last(1, ORDER)
    written: list[bytes] = []
    waits: list[Any] = []

    def wait(unanswered: Any, _: float) -> None:
        waits.append(unanswered)

    answerer = made(pair, later, stepping=stepping([]))
    responder = pair[1](answerer, [], list, written.append, lambda *_: None, None, wait)
    responder(message(2, ORDER), len(message(2, ORDER)))
    assert responder.closed == WAITING
    assert not responder.answer(2, object())
    assert responder.answer(2, Order("tea", 5))
    assert written == [last(2, '{"item":"tea","count":5}')]
    waits[0][1].close()


@pairs
@pytest.mark.parametrize("decoding", [True, False])
def test_a_call_while_a_value_is_decoded_or_encoded_does_no_harm(pair: Any, *, decoding: bool) -> None:
    nested: list[bytes] = []

    def again() -> None:
        if not nested:
            nested.append(b"")
            nested.append(asked(answerer, message(9, ORDER)))

    def encode(value: object, json: bytearray) -> None:
        if not decoding:
            again()
        encode_json_into(value, json)

    def decode(payload: Payload) -> object:
        if decoding:
            again()
        return shape_of(Order).value(payload)

    answerer = made(pair, lambda order: order, decode=decode, encode=encode)
    assert asked(answerer, message(1, ORDER)) == last(1, ORDER)
    assert nested == [b"", last(9, ORDER)]


@pairs
def test_an_interrupt_while_a_value_is_decoded_is_not_taken_for_a_misfit(pair: Any) -> None:
    def interrupted(_: object) -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked(made(pair, print, decode=interrupted), message(1, ORDER))


@pairs
@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, GeneratorExit, MemoryError])
def test_whatever_else_the_code_of_a_type_raises_is_left_to_the_caller(
    pair: Any, error: type[BaseException]
) -> None:
    def decode(_: object) -> object:
        raise error

    answerer = made(pair, print, decode=decode)
    data = message(1, ORDER)
    assert (answerer(data, 0, len(data)), answerer.position, answerer.count) == (b"", 0, 0)
    assert answerer.unanswered is None


@pairs
def test_the_memory_of_a_large_answer_is_not_kept(pair: Any) -> None:
    sizes: list[int] = []

    def encode(value: object, json: bytearray) -> None:
        sizes.append(len(json))
        encode_json_into(value, json)

    answerer = made(pair, lambda order: [order.item], encode=encode)
    for length in (1500, 5, 5):
        asked(answerer, message(1, '{"item":"' + "x" * length + '"}'))
    assert max(sizes) <= 512
