"""`Service`: a handler whose signature was inspected once, instead of for each message."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from typing import Any, Literal, get_type_hints

from antiphon.errors import Problem, ServiceInvalid, TextOnly
from antiphon.language import N_
from antiphon.services.contract import Handler, Reply, Session

_NOT_A_SERVICE = Problem(N_("it is neither a function nor an object with a method “received”"))
_A_CLASS = Problem(N_("it is a class; give an instance of it"))
_NO_MESSAGE = Problem(N_("it must take one message, and a “session” if it wants one"))
_HOOK_WAITS = Problem(N_("its method “{hook}” must be a plain function"))

_Hook = Callable[[Session], Awaitable[None] | None]


def _no_hook(_: Session) -> None:
    """Do nothing: the hook of a handler that has none."""


@dataclass(frozen=True)
class Service:
    """A handler with its hooks, ready to answer the messages of all sessions."""

    receive: Callable[..., Reply]
    wants_session: Literal["no", "first", "by name"]
    """Whether and how the handler takes the session: not, as the first argument, or as a keyword."""
    takes: type | None
    """`str` or `bytes` if the message is annotated so, else None."""
    opened: _Hook = _no_hook
    closed: _Hook = _no_hook
    published: Callable[[str, str | bytes, Session], str | bytes | None] | None = None
    missed: Callable[[str, Session], str | bytes | None] | None = None
    name: str = ""
    """Names the handler: processes that serve another one are no homes of each other's sessions."""

    @property
    def sees_messages_only(self) -> bool:
        """Whether the handler never sees a session: then all it can do is answer (the fast path relies on it)."""
        return self.wants_session == "no" and self.opened is _no_hook and self.closed is _no_hook

    @cached_property
    def is_async(self) -> bool:
        """Whether every reply is a coroutine."""
        return inspect.iscoroutinefunction(self.receive) or inspect.iscoroutinefunction(
            getattr(self.receive, "__call__", None)  # noqa: B004 - of a callable object
        )

    def bind(self, session: Session) -> Callable[[str | bytes], Reply]:
        """Return the function that replies to the messages of `session`.

        It raises `TextOnly` on bytes if the handler takes text only. A handler that needs no adapter is returned
        itself.
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
    """Inspect `handler`, which `contract.Handler` describes, and return it as a `Service`.

    Raises:
        ServiceInvalid: it is not a handler.
    """
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    if inspect.isclass(handler):
        raise ServiceInvalid(service=name, problem=_A_CLASS)
    receive: Any = getattr(handler, "received", handler)
    if not callable(receive):
        raise ServiceInvalid(service=name, problem=_NOT_A_SERVICE)
    message, wants_session = _inspect_parameters(receive, name)
    return Service(
        receive=receive,
        wants_session=wants_session,
        takes=_annotated_type(receive, message),
        opened=getattr(handler, "opened", _no_hook),
        closed=getattr(handler, "closed", _no_hook),
        published=_plain(handler, "published", name),
        missed=_plain(handler, "missed", name),
        name=_name_of(handler, receive),
    )


def _plain(handler: Handler, hook: str, name: str) -> Any:
    """Return a hook that must not wait, None if there is none."""
    function = getattr(handler, hook, None)
    if inspect.iscoroutinefunction(function):
        raise ServiceInvalid(service=name, problem=_HOOK_WAITS, hook=hook)
    return function


def _name_of(handler: Handler, receive: Callable[..., Reply]) -> str:
    """Return the digest of a handler's module, name and file, and of the arguments of a program."""
    function = inspect.unwrap(getattr(receive, "__func__", receive))
    code = getattr(function, "__code__", None) or getattr(type(receive).__call__, "__code__", None)
    parts = [
        getattr(function, "__module__", None) or type(handler).__module__,
        getattr(function, "__qualname__", None) or type(handler).__qualname__,
        getattr(code, "co_filename", ""),
        *getattr(handler, "command", ()),
    ]
    return sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def _inspect_parameters(receive: Callable[..., Reply], name: str) -> tuple[str, Literal["no", "first", "by name"]]:
    """Return the name of the parameter for the message, and whether and how the handler takes the session."""
    try:
        parameters = list(inspect.signature(receive).parameters.values())
    except (TypeError, ValueError):  # a function in C without a signature
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


def _annotated_type(receive: Callable[..., Reply], message: str) -> type | None:
    """Return `str` or `bytes` if the parameter `message` is annotated so, else None."""
    try:
        hints = get_type_hints(receive if inspect.isroutine(receive) else type(receive).__call__)
    except Exception:  # noqa: BLE001 - hints may name what is imported for type checkers only
        return None
    hint = hints.get(message)
    return hint if hint in (str, bytes) else None


def _text_only(receive: Callable[[str], Reply], message: str | bytes) -> Reply:
    if not isinstance(message, str):
        raise TextOnly
    return receive(message)


def _as_bytes(receive: Callable[[bytes], Reply], message: str | bytes) -> Reply:
    return receive(message.encode() if isinstance(message, str) else message)
