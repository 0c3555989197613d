"""Metrics: the report of a server as Prometheus and OpenMetrics have it.

Label values come from closed sets: codes of errors, words of the documents. None is a name or an address.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from antiphon.errors import every_error
from antiphon.server.control.report import PROBLEM_WORDS, ServerReport
from antiphon.server.status.board import Posted
from antiphon.version import __version__
from antiphon.wire.times import TIME_BOUNDS

CODES = frozenset(error.code for error in every_error())
OUTCOMES = ("continued", "relayed", "restored", "unknown")
FAULTS = (
    "accept-exhausted", "answer-too-large", "fault", "fenced", "key-ring-unread", "process-dead", "relay-failed",
    "reload-failed", "revocations-unread", "service-failed", "service-too-slow", "sign-in-failed", "store-failed",
    "task-failed", "worker-died", "worker-killed", "worker-not-started", "worker-silent",
)  # fmt: skip
"""Events of the log that tell of something that should not happen."""


class Exposition:
    """Writes the metrics of a server whenever they are asked for."""

    def __init__(self, read: Callable[[], Posted]) -> None:
        """Take the figures from what `read` returns."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Figures(read))

    def write(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its media type, in the format that an `Accept` header asks for."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _Figures(Collector):
    """The metrics of one report."""

    def __init__(self, read: Callable[[], Posted]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; without a report, those that need none."""
        posted = self._read()
        yield InfoMetricFamily("antiphon_build", "Version of the server.", {"version": __version__})
        yield _gauge("ready", "1 if a new connection would be served, as /readyz says.", posted.obstacle is None)
        report = posted.report
        if report is not None:
            yield from _state(report, posted.age)
            yield from _clients(report)
            yield from _work(report)


def _state(report: ServerReport, age: float) -> Iterator[Metric]:
    workers = report.workers
    yield _gauge("start_time_seconds", "When the server was started.", report.started_at.timestamp())
    problem = GaugeMetricFamily("antiphon_problem", "1 for what is not well.", labels=["problem"])
    for word in PROBLEM_WORDS:
        problem.add_metric([word], float(word in report.problems))
    yield problem
    yield _gauge("workers", "Processes that serve.", len(workers))
    yield _gauge("workers_wanted", "Processes that should serve.", report.workers_wanted)
    yield _gauge(
        "silence_seconds",
        "Longest time since a process that serves has reported.",
        age + max((each.silent_s for each in workers), default=0.0),
    )
    yield _gauge(
        "event_loop_lag_seconds",
        "Longest delay of an event loop in the last 10 s.",
        max((each.lag_s for each in workers), default=0.0),
    )
    yield _gauge(
        "revocation_lag_seconds",
        "Longest time since a process has read the revocation log.",
        max((each.revocations_age_s for each in workers), default=0.0),
    )
    yield _gauge(
        "store_lag_seconds",
        "Longest time since the store has taken the heartbeat of a process.",
        max((each.store_age_s for each in workers), default=0.0),
    )
    ends = [each.facts.expires_at.timestamp() for each in workers if each.facts.expires_at is not None]
    if ends:
        yield _gauge("certificate_expiry_timestamp_seconds", "End of the certificate.", min(ends))


def _clients(report: ServerReport) -> Iterator[Metric]:
    events, totals = report.events, report.totals
    yield _gauge("connections", "Open connections.", sum(each.connections for each in report.workers))
    yield _gauge("sessions", "Live sessions.", sum(each.sessions for each in report.workers))
    yield _counter("connections_opened", "Connections that were accepted.", events["connected"])
    yield _by_code("connections_cut", "Connections that the server has cut.", "cut", events)
    yield _counter("sign_ins", "Sessions that were opened.", events["signed-in"])
    yield _counter("registrations", "Accounts that were registered.", events["registered"])
    yield _by_code("refusals", "Sign-ins, registrations and resumes that were refused.", "refused", events)
    resumes = CounterMetricFamily("antiphon_resumes", "Sessions that were resumed.", labels=["outcome"])
    counts = {**totals.resumes, "relayed": events["relayed"]}
    for outcome in OUTCOMES:
        resumes.add_metric([outcome], counts.get(outcome, 0))
    yield resumes
    yield _counter("received_bytes", "Bytes of frames received, without TLS.", totals.received_bytes)
    yield _counter("sent_bytes", "Bytes of frames sent, without TLS.", totals.sent_bytes)


def _work(report: ServerReport) -> Iterator[Metric]:
    events, totals = report.events, report.totals
    yield _counter("messages", "Messages that clients have sent in sessions.", report.messages)
    buckets, below = [], 0
    for bound, count in zip([*map(str, TIME_BOUNDS), "+Inf"], totals.handled, strict=True):
        below += count
        buckets.append((bound, below))
    yield HistogramMetricFamily(
        "antiphon_handler_seconds",
        "Time of the service for a message, from the call to the last answer.",
        buckets=buckets,
        sum_value=totals.handler_seconds,
    )
    yield SummaryMetricFamily(
        "antiphon_store_seconds",
        "Time of the store for a call, its wait in the queue included.",
        count_value=totals.store_calls,
        sum_value=totals.store_seconds,
    )
    faults = CounterMetricFamily("antiphon_faults", "Records of the log that tell of a fault.", labels=["event"])
    for event in FAULTS:
        faults.add_metric([event], events[event])
    yield faults
    yield _counter("log_records_dropped", "Records that the log could not write.", totals.log_dropped)


def _gauge(name: str, help: str, value: float) -> Metric:  # noqa: A002 - as prometheus_client calls it
    return GaugeMetricFamily(f"antiphon_{name}", help, value=float(value))


def _counter(name: str, help: str, value: float) -> Metric:  # noqa: A002 - likewise
    return CounterMetricFamily(f"antiphon_{name}", help, value=value)


def _by_code(name: str, help: str, event: str, events: dict[str, int]) -> Metric:  # noqa: A002 - likewise
    """Return the records of an event by the code of an error; a code that no error has is left out."""
    metric = CounterMetricFamily(f"antiphon_{name}", help, labels=["code"])
    for key, count in sorted(events.items()):
        found, _, code = key.partition(" ")
        if found == event and code in CODES:
            metric.add_metric([code], count)
    return metric
