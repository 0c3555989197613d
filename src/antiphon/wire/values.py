"""Values: what messages and answers hold where a program does not use plain text or bytes.

Text and bytes are payloads as they are. Every other value travels as JSON, in a payload of text. msgspec encodes
and decodes it: `Struct`, dataclass, TypedDict, attrs, built-in types, unions of `Struct` told apart by a tag, and
limits by `Annotated[..., msgspec.Meta(...)]`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, NewType, TypeVar, Union, get_args, get_origin

import msgspec

from antiphon.wire.frames import Payload

PROBLEM_LIMIT, PLACE_LIMIT = 90, 60
"""Characters of a reason and of a path that a sentence repeats: with both it is short enough for an ERROR."""

_REASONS = (
    "Expected `", "Object missing ", "Object contains unknown field ", "JSON is malformed", "Input data was trunc",
    "Number out of range", "Integer value out of range", "Timestamp is out of range", "Duration is out of range",
    "Invalid UTF-8", "Invalid RFC3339", "Invalid ISO8601", "Invalid base64", "Invalid UUID", "Invalid decimal",
)  # fmt: skip
"""Beginnings of msgspec's reasons that repeat no value of the sender."""
_INVALID = "Invalid value"
"""Stands for every other reason, of msgspec or of a type's own code."""
_TOO_DEEP = "JSON is nested too deeply"
_NOT_UTF_8 = "Invalid UTF-8 encoded string"
_PLACE = re.compile(r" - at `(?:key` in `)?\$[^`]*`\Z")
"""The path at the end of a reason of msgspec."""

_encoder = msgspec.json.Encoder()
encode_json_into: Callable[[object, bytearray], None] = _encoder.encode_into
"""Writes a value as JSON into a bytearray, in place of what is there."""


class Unfit(Exception):
    """A payload that does not fit a type. It repeats no value of the payload, only names of fields."""

    def __init__(self, problem: str, place: str = "") -> None:
        """Say what is wrong, and after it where (" - at `$.count`", or an empty string)."""
        super().__init__(problem + place)
        self.problem = problem if len(problem) <= PROBLEM_LIMIT else problem[:PROBLEM_LIMIT] + "…"
        self.place = place if len(place) <= PLACE_LIMIT else place[:PLACE_LIMIT] + "…`"


@dataclass(frozen=True)
class Shape:
    """What a type makes of a payload."""

    kind: Any
    """The type, without None; `Any` for whatever was sent."""
    takes: type | None
    """`str` or `bytes` if the payload must be text or bytes; None if JSON may come as either, and for `Any`."""
    decode: Callable[[Any], Any] | None
    """Makes the value of a payload that is as `takes` says; None if the payload is the value."""

    def value(self, payload: Payload) -> Any:
        """Return the value of a payload. Text is taken for `bytes` too, as UTF-8.

        Raises:
            Unfit: the payload does not fit.
        """
        if self.takes is bytes and isinstance(payload, str):
            payload = payload.encode()
        elif self.takes is str and isinstance(payload, bytes):
            raise Unfit("Expected text, got bytes")
        if self.decode is None:
            return payload
        try:
            return self.decode(payload)
        except msgspec.DecodeError as error:
            raise _unfit(error) from None
        except RecursionError:
            raise Unfit(_TOO_DEEP) from None
        except UnicodeDecodeError:  # of older versions of msgspec
            raise Unfit(_NOT_UTF_8) from None


def payload_of(value: object) -> Payload:
    """Return the payload of a value: text and bytes as they are, anything else as JSON.

    Raises:
        TypeError: JSON cannot hold it. None is no value: it says that there is no answer.
        ValueError: text in it holds half a surrogate pair, or it is nested too deeply.
    """
    if isinstance(value, str | bytes):
        return value
    if value is None:
        raise TypeError("None is no message: send text, bytes or a value")
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    try:
        return _encoder.encode(value).decode()
    except RecursionError:
        raise ValueError(f"a value of type {type(value).__name__} is nested too deeply for JSON") from None
    except TypeError as error:
        raise TypeError(f"a value of type {type(value).__name__} cannot be sent as JSON: {error}") from None


def shape_of(hint: Any) -> Shape:
    """Return what an annotation, resolved, makes of payloads.

    `str` and `bytes`, also with limits or under another name, take text and bytes as they are; so do `Any`,
    `object`, type variables and `str | bytes`. Any other type takes JSON. None in a union is left out.

    Raises:
        TypeError: nothing can be decoded as this type; says why.
    """
    try:
        return _shape(hint)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return _made(hint)


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of a type, complete in itself.

    Raises:
        TypeError: it has none, because nothing can be decoded as this type; says why. The note is msgspec's text.
    """
    try:
        return msgspec.json.schema(kind)
    except TypeError as error:
        reason = TypeError(str(error).strip().splitlines()[-1])
        reason.add_note(str(error))
        raise reason from None


@lru_cache(maxsize=256)
def _shape(hint: Any) -> Shape:
    return _made(hint)


def _made(hint: Any) -> Shape:
    members = [each for each in members_of(hint) if each is not NoneType] or [NoneType]
    plain = [plain_type(each) for each in members]
    if None not in plain and (Any in plain or len(set(plain)) > 1):
        return Shape(Any, None, None)
    kind = members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007 - made at run time
    if plain[0] is None or len(members) > 1:
        schema_of(kind)  # a decoder can be made of any class, and then fits nothing
        return Shape(kind, None, msgspec.json.Decoder(kind).decode)
    takes = plain[0]
    return Shape(kind, takes, None if members[0] is takes else _checked(kind))


def _checked(kind: Any) -> Callable[[Payload], Any]:
    """Return what checks the limits of text or bytes."""

    def check(payload: Payload) -> Any:
        return msgspec.convert(payload, kind)

    return check


def members_of(hint: Any) -> list[Any]:
    """Return the members of a union, those of unions under a name too; of another type itself."""
    named = getattr(hint, "__value__", hint)  # `type Name = …`
    if get_origin(named) in (Union, UnionType):
        return [member for each in get_args(named) for member in members_of(each)]
    return [NoneType if hint is None else hint]


def plain_type(hint: Any) -> Any:
    """Return `str` or `bytes` if a type stands for it, `Any` if for both, and None for any other type."""
    if hint in (Any, object) or isinstance(hint, TypeVar):
        return Any
    if hint in (str, bytes):
        return hint
    if get_origin(hint) is Annotated:
        return plain_type(get_args(hint)[0])
    if isinstance(hint, NewType):
        return plain_type(hint.__supertype__)
    if hasattr(hint, "__value__"):
        return plain_type(hint.__value__)
    return None


def _unfit(error: msgspec.DecodeError) -> Unfit:
    """Return an error of msgspec without the values in it."""
    problem = str(error)
    if error.__cause__ is not None:  # raised by the code of a type; its words may hold anything
        problem = _INVALID + problem.removeprefix(str(error.__cause__))
    found = _PLACE.search(problem)
    place = found[0] if found else ""
    return Unfit(problem.removesuffix(place) if problem.startswith(_REASONS) else _INVALID, place)


__all__ = [
    "Shape", "Unfit", "encode_json_into", "members_of", "payload_of", "plain_type", "schema_of", "shape_of",
]  # fmt: skip
