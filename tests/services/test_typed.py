"""Typed messages: what a handler is given by its annotation, and which handlers are refused at the start."""

import dataclasses
import enum
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Annotated, Any, AnyStr, Literal, NewType, TypedDict

import pytest
from msgspec import Meta, Struct

from antiphon.errors import MessageInvalid, ServiceInvalid, TextOnly
from antiphon.services import Service, Session, as_service
from support.postponed import answer as postponed

SESSION: Any = object()
"""A session that is passed on and never used."""


class Order(Struct):
    item: str
    count: Annotated[int, Meta(ge=1, le=9)] = 1


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Options(TypedDict):
    loud: bool


class Push(Struct, tag=True):
    job: str


class Drop(Struct, tag=True):
    number: int


class Colour(enum.Enum):
    RED = "red"


class Custom:
    pass


Name = NewType("Name", str)
ORDER = '{"item":"tea","count":2}'


def given(handler: Any, message: str | bytes) -> Any:
    """Return what the handler is called with."""
    service = as_service(handler)
    value = message if service.take is None else service.take(message)
    return service.bind(SESSION)(value)


def takes(annotation: Any) -> Callable[[Any], Any]:
    """Return a handler of messages of a type, which returns them."""

    def handler(message: Any) -> Any:
        return message

    handler.__annotations__["message"] = annotation
    return handler


@pytest.mark.parametrize(
    ("annotation", "message", "value"),
    [
        (Order, ORDER, Order("tea", 2)),
        (Order, ORDER.encode(), Order("tea", 2)),
        (Order | None, ORDER, Order("tea", 2)),
        (Point, '{"x":1}', Point(1)),
        (Options, '{"loud":true}', {"loud": True}),
        (dict[str, int], '{"a":1}', {"a": 1}),
        (dict, '{"a":1}', {"a": 1}),
        (list[Order], f"[{ORDER}]", [Order("tea", 2)]),
        (int, "7", 7),
        (Push | Drop, '{"type":"Drop","number":3}', Drop(3)),
        (Push | Drop, '{"type":"Push","job":"a"}', Push("a")),
        (Colour, '"red"', Colour.RED),
        (Literal["a", "b"], '"b"', "b"),
        (Annotated[int, Meta(ge=5)], "5", 5),
        (Order | str, '"x"', "x"),
        (Annotated[str, Meta(max_length=3)], "abc", "abc"),
        (Annotated[bytes, Meta(max_length=3)], "abc", b"abc"),
        (Name, "abc", "abc"),
        (str | None, "abc", "abc"),
        (str | bytes, b"\xff", b"\xff"),
        (AnyStr, b"\xff", b"\xff"),
        (Any, ORDER, ORDER),
        (object, ORDER, ORDER),
    ],
)
def test_the_annotation_decides_what_the_handler_is_given(annotation: Any, message: str, value: Any) -> None:
    assert given(takes(annotation), message) == value


@pytest.mark.parametrize(
    ("annotation", "message", "problem"),
    [
        (Order, '{"item":"tea","count":"secret"}', "Expected `int`, got `str` - at `$.count`"),
        (Order, '{"item":"tea","count":12}', "Expected `int` <= 9 - at `$.count`"),
        (Order, "{}", "Object missing required field `item`"),
        (Order, "[1]", "Expected `object`, got `array`"),
        (Order, "secret", "JSON is malformed: invalid character (byte 0)"),
        (Order, "", "Input data was truncated"),
        (Order, b'{"item":"secret \xff"}', "Invalid UTF-8 encoded string"),
        (list[Order], '[{"item":"secret","count":[]}]', "Expected `int`, got `array` - at `$[0].count`"),
        (Push | Drop, '{"type":"secret","number":3}', "Invalid value - at `$.type`"),
        (dict[int, int], '{"secret":1}', "Expected `int`, got `str` - at `key` in `$`"),
        (Colour, '"secret"', "Invalid value"),
        (Literal["a"], '"secret - at `$.b`"', "Invalid value"),
        (int, "1" * 5000, "Integer value out of range"),
        (float, "1e999", "Number out of range"),
        (list, "[" * 100_000, "JSON is nested too deeply"),
        (Annotated[str, Meta(max_length=3)], "secret", "Expected `str` of length <= 3"),
        (Annotated[bytes, Meta(max_length=3)], b"secret", "Expected `bytes` of length <= 3"),
    ],
)  # fmt: skip
def test_a_message_that_does_not_fit_is_refused_and_no_value_of_it_repeated(
    annotation: Any, message: str | bytes, problem: str
) -> None:
    with pytest.raises(MessageInvalid) as refused:
        given(takes(annotation), message)
    assert refused.value.text() == f"This message does not fit the service: {problem}."
    assert "secret" not in str(refused.value)


def test_what_the_code_of_a_type_raises_is_not_repeated() -> None:
    class Even(Struct):
        number: int

        def __post_init__(self) -> None:
            if self.number == 5:
                raise LookupError("is not a refusal")
            if self.number % 2:
                raise ValueError(f"{self.number} - at `$.secret`")

    class Pair(Struct):
        left: Even

    with pytest.raises(MessageInvalid, match=r"fit the service: Invalid value - at `\$\.left`\. "):
        given(takes(Pair), '{"left":{"number":3}}')
    with pytest.raises(MessageInvalid, match=r"fit the service: Invalid value\. "):
        given(takes(Even), '{"number":3}')
    with pytest.raises(LookupError):
        given(takes(Even), '{"number":5}')


def test_the_sentence_is_short_however_long_the_path() -> None:
    class Long(Struct, rename=lambda _: "n" * 500):
        number: int

    with pytest.raises(MessageInvalid) as refused:
        given(takes(Long), '{"' + "n" * 500 + '":""}')
    assert len(refused.value.text()) < 200
    assert refused.value.text().endswith("nnn…`.")


def test_text_with_a_limit_is_still_text() -> None:
    with pytest.raises(TextOnly):
        given(takes(Annotated[str, Meta(max_length=3)]), b"abc")


class Shop:
    def received(self, order: Order, session: Session) -> int:
        assert session is SESSION
        return order.count

    def __call__(self, order: Order) -> int:
        return order.count

    @staticmethod
    def plain(order: Order) -> int:
        return order.count

    @classmethod
    def of_class(cls, order: Order) -> int:
        return order.count


def counted(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        return handler(*arguments, **named)

    return wrapper


def with_database(database: str, order: Order) -> int:
    return order.count


class Caller:
    def __call__(self, order: "Order") -> int:
        return order.count


@pytest.mark.parametrize(
    "handler",
    [
        Shop(), Shop().received, Shop().__call__, Shop.plain, Shop.of_class, Caller(), counted(Shop.plain),
        functools.partial(with_database, "database"), functools.partial(counted(with_database), "database"),
        postponed,
    ],
)  # fmt: skip
def test_every_kind_of_handler_may_be_typed(handler: Any) -> None:
    assert given(handler, ORDER) == 2


async def stream(order: Order) -> AsyncIterator[Order]:
    yield order


def generator(order: Order) -> Iterator[Order]:
    yield order


def returns(annotation: Any) -> Callable[[str], Any]:
    def handler(message: str) -> Any:
        return message

    handler.__annotations__["return"] = annotation
    return handler


async def coroutine(message: str) -> str:
    return message


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (generator, "it is a generator; write “async def”"),
        (functools.partial(generator), "it is a generator"),
        (returns(Generator[str, None, None]), "it is a generator"),
        (returns(Iterator[str]), "it is a generator"),
        (takes(Custom), r"its message cannot be decoded from JSON \(type .*Custom.*\): annotate it"),
        (takes(list[Custom]), r"its message cannot be decoded from JSON \(type .*Custom.*\): annotate it"),
        (takes(Push | Order), "all Struct types must be tagged"),
        (takes(Session), "its message cannot be decoded"),
        (takes("Missing"), "the annotation “Missing” of its message cannot be resolved .*: define"),
        (takes("list[Missing]"), "the annotation “list.Missing.” of its message"),
        (takes("not one"), "the annotation “not one” of its message"),
        (returns(Custom), r"its answer cannot be encoded as JSON \(type .*Custom.*\): return a Struct"),
        (returns(Awaitable[Custom]), "its answer cannot be encoded"),
        (returns(AsyncIterator[list[Custom]]), "its answer cannot be encoded"),
        (returns(Order | Custom), "its answer cannot be encoded"),
        (Shop, "it is a class; give an instance of it"),
        (coroutine("called"), "it is what a call of the function has returned; leave out the parentheses"),
        (stream(Order("tea")), "leave out the parentheses"),
        (generator(Order("tea")), "leave out the parentheses"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_in_one_sentence(handler: Any, problem: str) -> None:
    with pytest.raises(ServiceInvalid, match=problem) as refused:
        as_service(handler)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("annotation", "answers"),
    [
        (Order, [Order]),
        (Order | None, [Order]),
        (None, []),
        (Order | Push, [Order, Push]),
        (str | Order, [str, Order]),
        (Awaitable[Order | None], [Order]),
        (AsyncIterator[Order], [Order]),
        (AsyncIterator, [Any]),
        (Any, [Any]),
        ("Missing", [Any]),
    ],
)
def test_the_types_of_answers_are_known(annotation: Any, answers: list[Any]) -> None:
    service: Service = as_service(returns(annotation))
    assert service.answers == answers
