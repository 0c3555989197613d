"""What a person does to the files of `--store files:DIR` with an editor."""

import os
import time
from collections.abc import Callable
from pathlib import Path

Change = Callable[[str], str]


def edit(path: Path, change: Change) -> None:
    """Change the text of a file, a while ago: the store waits until an editor has left it alone."""
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    os.utime(path, (time.time() - 1,) * 2)


def without(name: str) -> Change:
    """Return the change that takes the row of `name` out."""
    return lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.startswith(f"{name},"))


def where(name: str, old: str, new: str) -> Change:
    """Return the change that puts `new` for the first `old` behind `name` in its row."""

    def change(text: str) -> str:
        assert f"\n{name}," in text, text
        before, row = text.split(f"\n{name},", maxsplit=1)
        assert old in row.partition("\n")[0], row
        return f"{before}\n{name},{row.replace(old, new, 1)}"

    return change
