"""Access to the documents: tables, fenced blocks, sections."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
README_RU = ROOT / "README.ru.md"
READMES = (ROOT / "README.md", README_RU)
PAGES = tuple(sorted((ROOT / "docs").rglob("*.md")))
"""Sources of the pages that `make docs` builds."""
DOCUMENTS = (*READMES, *PAGES)
"""Documents for readers."""

_FENCE = re.compile(r"^```(\S*) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, the rest of the line after the fence, its text."""

    language: str
    about: str
    text: str


def read(name: str) -> str:
    """Return the text of a document, named from the root of the project."""
    return (ROOT / name).read_text("utf-8")


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a document."""
    return [Block(*match.groups()) for match in _FENCE.finditer(text)]


def commands(block: Block) -> list[str]:
    """Return the commands of a block without comments and answers; of a program, all lines."""
    lines = block.text.splitlines()
    if block.language in ("text", "console"):
        return [line for line in lines if line.startswith("$ ")]
    if block.language == "sh":
        return [" ".join(shlex.split(line, comments=True)) for line in lines]
    return lines


def section(text: str, heading: str) -> str:
    """Return the text under a heading, up to the next heading of the same or a higher level."""
    level = heading.partition(" ")[0]
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"there is no heading “{heading}”"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str, *head: str) -> list[tuple[str, ...]]:
    """Return the rows of the table with this heading, without backticks."""
    lines = iter(text.splitlines())
    for line in lines:
        if _cells(line) == head:
            break
    else:
        raise AssertionError(f"there is no table of {head}")
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(_cells(line))
    return rows


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip().replace("`", "") for cell in line.strip().strip("|").split(" |"))
