"""What a copy of a store for a backup holds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Told = Callable[[int, int], None]
"""Called while something is copied, with how much is done and how much there is; what it raises ends the work."""


@dataclass(frozen=True, kw_only=True)
class Copied:
    """The files of a store, copied as they were at one moment."""

    store: Literal["sqlite", "files"]
    files: tuple[str, ...]
    """their names in the folder that they were copied to; the first one shows that there are accounts"""
    accounts: int
    """how many there are"""
    tables: int | None = None
    """version of the tables of an SQL store"""
