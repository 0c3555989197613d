"""Collects all messages of the source that are marked for translation."""

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import NamedTuple

MARKS = {"_", "N_", "gettext", "ngettext"}


class Message(NamedTuple):
    """One message and its place in the source."""

    text: str
    plural: str
    place: str


def marked_messages(source: Path) -> Iterator[Message]:
    """Yield the marked messages of the Python files below `source`, also inside f-strings."""
    for path in sorted(source.rglob("*.py")):
        yield from messages_of(path.read_text("utf-8"), path.relative_to(source).as_posix())


def messages_of(text: str, name: str) -> Iterator[Message]:
    """Yield the marked messages of one Python file."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or _called(node.func) not in MARKS:
            continue
        words = [
            part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        if words:
            yield Message(words[0], words[1] if len(words) > 1 else "", f"{name}:{node.lineno}")


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def placeholders(text: str) -> set[str]:
    """Return the names of the fields that `str.format` fills."""
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
