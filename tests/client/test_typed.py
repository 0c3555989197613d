"""Both clients: values as messages, answers of the type that was asked for, and what does not fit."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, assert_type

import pytest
from msgspec import Meta, Struct

from antiphon.blocking import connect
from antiphon.errors import AnswerInvalid, MessageInvalid, NotText, ServiceFailed
from antiphon.services import Session
from antiphon.testing import Service, session
from antiphon.wire.frames import Payload
from support.serving import serving


class Order(Struct):
    item: str
    count: Annotated[int, Meta(ge=1, le=99)] = 1


class Receipt(Struct):
    total: int


class Wrong(Struct):
    total: str


calls: list[Order] = []


def sell(order: Order) -> Receipt | None:
    calls.append(order)
    if order.item == "fail":
        raise ValueError(order.item)
    return None if order.item == "nothing" else Receipt(order.count * 2)


async def later(order: Order, session: Session) -> Receipt | None:
    return sell(order)


async def each(order: Order) -> AsyncIterator[Receipt]:
    for number in range(order.count):
        yield Receipt(number)


async def pushes(order: Order, session: Session) -> None:
    session.send(Receipt(order.count))
    for value in (None, object()):
        with pytest.raises(TypeError):
            session.send(value)


@pytest.mark.parametrize("handler", [sell, later])
async def test_values_are_asked_and_answered(handler: Any) -> None:
    async with session(handler) as ann:
        assert assert_type(await ann.ask(Order("tea", 3), returns=Receipt), Receipt) == Receipt(6)
        assert assert_type(await ann.ask(Order("tea", 3)), Payload | None) == '{"total":6}'
        assert await ann.ask({"item": "tea"}, returns=dict[str, int], timeout=9, retry=True) == {"total": 2}
        assert await ann.ask('{"item":"tea"}', returns=Receipt | None) == Receipt(2)
        assert await ann.ask(Order("nothing"), returns=Receipt | None) is None
        assert await ann.ask(Order("tea"), returns=str) == '{"total":2}'
        assert await ann.ask(Order("tea"), returns=bytes) == b'{"total":2}'
        answers = ann.ask_many([Order("tea", count) for count in range(1, 4)], returns=Receipt)
        assert_type(answers, AsyncIterator[Receipt])
        assert [answer async for answer in answers] == [Receipt(2), Receipt(4), Receipt(6)]


async def test_values_are_streamed_and_pushed() -> None:
    async def orders() -> AsyncIterator[Order]:
        for count in (1, 2):
            yield Order("tea", count)

    async with Service(each) as service:
        ann = await service.enter()
        assert [answer async for answer in ann.ask_stream(Order("tea", 2), returns=Receipt)] == [
            Receipt(0),
            Receipt(1),
        ]
        assert [answer async for answer in ann.ask_many(orders(), returns=Receipt)] == [Receipt(0), Receipt(0)]
    async with session(pushes) as ann:
        await ann.send(Order("tea", 7))
        assert await anext(aiter(ann)) == '{"total":7}'


@pytest.mark.parametrize("handler", [sell, later])
async def test_a_message_that_does_not_fit_is_the_clients_error_and_the_session_goes_on(handler: Any) -> None:
    async with session(handler) as ann:
        for message in (Order("secret", 100), {"item": "secret", "count": 100}, '{"item":"secret","count":100}'):
            with pytest.raises(MessageInvalid, match=r"Expected `int` <= 99 - at `\$.count`") as refused:
                await ann.ask(message)
            assert "secret" not in str(refused.value)
        calls.clear()
        with pytest.raises(MessageInvalid):
            async for _ in ann.ask_many([Order("tea"), Order("tea", 0), Order("tea")]):
                pass
        assert await ann.ask(Order("last"), returns=Receipt) == Receipt(2)
        assert Order("tea", 0) not in calls


async def test_an_answer_that_does_not_fit_is_told_and_the_session_goes_on() -> None:
    async with session(sell) as ann:
        with pytest.raises(AnswerInvalid, match=r"Expected `str`, got `int` - at `\$.total`") as raised:
            await ann.ask(Order("tea"), returns=Wrong)
        assert (raised.value.code, raised.value.blame) == ("answer-invalid", "server")
        with pytest.raises(AnswerInvalid, match="the service gave none"):
            await ann.ask(Order("nothing"), returns=Receipt)
        with pytest.raises(AnswerInvalid):
            async for _ in ann.ask_stream(Order("tea"), returns=Wrong):
                pass
        with pytest.raises(AnswerInvalid):
            async for _ in ann.ask_many([Order("tea")], returns=Wrong):
                pass
        assert await ann.ask(Order("tea"), returns=Receipt) == Receipt(2)


async def test_what_cannot_be_sent_or_decoded_is_told_before_anything_is_sent() -> None:
    calls.clear()
    async with session(sell) as ann:
        for message in (None, object(), iter([1]), [object()]):
            with pytest.raises(TypeError, match=r"None is no message|cannot be sent as JSON"):
                await ann.ask(message)
        with pytest.raises(NotText):
            await ann.send(Order("\ud800"))
        with pytest.raises(TypeError, match="is not supported"):
            await ann.ask(Order("tea"), returns=Service)
        with pytest.raises(TypeError, match="is not supported"):
            ann.ask_stream(Order("tea"), returns=Service)
        with pytest.raises(TypeError, match="is not supported"):
            ann.ask_many([Order("tea")], returns=Service)
        assert calls == []


async def test_an_error_of_the_service_that_looks_like_a_misfit_is_its_own() -> None:
    def handler(order: Order) -> Receipt:
        raise MessageInvalid(problem="of another server", place="")

    async with session(handler) as ann:
        with pytest.raises(ServiceFailed) as failed:
            await ann.ask(Order("tea"))
        assert isinstance(failed.value.__cause__, MessageInvalid)


def test_the_blocking_client_does_the_same(tmp_path: Path) -> None:
    calls.clear()
    with (
        serving(tmp_path / "data", sell, access="identify", plain=True) as server,
        connect(str(server.address), name="ann", timeout=20) as ann,
    ):
        assert assert_type(ann.ask(Order("tea", 3), returns=Receipt), Receipt) == Receipt(6)
        assert assert_type(ann.ask(Order("tea", 3)), Payload | None) == '{"total":6}'
        assert ann.ask(b'{"item":"tea"}', returns=Receipt | None) == Receipt(2)
        assert list(ann.ask_stream(Order("tea"), returns=Receipt)) == [Receipt(2)]
        orders = [Order("tea", count) for count in range(1, 40)]
        receipts = [Receipt(2 * order.count) for order in orders]
        assert list(ann.ask_many(orders, returns=Receipt)) == receipts
        assert list(ann.ask_many(iter(orders), returns=Receipt)) == receipts
        with pytest.raises(MessageInvalid, match=r"at `\$.count`"):
            ann.ask(Order("tea", 100))
        with pytest.raises(AnswerInvalid, match=r"at `\$.total`"):
            ann.ask(Order("tea"), returns=Wrong)
        with pytest.raises(AnswerInvalid, match="gave none"):
            ann.ask(Order("nothing"), returns=Receipt)
        with pytest.raises(ServiceFailed):
            ann.ask(Order("fail"))
        for message in (None, object()):
            with pytest.raises(TypeError):
                ann.send(message)
        ann.send(Order("last"))
        assert ann.ask(Order("tea"), returns=Receipt) == Receipt(2)
    assert calls[-2:] == [Order("last"), Order("tea")]
    assert Order("tea", 100) not in calls
