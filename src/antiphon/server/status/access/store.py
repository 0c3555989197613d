"""The page's own connection to the server's store, opened when somebody signs in for the first time.

The process that serves the page may be a supervisor, which has no store. The commands for operators open one
beside the server too, whatever store it is.
"""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from antiphon.data.folder import DataFolder
from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import AntiphonError, TryLater
from antiphon.observe.log import ServerLog

if TYPE_CHECKING:
    from antiphon.store.contracts import Store

OPEN_SECONDS = 2.5
"""How long a request waits for the store to be opened, as for anything else that it does."""
CLOSE_SECONDS = 1.0
"""How long the end of the page waits for it to be closed."""


class Opened(NamedTuple):
    """An open store, with its keys and the data folder."""

    store: "Store"
    ring: LiveKeyRing
    folder: DataFolder


class PageStore:
    """Opens the store once, in the event loop of the page, and keeps it."""

    def __init__(self, store: str, data: Path, log: ServerLog) -> None:
        """Open later what `store`, the value of `--store`, names for the data folder `data`."""
        self._store = store
        self._data = data
        self._log = log
        self._opening: asyncio.Task[Opened] | None = None
        self._away = False
        """Whether it could not be opened."""

    async def opened(self) -> Opened:
        """Return the open store.

        Raises:
            TryLater: it cannot be opened, or not in time; the next call tries again.
        """
        if self._opening is None or _failed(self._opening):
            self._opening = asyncio.get_running_loop().create_task(self._open())
        opening = self._opening
        await asyncio.wait({opening}, timeout=OPEN_SECONDS)
        if not opening.done():
            raise TryLater
        error = opening.exception()
        if error is None:
            return opening.result()
        raise TryLater from error

    async def close(self) -> None:
        """Close it, if it is open; no longer than `CLOSE_SECONDS`."""
        opening, self._opening = self._opening, None
        if opening is None:
            return
        opening.cancel()
        await asyncio.wait({opening})
        if not _failed(opening):
            closing = asyncio.ensure_future(opening.result().store.close())
            await asyncio.wait({closing}, timeout=CLOSE_SECONDS)

    async def _open(self) -> Opened:
        from antiphon.data.belonging import open_with_ring  # noqa: PLC0415 - a supervisor needs no SQL before
        from antiphon.store.opening import accounts_file  # noqa: PLC0415 - likewise

        folder = DataFolder(self._data, accounts_file(self._store, self._data))
        try:
            store, ring = await open_with_ring(self._store, folder, os.urandom)
        except Exception as error:
            if not self._away:  # told once: anybody can ask for a sign-in
                self._log.exception(
                    "store-failed", code=error.code if isinstance(error, AntiphonError) else "fault"
                )
            self._away = True
            raise
        self._away = False
        return Opened(store, ring, folder)


def _failed(task: "asyncio.Task[Opened]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
