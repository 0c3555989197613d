"""`Service`: a handler whose signature was inspected once, instead of for each message."""

import contextlib
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from typing import Any, Literal, TypeVar, get_type_hints

from antiphon.errors import Problem, ServiceInvalid, TextOnly
from antiphon.language import N_
from antiphon.services.contract import Handler, Lifespan, Reply, Server, Session

_NOT_A_SERVICE = Problem(N_("it is neither a function nor an object with a method “received”"))
_A_CLASS = Problem(N_("it is a class; give an instance of it"))
_NO_MESSAGE = Problem(N_("it must take one message, and a “session” if it wants one"))

_NOT_A_HOOK = Problem(N_("its “{hook}” is not a function that takes the server"))
_NO_LIFESPAN = Problem(
    N_(
        "its “lifespan” is not a function of the server that returns an async context manager, as "
        "@contextlib.asynccontextmanager makes one"
    )
)

_Hook = Callable[[Session], Awaitable[None] | None]
_ServerHook = Callable[[Server], Awaitable[None] | None]
Given = TypeVar("Given", bound=Callable[..., Any])


def _no_hook(_: object) -> None:
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
    started: _ServerHook = _no_hook
    stopping: _ServerHook = _no_hook
    lifespan: Lifespan | None = None
    title: str = ""
    """What errors call the handler."""
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


def service(*, lifespan: Lifespan) -> Callable[[Given], Given]:
    """Give a function what is to happen when a server starts and stops: `@service(lifespan=...)` above it.

    It sets the attribute `lifespan` and returns the function itself.

    Args:
        lifespan: as `Lifespan` describes it; `Server(handler, lifespan=...)` takes precedence.
    """

    def give(handler: Given) -> Given:
        handler.lifespan = lifespan  # type: ignore[attr-defined] # functions and most objects take one
        return handler

    return give


def as_service(handler: Handler, lifespan: Lifespan | None = None) -> Service:
    """Inspect `handler`, which `contract.Handler` describes, and return it as a `Service`.

    Args:
        handler: the handler.
        lifespan: in place of its attribute `lifespan`, if it has one.

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
        started=_server_hook(handler, "started", name),
        stopping=_server_hook(handler, "stopping", name),
        lifespan=_checked_lifespan(lifespan or getattr(handler, "lifespan", None), name),
        title=name,
        name=_name_of(handler, receive),
    )


def _server_hook(handler: Handler, hook: str, name: str) -> _ServerHook:
    """Return the hook of a handler that takes the server."""
    found: _ServerHook = getattr(handler, hook, _no_hook)
    if not _takes_one(found):
        raise ServiceInvalid(service=name, problem=_NOT_A_HOOK, hook=hook)
    return found


def _checked_lifespan(lifespan: Lifespan | None, name: str) -> Lifespan | None:
    makes_none = inspect.isasyncgenfunction(lifespan) or inspect.iscoroutinefunction(lifespan)
    if lifespan is not None and (makes_none or not _takes_one(lifespan)):
        raise ServiceInvalid(service=name, problem=_NO_LIFESPAN)
    return lifespan


def _takes_one(function: object) -> bool:
    """Return whether something can be called with one argument."""
    if not callable(function):
        return False
    with contextlib.suppress(ValueError):  # a function in C without a signature
        try:
            inspect.signature(function).bind(None)
        except TypeError:
            return False
    return True


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
