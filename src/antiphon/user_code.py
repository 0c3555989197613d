"""User code: the source files that are the user's own, not of Python, Antiphon or an installed package.

And what an exception of it says: on one line, with the place in it.
"""

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


def message_of(error: BaseException) -> str:
    """Return the message of an exception on one line."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    return traceback.format_exception_only(error)[0].strip().partition("\n")[0]


def location_of(error: BaseException) -> str:
    """Return the file and line of the last frame of the user's own code."""
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{error.filename}, line {error.lineno or 1}"
    cause = error.__cause__ if error.__traceback__ is None else None
    frames = traceback.extract_tb((cause or error).__traceback__)
    if not frames:
        return "?"
    last = next((each for each in reversed(frames) if is_user_code(each.filename)), frames[-1])
    return f"{last.filename}, line {last.lineno}"


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
