"""A folder that is empty, or is made, and in the end holds all of a restored backup, or nothing."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from antiphon.data.staging import folder_locked, staging
from antiphon.errors import Problem, RestoreRefused
from antiphon.files import make_folder, reported, sync_folder
from antiphon.language import N_

UNFINISHED = ".antiphon-restore-"
"""Beginning of the name of the hidden folder in which everything stands until it is checked."""

_NOT_EMPTY = Problem(N_("it is not empty"))
_BUSY = Problem(N_("another restore is under way there"))


class EmptyFolder:
    """The folder. `taken` makes it."""

    def __init__(self, path: Path, stage: Path) -> None:
        """Put files into `stage`, and give them their names in `path` with `take`."""
        self.path = path
        self.stage = stage
        self._taken: list[Path] = []

    @classmethod
    @contextlib.contextmanager
    def taken(cls, path: Path) -> Iterator["EmptyFolder"]:
        """Yield the folder at `path`. After an error in the block it is as it was before.

        What a restore has left that was killed is removed.

        Raises:
            RestoreRefused: it is not empty, or another restore uses it.
            FolderUnsafe, FolderUnusable: it cannot be made or used.
        """
        missing = [each for each in (path, *path.parents) if not os.path.lexists(each)]
        with contextlib.ExitStack() as undo:
            for each in reversed(missing):
                undo.callback(_remove_empty, each)
            make_folder(path)
            with contextlib.ExitStack() as stack:
                stack.enter_context(_alone(path))
                with reported(path):
                    _check_empty(path)
                    stage = stack.enter_context(staging(path, UNFINISHED))
                folder = cls(path, stage)
                try:
                    yield folder
                except BaseException:
                    folder._give_back()
                    raise
            undo.pop_all()

    def take(self, names: Sequence[str]) -> None:
        """Give the files `names` of the stage their names, in this order, so that they survive a crash.

        Raises:
            FolderUnusable: that is impossible.
        """
        with reported(self.path):
            sync_folder(self.stage)
            for name in names:
                os.rename(self.stage / name, self.path / name)  # noqa: PTH104 - as in `files`
                self._taken.append(self.path / name)
                sync_folder(self.path)

    def _give_back(self) -> None:
        for path in reversed(self._taken):  # the key ring first: no server starts then
            path.unlink(missing_ok=True)


def _remove_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()


def _check_empty(path: Path) -> None:
    """Check that a folder is empty but for what a killed restore has left, and remove that."""
    left = list(path.iterdir())
    if any(not each.name.startswith(UNFINISHED) for each in left):
        raise RestoreRefused(path=str(path), problem=_NOT_EMPTY)
    for each in left:
        shutil.rmtree(each)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with reported(path):
            try:
                stack.enter_context(folder_locked(path))
            except BlockingIOError:
                raise RestoreRefused(path=str(path), problem=_BUSY) from None
        yield
