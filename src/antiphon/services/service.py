"""`Service`: a handler whose signature was inspected once, instead of for each message."""

import contextlib
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from typing import Any, TypeVar

from antiphon.errors import AntiphonError, MessageInvalid, Problem, ServiceInvalid, TextOnly
from antiphon.language import N_
from antiphon.services.annotations import Annotations, Wants
from antiphon.services.contract import Handler, Lifespan, Reply, ServiceServer, Session
from antiphon.user_code import location_of, message_of
from antiphon.wire.frames import Payload
from antiphon.wire.values import Shape, Unfit

_NOT_A_SERVICE = Problem(N_("it is neither a function nor an object with a method “received”"))
_A_NAME = Problem(N_("it is text; only the command takes a service by its name"))
_A_CLASS = Problem(N_("it is a class; give an instance of it"))
_RUNNING = Problem(N_("it is what a call of the function has returned; leave out the parentheses behind its name"))

_RAISED = Problem(N_("{error} ({place})"))
_NOT_A_HOOK = Problem(N_("its “{hook}” is not a function that takes the {arguments}"))
_NEVER_RUNS = Problem(N_("its “{hook}” is a generator, which would never run"))
_NO_LIFESPAN = Problem(
    N_(
        "its “lifespan” is not a function of the server that returns an async context manager, as "
        "@contextlib.asynccontextmanager makes one"
    )
)
_HOOK_WAITS = Problem(N_("its method “{hook}” must be a plain function"))

_Hook = Callable[[Session], Awaitable[None] | None]
_ServerHook = Callable[[ServiceServer], Awaitable[None] | None]
Given = TypeVar("Given", bound=Callable[..., Any])


def _no_hook(_: object) -> None:
    """Do nothing: the hook of a handler that has none."""


@dataclass(frozen=True)
class Service:
    """A handler with its hooks, ready to answer the messages of all sessions."""

    receive: Callable[..., Reply]
    wants_session: Wants
    message: Shape
    """What the handler is given of a payload."""
    answers: list[Any]
    """The types of which an answer is one, as annotated; for its schema only."""
    opened: _Hook = _no_hook
    closed: _Hook = _no_hook
    started: _ServerHook = _no_hook
    stopping: _ServerHook = _no_hook
    lifespan: Lifespan | None = None
    title: str = ""
    """What errors call the handler."""
    published: Callable[[str, str | bytes, Session], object] | None = None
    missed: Callable[[str, Session], object] | None = None
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

    @cached_property
    def take(self) -> Callable[[Payload], object] | None:
        """Makes of a payload what the handler is given; None if that is the payload.

        It raises `TextOnly` on bytes if the handler takes text only, and `MessageInvalid` on what does not fit.
        """
        return None if self.message.takes is None and self.message.decode is None else self._taken

    def _taken(self, payload: Payload) -> object:
        if self.message.takes is str and isinstance(payload, bytes):
            raise TextOnly
        try:
            return self.message.value(payload)
        except Unfit as error:
            raise MessageInvalid(problem=error.problem, place=error.place) from None

    def bind(self, session: Session) -> Callable[..., Reply]:
        """Return the function that replies to what was taken of the messages of `session`.

        A handler that takes no session is returned itself.
        """
        if self.wants_session == "first":
            return partial(self.receive, session)
        if self.wants_session == "by name":
            return partial(self.receive, session=session)
        return self.receive


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
        ServiceInvalid: it is not a handler, or it raises when it is inspected.
    """
    try:
        return _inspected(handler, lifespan)
    except (AntiphonError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a property of the user's, or a decorator's `__getattr__`, may raise anything
        raise ServiceInvalid(
            service=type(handler).__qualname__,
            problem=_RAISED,
            error=message_of(error),
            place=location_of(error),
        ) from error


def _inspected(handler: Handler, lifespan: Lifespan | None) -> Service:
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    if inspect.isclass(handler):
        raise ServiceInvalid(service=name, problem=_A_CLASS)
    if isinstance(handler, str):
        raise ServiceInvalid(service=handler, problem=_A_NAME)
    if inspect.iscoroutine(handler) or inspect.isgenerator(handler) or inspect.isasyncgen(handler):
        if inspect.iscoroutine(handler):
            handler.close()  # or Python warns that nobody has awaited it
        raise ServiceInvalid(service=name, problem=_RUNNING)
    receive: Any = getattr(handler, "received", handler)
    if not callable(receive):
        raise ServiceInvalid(service=name, problem=_NOT_A_SERVICE)
    annotations = Annotations(receive, name)
    return Service(
        receive=receive,
        wants_session=annotations.wants_session,
        message=annotations.message,
        answers=annotations.answers,
        opened=_hook(handler, "opened", name, "session"),
        closed=_hook(handler, "closed", name, "session"),
        started=_hook(handler, "started", name, "server"),
        stopping=_hook(handler, "stopping", name, "server"),
        lifespan=_checked_lifespan(lifespan or getattr(handler, "lifespan", None), name),
        title=name,
        published=_plain(handler, "published", name, "topic", "message", "session"),
        missed=_plain(handler, "missed", name, "topic", "session"),
        name=_name_of(handler, receive),
    )


def _hook(handler: Handler, hook: str, name: str, *arguments: str) -> Any:
    """Return a hook of a handler, which is called with `arguments`; one that does nothing if there is none."""
    found = getattr(handler, hook, _no_hook)
    if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise ServiceInvalid(service=name, problem=_NEVER_RUNS, hook=hook)
    if found is not _no_hook and not _takes(found, len(arguments)):
        raise ServiceInvalid(service=name, problem=_NOT_A_HOOK, hook=hook, arguments=", ".join(arguments))
    return found


def _checked_lifespan(lifespan: Lifespan | None, name: str) -> Lifespan | None:
    makes_none = inspect.isasyncgenfunction(lifespan) or inspect.iscoroutinefunction(lifespan)
    if lifespan is not None and (makes_none or not _takes(lifespan, 1)):
        raise ServiceInvalid(service=name, problem=_NO_LIFESPAN)
    return lifespan


def _takes(function: object, count: int) -> bool:
    """Return whether something can be called with `count` arguments."""
    if not callable(function):
        return False
    with contextlib.suppress(ValueError):  # a function in C without a signature
        try:
            inspect.signature(function).bind(*[None] * count)
        except TypeError:
            return False
    return True


def _plain(handler: Handler, hook: str, name: str, *arguments: str) -> Any:
    """Return a hook that must not wait, None if there is none."""
    if getattr(handler, hook, None) is None:
        return None
    found = _hook(handler, hook, name, *arguments)
    if inspect.iscoroutinefunction(found):
        raise ServiceInvalid(service=name, problem=_HOOK_WAITS, hook=hook)
    return found


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
