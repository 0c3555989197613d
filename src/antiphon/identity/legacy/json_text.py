"""JSON with positions: each value with the line and column where it begins, so that no error has to quote it."""

import re
from bisect import bisect_right
from json import JSONDecoder
from typing import NamedTuple

from antiphon.errors import Problem, UsageError
from antiphon.identity.legacy.formats import Text, python_or
from antiphon.language import N_

DEPTH_MOST = 8
"""Most levels of arrays and objects in each other: the shapes that are read have three."""
VALUES_MOST = 100_000
"""Most values in a file: ten thousand clients with ten fields each."""

_BROKEN = Problem(
    N_("{path} looks like JSON, but it is broken at line {line}, column {column}. Nothing of it was read.")
)
_DEEP = Problem(N_("{path} is JSON with more than {most} levels, and no list of clients has as many."))
_MANY = Problem(N_("{path} is JSON with more than {most} values. Split it, and import the parts one by one."))

_DECODER = JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Node(NamedTuple):
    """A value and where it begins. Numbers, true, false and null have no content here."""

    line: int
    column: int
    value: "str | list[Node] | list[tuple[Node, Node]] | None"
    is_object: bool = False

    @property
    def members(self) -> "list[tuple[Node, Node]]":
        """The members of an object, in order, repeated keys too; empty for any other value."""
        return self.value if self.is_object else []  # type: ignore[return-value]

    @property
    def items(self) -> "list[Node]":
        """The items of an array; empty for any other value."""
        return self.value if isinstance(self.value, list) and not self.is_object else []  # type: ignore[return-value]

    @property
    def is_array(self) -> bool:
        """Whether it is an array."""
        return isinstance(self.value, list) and not self.is_object

    @property
    def text(self) -> str | None:
        """The text of a string, None for any other value."""
        return self.value if isinstance(self.value, str) else None


def parse_json(source: Text) -> Node:
    """Return the value of a text.

    Raises:
        UsageError: the text is no JSON, or too deep or too long.
    """
    return _Parser(source).document()


class _Parser:
    """A parser of one text."""

    def __init__(self, source: Text) -> None:
        self._text = source.text
        self._source = source
        self._at = 0
        self._count = 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", source.text))]

    def document(self) -> Node:
        """Return the value of the whole text."""
        node = self._value(0)
        self._skip()
        if self._at < len(self._text):
            raise self._error()
        return node

    def _value(self, depth: int) -> Node:
        self._count += 1
        if self._count > VALUES_MOST:
            raise UsageError(problem=_MANY, path=self._source.path, most=VALUES_MOST)
        if depth > DEPTH_MOST:
            raise UsageError(problem=_DEEP, path=self._source.path, most=DEPTH_MOST)
        self._skip()
        line, column = self._position()
        if self._take("{"):
            return Node(line, column, self._object(depth), is_object=True)
        if self._take("["):
            return Node(line, column, self._array(depth))
        if self._peek() == '"':
            return Node(line, column, self._string())
        scalar = _SCALAR.match(self._text, self._at)
        if scalar is None:
            raise self._error()
        self._at = scalar.end()
        return Node(line, column, None)

    def _object(self, depth: int) -> list[tuple[Node, Node]]:
        members: list[tuple[Node, Node]] = []
        while not self._ends("}", first=not members):
            self._skip()
            line, column = self._position()
            key = Node(line, column, self._string())
            self._skip()
            if not self._take(":"):
                raise self._error()
            members.append((key, self._value(depth + 1)))
        return members

    def _array(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while not self._ends("]", first=not items):
            items.append(self._value(depth + 1))
        return items

    def _ends(self, bracket: str, *, first: bool) -> bool:
        """Return whether an array or object ends here; otherwise read the comma before the next value."""
        self._skip()
        if self._take(bracket):
            return True
        if not first and not self._take(","):
            raise self._error()
        return False

    def _string(self) -> str:
        if self._peek() != '"':
            raise self._error()
        try:
            value, end = _DECODER.raw_decode(self._text, self._at)
        except ValueError:
            raise self._error() from None
        if _SURROGATE.search(value):  # half a character
            raise self._error()
        self._at = end
        return str(value)

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found
        self._at = found.end()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, character: str) -> bool:
        taken = self._peek() == character
        self._at += taken
        return taken

    def _position(self) -> tuple[int, int]:
        line = bisect_right(self._starts, self._at)
        return line, self._at - self._starts[line - 1] + 1

    def _error(self) -> UsageError:
        path = self._source.path
        if problem := python_or(self._text):
            return UsageError(problem=problem, path=path)
        line, column = self._position()
        return UsageError(problem=_BROKEN, path=path, line=line, column=column)
