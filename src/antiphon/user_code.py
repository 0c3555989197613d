"""User code: the source files that are the user's own, not of Python, Antiphon or an installed package."""

import sys
import traceback
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType

_PYTHON = Path(traceback.__file__).parent
_ANTIPHON = Path(__file__).parent
_INSTALLED = frozenset({"site-packages", "dist-packages"})


@lru_cache(maxsize=4096)
def is_user_code(file: str) -> bool:
    """Return whether the file of a frame or module is the user's own."""
    path = Path(file)
    if file.startswith("<") or not _INSTALLED.isdisjoint(path.parts):
        return False
    return not (path.is_relative_to(_PYTHON) or path.is_relative_to(_ANTIPHON))


def is_antiphon(file: str) -> bool:
    """Return whether a frame's file is of Antiphon."""
    return Path(file).is_relative_to(_ANTIPHON)


class ImportedSources:
    """The files of user code that this process imports from now on."""

    def __init__(self) -> None:
        """Leave out the modules that are there already."""
        self._before = frozenset(sys.modules)
        self._count = 0
        self._taken: set[str] = set()

    def take(self, error: BaseException | None = None) -> tuple[str, ...]:
        """Return the files that were not returned before, sorted.

        Args:
            error: what an import has raised. The files that it shows are returned too: their modules are not kept.
        """
        if len(sys.modules) == self._count and error is None:
            return ()
        modules = list(sys.modules.items())
        self._count = len(modules)
        found = {_file(module) for name, module in modules if name not in self._before}
        found.update(_shown(error))
        new = {str(Path(file).absolute()) for file in found if file and is_user_code(file)} - self._taken
        self._taken |= new
        return tuple(sorted(new))


def _file(module: ModuleType) -> str | None:
    try:  # not `getattr`, which loads a module that is loaded at its first use
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:  # something else than a module
        return None
    return file if isinstance(file, str) else None


def _shown(error: BaseException | None) -> Iterator[str]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, SyntaxError) and each.filename:
            yield each.filename
        for frame, _ in traceback.walk_tb(each.__traceback__):
            yield frame.f_code.co_filename
        waiting += [each.__cause__, each.__context__]
