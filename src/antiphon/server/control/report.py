"""Reports of a running server: what it is, what its processes do, and what is wrong with it."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import msgspec

from antiphon.data.validity import condition_of
from antiphon.server.control.totals import Totals

STORE_AWAY_SECONDS = 3.0
"""Age of the last answer of the store from which it counts as away: three heartbeats, or twelve reads."""
SILENT_SECONDS = 3.0
"""Seconds without a heartbeat from which a worker counts as silent; there is one each second."""
SLOW_SECONDS = 0.5
"""Lag of an event loop from which a process counts as overloaded."""


PROBLEM_WORDS = (
    "certificate-expired", "certificate-expires", "certificate-not-yet-valid", "draining", "log-lost",
    "nobody-serves", "overloaded", "starting", "store-away", "worker-missing", "worker-silent",
)  # fmt: skip
"""What `ServerReport.problems` may hold."""


class Facts(msgspec.Struct, frozen=True):
    """What does not change while a process serves, except by `reload`."""

    addresses: list[str]
    access: str
    registration: str
    data: str
    store: str
    log: str
    fingerprint: str | None
    """Of the certificate's key; None over plain TCP."""
    valid_from: datetime | None
    """Beginning of the certificate."""
    expires_at: datetime | None
    """End of the certificate."""
    key: int
    """Number of the key that seals credentials."""
    node: str | None = None
    """Where other nodes reach its processes; None if it is no node."""


class ProcessReport(msgspec.Struct, frozen=True):
    """One process that serves, at one time."""

    pid: int
    connections: int
    sessions: int
    messages: int
    """Messages handled since the start of the process."""
    messages_per_s: float
    """The same in the last seconds."""
    lag_s: float
    """Longest delay of the event loop in the last seconds."""
    store_age_s: float
    """Time since the store has taken the last heartbeat of the process; there is one each second."""
    revocations_age_s: float
    """Time since the revocation log was read last; it is read four times a second."""
    events: dict[str, int]
    """Records of the log by event, or by event and code (`refused sign-in-refused`), whether written or not."""
    log_lost: int
    """Records that the log could not write, and does not tell of yet."""
    facts: Facts
    silent_s: float = 0.0
    """Time since the heartbeat that brought this report."""
    totals: Totals = Totals()

    @property
    def well(self) -> bool:
        """Whether it answers, and the store answers it."""
        return self.silent_s <= SILENT_SECONDS and not self.store_away

    @property
    def store_away(self) -> bool:
        """Whether the store has not answered for a while.

        What has not been read because the event loop did not run is no fault of the store.
        """
        return max(self.store_age_s, self.revocations_age_s - self.lag_s) > STORE_AWAY_SECONDS


class ServerReport(msgspec.Struct, frozen=True):
    """A server with all its processes. Its fields are those of `antiphon status --json`."""

    version: str
    pid: int
    """Of the process that a signal stops."""
    started_at: datetime
    draining: bool
    problems: list[str]
    """Words of docs/monitoring.md for what is not well; none if all is."""
    workers_wanted: int
    workers: list[ProcessReport]
    """Those that serve; without `--workers` it is the server's one process."""
    ended: dict[str, int]
    """Events of workers that have ended or are being replaced, as `ProcessReport.events`."""
    ended_messages: int
    """Messages that they handled."""
    ended_totals: Totals = Totals()
    """Of them, and of the supervisor."""
    starting: bool = False
    """Whether workers have not served yet since the start of the server, and none has ended."""

    @property
    def events(self) -> Counter[str]:
        """Events of all processes since the start of the server."""
        events = Counter(self.ended)
        for worker in self.workers:
            events.update(worker.events)
        return events

    @property
    def messages(self) -> int:
        """Messages handled by all processes since the start of the server."""
        return self.ended_messages + sum(worker.messages for worker in self.workers)

    @property
    def totals(self) -> Totals:
        """Totals of all processes since the start of the server."""
        totals = self.ended_totals
        for worker in self.workers:
            totals = totals.plus(worker.totals)
        return totals


def status_line(workers: Iterable[ProcessReport]) -> str:
    """Return what the processes of a server do, in one line."""
    connections = sessions = 0
    for worker in workers:
        connections += worker.connections
        sessions += worker.sessions
    return f"connections: {connections}, sessions: {sessions}"


def report_of(
    workers: list[ProcessReport],
    *,
    version: str,
    pid: int,
    started_at: datetime,
    now: datetime,
    draining: bool = False,
    starting: bool = False,
    wanted: int = 1,
    ended: Counter[str] | None = None,
    ended_messages: int = 0,
    ended_totals: Totals | None = None,
) -> ServerReport:
    """Return the report of a server whose processes report `workers`, with what is wrong. `now` is in UTC."""
    starting = starting and len(workers) < wanted
    problems = _problems(workers, wanted, now, draining=draining, starting=starting)
    return ServerReport(
        version=version,
        pid=pid,
        started_at=started_at,
        draining=draining,
        problems=list(dict.fromkeys(problems)),
        workers_wanted=wanted,
        workers=workers,
        ended=dict(ended or {}),
        ended_messages=ended_messages,
        ended_totals=ended_totals or Totals(),
        starting=starting,
    )


def _problems(
    workers: list[ProcessReport], wanted: int, now: datetime, *, draining: bool, starting: bool
) -> Iterable[str]:
    if draining:
        yield "draining"
    if not workers:
        yield "starting" if starting else "nobody-serves"
    elif len(workers) < wanted and not starting:
        yield "worker-missing"
    for worker in workers:
        if worker.silent_s > SILENT_SECONDS:
            yield "worker-silent"
        elif worker.store_away:
            yield "store-away"
        if worker.lag_s > SLOW_SECONDS:
            yield "overloaded"
        if condition := condition_of(worker.facts.valid_from, worker.facts.expires_at, now):
            yield condition
        if worker.log_lost:
            yield "log-lost"
