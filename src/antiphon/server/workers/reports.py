"""Reports of a server with workers: what its workers have said last, and what those that ended have done."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from antiphon.observe.log import ServerLog
from antiphon.server.control.report import ServerReport, report_of
from antiphon.server.control.totals import Totals
from antiphon.server.workers.attention import Attention
from antiphon.server.workers.looks import WorkerLooks
from antiphon.server.workers.messages import Start
from antiphon.server.workers.process import State, WorkerProcess
from antiphon.version import __version__


class WorkerReports:
    """Makes reports from what the workers say with each heartbeat: it waits for none of them."""

    def __init__(self, start: Start, log: ServerLog, attention: Attention) -> None:
        """Begin with a server that starts now, as `start` says; `log` is the supervisor's."""
        self._start = start
        self._log = log
        self._attention = attention
        self._started_at = datetime.now(UTC)
        self._events: Counter[str] = Counter()
        self._messages = 0
        self._totals = Totals()
        self._starting = True
        """Whether no worker has ended."""
        self.looks = WorkerLooks()
        """Of those who ask who is connected."""

    def ended(self, worker: WorkerProcess) -> None:
        """Keep what a worker has done that has ended."""
        self.looks.ended(worker)
        self._starting = False
        if worker.report is not None:
            self._events.update(worker.report.events)
            self._messages += worker.report.messages
            self._totals = self._totals.plus(worker.report.totals)

    def report(self, workers: Iterable[WorkerProcess], now: float, *, draining: bool) -> ServerReport:
        """Return the report of a server with `workers`; `now` is loop time."""
        reports = []
        events, messages = self._events + self._log.events, self._messages
        totals = self._totals.plus(Totals(log_dropped=self._log.dropped))
        starting = self._starting and not draining
        for worker in sorted(workers, key=lambda each: each.number):
            starting &= worker.left_at is None and worker.state is not State.LEAVING
            if worker.report is None:
                continue
            if worker.state is State.SERVING and (draining or worker.left_at is None):
                silence = self._attention.silence(worker.heard_at, now)
                reports.append(msgspec.structs.replace(worker.report, silent_s=round(silence, 1)))
            else:  # replaced: it drains, and what it has done counts
                events.update(worker.report.events)
                messages += worker.report.messages
                totals = totals.plus(worker.report.totals)
        return report_of(
            reports,
            version=__version__,
            pid=self._start.pid,
            started_at=self._started_at,
            now=datetime.now(UTC),
            draining=draining,
            starting=starting,
            wanted=self._start.workers,
            ended=events,
            ended_messages=messages,
            ended_totals=totals,
        )
