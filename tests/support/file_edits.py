"""Edits of the files of `--store files:DIR`, as a person makes them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

Change = Callable[[str], str]


def edit(path: Path, change: Change) -> None:
    """Change the text of a file and date it back a second: the store waits until a file has settled."""
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    os.utime(path, (time.time() - 1,) * 2)


def without(name: str) -> Change:
    """Return the change that removes the row of `name`."""
    return lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.startswith(f"{name},"))


def where(name: str, old: str, new: str) -> Change:
    """Return the change that replaces the first `old` after `name` in its row by `new`."""

    def change(text: str) -> str:
        assert f"\n{name}," in text, text
        before, row = text.split(f"\n{name},", maxsplit=1)
        assert old in row.partition("\n")[0], row
        return f"{before}\n{name},{row.replace(old, new, 1)}"

    return change
