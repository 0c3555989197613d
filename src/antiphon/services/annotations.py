"""Annotations of a handler: what its messages and its answers are."""

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterator
from functools import partial
from types import NoneType, SimpleNamespace
from typing import Any, Literal, Never, NoReturn, get_args, get_origin, get_type_hints

from antiphon.errors import Problem, ServiceInvalid
from antiphon.language import N_
from antiphon.wire.values import Shape, members_of, plain_type, schema_of, shape_of

Wants = Literal["no", "first", "by name"]
"""Whether and how a handler takes the session: not, as the first argument, or as a keyword."""

_NO_MESSAGE = Problem(N_("it must take one message, and a “session” if it wants one"))
_GENERATOR = Problem(
    N_("it is a generator; write “async def” to send many answers, or return a list to send them as one")
)
_UNDEFINED = Problem(
    N_("the annotation “{annotation}” of its message cannot be resolved ({why}): define it in the module, above")
)
_NOT_DECODED = Problem(
    N_(
        "its message cannot be decoded from JSON ({why}): annotate it with a Struct, a dataclass"
        " or a built-in type"
    )
)
_NOT_ENCODED = Problem(
    N_("its answer cannot be encoded as JSON ({why}): return a Struct, a dataclass or a built-in type")
)


class Annotations:
    """What the signature of a handler says."""

    def __init__(self, receive: Callable[..., object], service: str) -> None:
        """Inspect `receive`; `service` is its name in errors.

        Raises:
            ServiceInvalid: it cannot be served.
        """
        if inspect.isgeneratorfunction(_function(receive)):
            raise ServiceInvalid(service=service, problem=_GENERATOR)
        self._receive = receive
        self._service = service
        self.wants_session: Wants = "no"
        self.message = shape_of(Any)
        """What a payload is made of before the handler gets it."""
        self.answers: list[Any] = [Any]
        """The types of which an answer is one; None is left out."""
        try:
            signature = inspect.signature(receive)
        except NameError as error:  # an annotation that Python evaluates only now
            raise self._refused(_UNDEFINED, annotation=error.name or "", why=error) from None
        except (TypeError, ValueError):  # a function in C without a signature
            return
        parameter, self.wants_session = self._parameters(signature)
        if parameter is not None and parameter.annotation is not parameter.empty:
            self.message = self._message(parameter.annotation)
        if signature.return_annotation is not signature.empty:
            self.answers = self._answers(signature.return_annotation)

    def _refused(self, problem: Problem, why: object = "", annotation: str = "") -> ServiceInvalid:
        return ServiceInvalid(service=self._service, problem=problem, why=why, annotation=annotation)

    def _parameters(self, signature: inspect.Signature) -> tuple[inspect.Parameter | None, Wants]:
        """Return the parameter for the message, if it has a name, and how the handler takes the session."""
        parameters = list(signature.parameters.values())
        positional = [
            each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        wanted = [each for each in positional if each.name != "session"]
        required = [each for each in parameters if each.default is each.empty and each.kind != each.VAR_KEYWORD]
        taken = {"session", *(each.name for each in wanted[:1])}
        variadic = [each for each in required if each.kind == each.VAR_POSITIONAL]
        if not (wanted or variadic) or any(each.name not in taken for each in required if each not in variadic):
            raise self._refused(_NO_MESSAGE)
        if all(each.name != "session" for each in parameters):
            wants: Wants = "no"
        else:
            wants = "first" if positional and positional[0].name == "session" else "by name"
        return (wanted[0] if wanted else None), wants

    def _message(self, annotation: Any) -> Shape:
        try:
            hint = _resolved(annotation, self._receive)
        except Exception as error:  # noqa: BLE001 - an annotation may be any expression
            shown = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
            raise self._refused(_UNDEFINED, annotation=shown, why=error) from None
        try:
            return shape_of(hint)
        except TypeError as error:
            raise self._refused(_NOT_DECODED, why=error) from None

    def _answers(self, annotation: Any) -> list[Any]:
        try:
            hint = _resolved(annotation, self._receive)
        except Exception:  # noqa: BLE001 - perhaps imported for type checkers only; answers are encoded by value
            return [Any]
        answers = []
        for each in _alternatives(hint):
            if isinstance(each, type) and issubclass(each, Iterator):
                raise self._refused(_GENERATOR)
            if plain_type(each) is None:
                self._check_encodable(each)
            answers.append(each)
        return answers

    def _check_encodable(self, hint: Any) -> None:
        try:
            schema_of(hint)
        except TypeError as error:
            if "custom type" in "".join(getattr(error, "__notes__", ())):  # else it is only hard to decode
                raise self._refused(_NOT_ENCODED, why=error) from None


def _function(receive: Callable[..., object]) -> Callable[..., object]:
    """Return the function that runs: of a partial, of an object with `__call__`."""
    while isinstance(receive, partial):
        receive = receive.func
    return receive if inspect.isroutine(receive) else type(receive).__call__


def _resolved(annotation: Any, receive: Callable[..., object]) -> Any:
    """Return an annotation with the names in it resolved where `receive` was defined."""
    function = inspect.unwrap(_function(receive))
    variables = {each.__name__: each for each in getattr(function, "__type_params__", ())}
    holder = SimpleNamespace(__annotations__={"it": annotation})
    return get_type_hints(holder, getattr(function, "__globals__", {}), variables, include_extras=True)["it"]


def _alternatives(hint: Any) -> list[Any]:
    """Return the types of answers in a return annotation, out of coroutines and streams."""
    found = []
    for each in members_of(hint):
        origin, arguments = get_origin(each) or each, get_args(each)
        if each in (NoneType, NoReturn, Never):
            continue
        if not isinstance(origin, type):
            found.append(each)
        elif issubclass(origin, Coroutine):
            found += _alternatives(arguments[2]) if len(arguments) == 3 else [Any]
        elif issubclass(origin, AsyncIterable | Awaitable):
            found += _alternatives(arguments[0]) if arguments else [Any]
        else:
            found.append(origin if issubclass(origin, Iterator) else each)
    return found
