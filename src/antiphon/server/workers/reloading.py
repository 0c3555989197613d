"""What `--reload` adds to a supervisor: watched files, a process in reserve, and sentences for the terminal."""

from collections.abc import Callable, Iterable
from pathlib import Path

from antiphon import streams
from antiphon.errors import AntiphonError
from antiphon.language import N_, catalogue
from antiphon.server.workers.process import WorkerProcess
from antiphon.server.workers.sources import SourceWatcher

_CHANGED = N_("{file} has changed; restarting the server.")
_ENDED = N_("The server process {pid} has ended ({end}); starting it again.")

Tell = Callable[[str], None]
TellError = Callable[[AntiphonError], None]


class Reloading:
    """The source files of a service, and the terminal of the person who edits them."""

    def __init__(self, folder: Path, tell: Tell, tell_error: TellError, language: str) -> None:
        """Watch what workers import.

        Args:
            folder: that of the user's modules.
            tell: prints a sentence.
            tell_error: prints an error.
            language: of the sentences.
        """
        self.watcher = SourceWatcher(folder)
        self._tell = tell
        self._tell_error = tell_error
        self._translate = catalogue(language).gettext
        self._told: str | None = None
        """The last error that was told since a file has changed."""
        self._spare: WorkerProcess | None = None

    # --- the process in reserve -------------------------------------------------------------------------------

    def prepare(self, make: Callable[[], WorkerProcess]) -> None:
        """Have a process in reserve, which has imported what every worker needs, and nothing of the user's.

        Raises:
            OSError: the system cannot start a process.
        """
        if self._spare is None:
            self._spare = make()

    def take(self) -> WorkerProcess | None:
        """Return the process in reserve, if there is one that has not ended."""
        spare, self._spare = self._spare, None
        return None if spare is None or spare.has_ended() else spare

    def close(self) -> None:
        """End the process in reserve."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.discard()

    # --- the terminal -----------------------------------------------------------------------------------------

    async def change(self) -> None:
        """Wait until a file has changed, and tell it."""
        file = await self.watcher.change()
        self._told = None
        with streams.ends_command():
            self._tell(self._translate(_CHANGED).format(file=file))

    def loaded(self, workers: Iterable[WorkerProcess]) -> None:
        """Watch what `workers` have imported: they all serve."""
        self.watcher.loaded(source for worker in workers for source in worker.sources)

    def not_loaded(self, error: AntiphonError | OSError) -> None:
        """Tell why no worker can serve, once until a file changes."""
        self.watcher.not_loaded()
        text = str(error)
        if text == self._told:
            return
        self._told = text
        with streams.ends_command():
            if isinstance(error, AntiphonError):
                self._tell_error(error)
            else:
                self._tell(text)

    def died(self, worker: WorkerProcess) -> None:
        """Tell that a worker has ended by itself; another one is started."""
        with streams.ends_command():
            self._tell(self._translate(_ENDED).format(pid=worker.pid, end=worker.end))
