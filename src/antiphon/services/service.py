"""A handler made ready to serve: what it wants is looked at once, not for each message."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, get_type_hints

from antiphon.errors import Problem, ServiceInvalid, TextOnly
from antiphon.language import N_
from antiphon.services.contract import Handler, Reply, Session

_NOT_A_SERVICE = Problem(N_("it is neither a function nor an object with a method “received”"))
_A_CLASS = Problem(N_("it is a class; give an instance of it"))
_NO_MESSAGE = Problem(N_("it must take one message, and a “session” if it wants one"))

_Told = Callable[[Session], Awaitable[None] | None]


def _nothing(_: Session) -> None:
    """Do nothing when a session comes or goes."""


@dataclass(frozen=True)
class Service:
    """What answers the messages of all sessions."""

    receive: Callable[..., Reply]
    wants_session: Literal["no", "first", "by name"]
    """whether, and how, the handler is given the session"""
    takes: type | None
    """`str` or `bytes` where the message is annotated so, else None"""
    opened: _Told = _nothing
    closed: _Told = _nothing

    @property
    def sees_messages_only(self) -> bool:
        """Whether it knows of no session, so that all it can do to one is to answer."""
        return self.wants_session == "no" and self.opened is _nothing and self.closed is _nothing

    @cached_property
    def is_async(self) -> bool:
        """Whether every reply is a coroutine."""
        return inspect.iscoroutinefunction(self.receive) or inspect.iscoroutinefunction(
            getattr(self.receive, "__call__", None)  # noqa: B004 - an object that can be called, not a function
        )

    def bind(self, session: Session) -> Callable[[str | bytes], Reply]:
        """Return the function that gives the reply to a message of `session`.

        It raises `TextOnly` where the service takes no bytes; a plain handler comes back as it is.
        """
        receive = self.receive
        if self.wants_session == "first":
            receive = partial(receive, session)
        elif self.wants_session == "by name":
            receive = partial(receive, session=session)
        if self.takes is str:
            return partial(_text_only, receive)
        if self.takes is bytes:
            return partial(_as_bytes, receive)
        return receive


def as_service(handler: Handler) -> Service:
    """Return `handler`, as `contract.Handler` describes it, ready to serve.

    Raises:
        ServiceInvalid: it is something else.
    """
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    if inspect.isclass(handler):
        raise ServiceInvalid(service=name, problem=_A_CLASS)
    receive: Any = getattr(handler, "received", handler)
    if not callable(receive):
        raise ServiceInvalid(service=name, problem=_NOT_A_SERVICE)
    message, wants_session = _parameters(receive, name)
    return Service(
        receive=receive,
        wants_session=wants_session,
        takes=_annotated(receive, message),
        opened=getattr(handler, "opened", _nothing),
        closed=getattr(handler, "closed", _nothing),
    )


def _parameters(receive: Callable[..., Reply], name: str) -> tuple[str, Literal["no", "first", "by name"]]:
    """Return the name of the parameter for the message, and how the session is wanted."""
    try:
        parameters = list(inspect.signature(receive).parameters.values())
    except (TypeError, ValueError):  # a function of C, which says nothing of itself
        return "", "no"
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    wanted = [each for each in positional if each.name != "session"]
    required = [each for each in parameters if each.default is each.empty and each.kind != each.VAR_KEYWORD]
    taken = {"session", *(each.name for each in wanted[:1])}
    variadic = [each for each in required if each.kind == each.VAR_POSITIONAL]
    if not (wanted or variadic) or any(each.name not in taken for each in required if each not in variadic):
        raise ServiceInvalid(service=name, problem=_NO_MESSAGE)
    if all(each.name != "session" for each in parameters):
        wants: Literal["no", "first", "by name"] = "no"
    else:
        wants = "first" if positional and positional[0].name == "session" else "by name"
    return (wanted[0].name if wanted else ""), wants


def _annotated(receive: Callable[..., Reply], message: str) -> type | None:
    """Return `str` or `bytes` where the message is annotated so."""
    try:
        hints = get_type_hints(receive if inspect.isroutine(receive) else type(receive).__call__)
    except Exception:  # noqa: BLE001 - hints may name what exists for a type checker only
        return None
    hint = hints.get(message)
    return hint if hint in (str, bytes) else None


def _text_only(receive: Callable[[str], Reply], message: str | bytes) -> Reply:
    if not isinstance(message, str):
        raise TextOnly
    return receive(message)


def _as_bytes(receive: Callable[[bytes], Reply], message: str | bytes) -> Reply:
    return receive(message.encode() if isinstance(message, str) else message)
