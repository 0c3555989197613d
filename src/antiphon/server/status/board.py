"""Status board: the last report of a server, for a thread that must not wait for the event loop."""

import time
from typing import NamedTuple

from antiphon.server.control.report import SILENT_SECONDS, ServerReport

STARTING = "starting"
"""Why a server is not ready that has not reported yet, or whose first worker does not serve yet."""
SILENT = "silent"
"""Why one is not ready whose event loop does not run."""


class Posted(NamedTuple):
    """A report, and how old it is."""

    report: ServerReport | None
    age: float

    @property
    def obstacle(self) -> str | None:
        """Why no new connection would be served, in one word of docs/monitoring.md; None if one would be.

        One worker that is well is enough.
        """
        report = self.report
        if report is None:
            return STARTING
        if report.draining:
            return "draining"
        if not report.workers:
            return STARTING if report.starting else "nobody-serves"
        if self.age > SILENT_SECONDS:
            return SILENT
        if not any(worker.well for worker in report.workers):
            silent = all(worker.silent_s > SILENT_SECONDS for worker in report.workers)
            return SILENT if silent else "store-away"
        return None


class StatusBoard:
    """Holds one report. The event loop posts, another thread reads."""

    def __init__(self) -> None:
        """Begin without a report."""
        self._posted: tuple[ServerReport | None, float] = (None, time.monotonic())

    def post(self, report: ServerReport) -> None:
        """Replace the report."""
        self._posted = report, time.monotonic()

    def read(self) -> Posted:
        """Return the last report."""
        report, at = self._posted
        return Posted(report, time.monotonic() - at)
