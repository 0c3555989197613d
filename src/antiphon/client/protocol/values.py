"""Values of the clients: a message that is neither text nor bytes, and answers of the type that was asked for."""

from types import NoneType
from typing import Any

from antiphon.errors import AnswerInvalid, NotText, Problem
from antiphon.language import N_
from antiphon.wire.frames import Payload
from antiphon.wire.values import Unfit, members_of, payload_of, shape_of

_NONE = Problem(N_("the service gave none"))


def message_of(value: object) -> Payload:
    """Return the payload of a message: text and bytes as they are, any other value as JSON.

    Raises:
        NotText: text in it holds half a surrogate pair.
        TypeError: it is None, or JSON cannot hold it.
        ValueError: it is nested too deeply.
    """
    try:
        return payload_of(value)
    except UnicodeEncodeError:
        raise NotText from None


class AnswerReader:
    """Reads answers as values of one type; `Any` gives them as they are."""

    def __init__(self, kind: Any) -> None:
        """Read answers as `kind`: what msgspec decodes from JSON, or `str` or `bytes` for an answer as it is.

        Raises:
            TypeError: nothing can be decoded as `kind`.
        """
        self._shape = shape_of(kind)
        self._may_be_none = self._shape.kind is Any or NoneType in members_of(kind)

    def __call__(self, answer: Payload | None) -> Any:
        """Return an answer's value; None, for no answer, only if the type has it.

        Raises:
            AnswerInvalid: the answer does not fit.
        """
        if answer is None:
            if self._may_be_none:
                return None
            raise AnswerInvalid(problem=_NONE, place="")
        try:
            return self._shape.value(answer)
        except Unfit as error:
            raise AnswerInvalid(problem=error.problem, place=error.place) from None


def reader_of(kind: Any) -> AnswerReader | None:
    """Return what reads answers as `kind`; None, for None, if they are wanted as they are."""
    return None if kind is None else AnswerReader(kind)
