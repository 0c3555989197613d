"""Source files of a service, as a supervisor with `--reload` watches them.

These are the files that workers have imported. While the service cannot be loaded, all `.py` files in their
folders are watched as well: the edit that mends it may be in a file that nobody has imported yet.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from antiphon.server.workers.count import PROGRAM

SCAN_SECONDS = 0.1
"""Shortest time between two scans of the files; a pause is also at least 20 times as long as the scan took."""
_PARTS = ("*.py", "*/__init__.py")
"""Files of a folder that an import from it may need: modules and packages."""

State = tuple[int, int, int] | None
"""Modification time, size and inode of a file; None if there is none."""


def folder_of(service: str) -> Path | None:
    """Return the folder of the user's modules for a `module:attr` or `file.py:attr`; None for other services."""
    module, colon, _ = service.rpartition(":")
    if not colon or service.startswith(PROGRAM):
        return None
    return Path(module).parent.absolute() if module.endswith(".py") else Path.cwd()


class SourceWatcher:
    """The files that are watched, and what they were like when they were last loaded."""

    def __init__(self, folder: Path) -> None:
        """Watch nothing but, while the service cannot be loaded, the files in `folder`."""
        self.broken = False
        """Whether the service cannot be loaded as it is."""
        self.pause = SCAN_SECONDS
        """Seconds until the next scan."""
        self._folder = folder
        self._files: set[Path] = set()
        self._seen: dict[Path, State] = {}

    def add(self, files: Iterable[str], since: int) -> None:
        """Watch `files` too. Those that were changed after `since` (in ns since 1970) count as changed."""
        for path in map(Path, files):
            self._files.add(path)
            if path not in self._seen:
                state = _state(path)
                self._seen[path] = None if state and state[0] > since else state

    def loaded(self, files: Iterable[str]) -> None:
        """Watch only `files`, which were added before: the service has been loaded from them."""
        self.broken = False
        self._files = set(map(Path, files))
        self._seen = {path: state for path, state in self._seen.items() if path in self._files}

    def not_loaded(self) -> None:
        """Watch the folders too, as they are now, until the service can be loaded."""
        self.broken = True
        self._seen = self._scan() | self._seen

    async def change(self) -> Path:
        """Wait until a file has been changed, added or removed, and all files have settled; return it."""
        while True:
            await asyncio.sleep(self.pause)
            before, now = dict(self._seen), self._scan()
            changed = _difference(before, now)
            while changed:
                await asyncio.sleep(self.pause)
                last, now = now, self._scan()
                if last == now:
                    self._seen |= dict.fromkeys(self._seen.keys() - now.keys()) | now
                    return min(changed)

    def _scan(self) -> dict[Path, State]:
        began = time.monotonic()
        paths = set(self._files)
        if self.broken:
            for folder in {self._folder, *(path.parent for path in self._files)}:
                with contextlib.suppress(OSError):
                    paths.update(path for part in _PARTS for path in folder.glob(part))
        found = {path: _state(path) for path in paths}
        self.pause = max(SCAN_SECONDS, 20 * (time.monotonic() - began))
        return found


def _state(path: Path) -> State:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _difference(before: dict[Path, State], now: dict[Path, State]) -> set[Path]:
    return {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
