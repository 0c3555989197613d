"""`as_service`: which handlers are accepted, and with which arguments they are called."""

import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from antiphon.errors import ServiceInvalid, TextOnly
from antiphon.services import Session, as_service, echo

SESSION: Any = object()
"""A session that is passed on and never used."""


def unannotated(message):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - on purpose
    return message


def of_text(message: str) -> str:
    return message.upper()


def of_bytes(message: bytes) -> bytes:
    return message[::-1]


def with_session(message: str, session: Session) -> str:
    return f"{message} {session is SESSION}"


def session_first(session: Session, message: str) -> str:
    return with_session(message, session)


def by_keyword(message: str, *, session: Session) -> str:
    return with_session(message, session)


class Receiver:
    def received(self, message: str, session: Session) -> str:
        return with_session(message, session)


class Shouter:
    def __call__(self, message: str) -> str:
        return message.upper()


def replied(handler: Any, message: str | bytes) -> Any:
    service = as_service(handler)
    given = message if service.take is None else service.take(message)
    return service.bind(SESSION)(given)


@pytest.mark.parametrize(
    ("handler", "message", "reply"),
    [
        (echo, "a", "a"),
        (echo, b"\xff", b"\xff"),
        (unannotated, b"\xff", b"\xff"),
        (of_text, "a", "A"),
        (of_bytes, b"ab", b"ba"),
        (of_bytes, "ab", b"ba"),
        (with_session, "a", "a True"),
        (session_first, "a", "a True"),
        (by_keyword, "a", "a True"),
        (Receiver(), "a", "a True"),
        (Shouter(), "a", "A"),
        (lambda message: message, "a", "a"),
        (lambda message, most=5: message[:most], "abcdefg", "abcde"),
        (str.upper, "a", "A"),
        (partial(with_session, session=SESSION), "a", "a True"),
        (len, "abc", 3),
    ],
)
def test_a_handler_is_given_the_message_and_the_session_that_it_wants(
    handler: Any, message: str | bytes, reply: Any
) -> None:
    assert replied(handler, message) == reply


def test_a_plain_handler_is_called_with_nothing_in_between() -> None:
    assert as_service(echo).bind(SESSION) is echo


@pytest.mark.parametrize("handler", [of_text, with_session, Receiver(), Shouter()])
def test_a_service_of_text_refuses_bytes_and_is_not_called(handler: Any) -> None:
    with pytest.raises(TextOnly, match="text only"):
        replied(handler, b"bytes")


def test_the_hint_of_an_answer_that_exists_for_type_checkers_only_is_passed_over() -> None:
    def handler(message: str) -> "Missing":  # type: ignore[name-defined] # noqa: F821 - on purpose
        return message

    assert replied(handler, "x") == "x"
    with pytest.raises(TextOnly):
        replied(handler, b"x")


async def test_an_async_generator_is_a_reply_of_many() -> None:
    async def count(message: str) -> AsyncIterator[str]:
        for number in range(int(message)):
            yield str(number)

    assert [answer async for answer in replied(count, "3")] == ["0", "1", "2"]


def yields(_: Session) -> Iterator[None]:
    yield None


@pytest.mark.parametrize(
    ("hook", "given", "problem"),
    [
        ("opened", lambda: None, "its “opened” is not a function that takes the session"),
        ("closed", 5, "its “closed” is not a function that takes the session"),
        ("published", lambda topic, message: None, "is not a function that takes the topic, message, session"),
        ("missed", lambda topic: None, "is not a function that takes the topic, session"),
        ("opened", yields, "its “opened” is a generator, which would never run"),
    ],
)
def test_a_hook_that_could_not_be_called_is_refused_before_a_session_opens(
    hook: str, given: Any, problem: str
) -> None:
    receiver = Receiver()
    setattr(receiver, hook, given)
    with pytest.raises(ServiceInvalid, match=problem):
        as_service(receiver)


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (5, "neither a function"),
        ("shop.py:answer", "“shop.py:answer” cannot be served: it is text; only the command takes a service by"),
        (None, "neither a function"),
        (object(), "neither a function"),
        (Receiver, "it is a class"),
        (lambda: None, "must take one message"),
        (lambda session: None, "must take one message"),
        (lambda message, other: None, "must take one message"),
        (lambda message, *, other: None, "must take one message"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(handler: Any, problem: str) -> None:
    with pytest.raises(ServiceInvalid, match=problem) as refused:
        as_service(handler)
    assert refused.value.exit_code == 2


class Raising:
    def received(self, message: str) -> str:
        return message

    @property
    def opened(self) -> None:
        raise OSError("no\nroom")


def test_a_property_that_raises_is_told_with_its_line() -> None:
    with pytest.raises(ServiceInvalid) as refused:
        as_service(Raising())
    assert re.fullmatch(
        r"“Raising” cannot be served: OSError: no \(\S+test_service\.py, line \d+\)\.", str(refused.value)
    )
    assert isinstance(refused.value.__cause__, OSError)


def test_an_object_may_leave_out_that_sessions_come_and_go() -> None:
    service = as_service(Receiver())
    assert service.opened(SESSION) is None
    assert service.closed(SESSION) is None
