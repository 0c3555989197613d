"""Heartbeat: a thread that shows others that this process lives, and sees which of them do.

Another thread looks at the fence: a store that is slow to answer must not look like a process that did not run.
"""

import contextlib
import threading
import time

from antiphon.errors import TryLater
from antiphon.observe.log import ServerLog
from antiphon.server.control.report import STORE_AWAY_SECONDS
from antiphon.server.home.fence import Fence
from antiphon.server.home.watch import ProcessWatch
from antiphon.store.contracts import Pulse

BEAT_SECONDS = 1.0
"""Pause between two advances of the counter."""
LOOK_SECONDS = 0.25
"""Pause between two looks at the fence: a handler that blocks the event loop does not close it."""


class Heartbeat:
    """The heartbeat of one process. Beside the event loop: a handler that blocks it is not death."""

    def __init__(self, pulse: Pulse, id: str, watch: ProcessWatch, fence: Fence, log: ServerLog) -> None:
        """Advance the counter of the process `id`, and show `watch` those of all; look at `fence`."""
        self._pulse = pulse
        self._id = id
        self._watch = watch
        self._fence = fence
        self._log = log
        self._away = False
        """Whether the log has been told that the store is away."""
        self.answered_at = time.monotonic()
        """When the store has taken a heartbeat last, in the seconds of `time.monotonic`."""
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True),
            threading.Thread(target=self._keep_looking, name="fence", daemon=True),
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; it may take as long as the store does. Blocks."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:  # the system may have had no room for another thread
                thread.join(BEAT_SECONDS)

    def _keep_looking(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self._fence.check()

    def _keep_beating(self) -> None:
        pause = LOOK_SECONDS
        try:
            while not self._stopping.wait(pause):
                began = time.monotonic()
                self._beat()
                pause = max(0.0, BEAT_SECONDS - (time.monotonic() - began))
        finally:
            with contextlib.suppress(TryLater):
                self._pulse.close()

    def _beat(self) -> None:
        try:
            counters = self._pulse.beat(self._id)
        except TryLater as error:
            self._watch.failed()
            if not self._away and time.monotonic() - self.answered_at > STORE_AWAY_SECONDS:
                self._away = True
                self._log.exception("store-failed", code=error.code)
            return
        self.answered_at = time.monotonic()
        if self._away:
            self._away = False
            self._log.info("store-answers")
        if counters is None:  # others have taken this process for dead
            if not self._stopping.is_set():
                self._fence.close()
        else:
            self._watch.seen(counters, time.monotonic())
