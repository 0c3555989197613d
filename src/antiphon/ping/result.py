"""`Result`: the figures of a run, written as JSON and read back; docs/ping.md describes each field."""

from datetime import datetime
from pathlib import Path

import msgspec

from antiphon.errors import FileUnusable, Problem
from antiphon.files import reported
from antiphon.language import N_
from antiphon.ping.histogram import Histogram
from antiphon.ping.load import Load
from antiphon.ping.units import shown_percentile
from antiphon.version import __version__

SCHEMA_VERSION = 1
"""Incremented when a field is removed or changes its meaning; new fields do not change it."""
LARGEST = 16 * 1024 * 1024
"""Most bytes of a result file: many times what 34,000 counters need."""

_NO_RESULT = Problem(N_("it is not a result that --json has written"))
_OTHER_VERSION = Problem(N_("its format is version {found}, and this program reads version {known}"))


class Target(msgspec.Struct, kw_only=True):
    """The server of a run, and the sign-ins."""

    address: str
    """Address without name and fingerprint."""
    name: str
    """Name that signed in; empty if the server asks for none."""
    key: str | None
    """Fingerprint of the server's key, None on plain TCP."""
    sign_ins_s: list[float]
    """Seconds that the sign-in of each connection took."""


class Times(msgspec.Struct, kw_only=True):
    """Round-trip times of correct answers, in microseconds; None and empty without any."""

    min_us: float | None
    mean_us: float | None
    max_us: float | None
    percentiles_us: dict[str, float]

    @classmethod
    def of(cls, times: Histogram, percentiles: tuple[float, ...]) -> "Times":
        """Return the figures of a histogram."""
        if not times.count:
            return cls(min_us=None, mean_us=None, max_us=None, percentiles_us={})
        return cls(
            min_us=times.shortest / 1000,
            mean_us=round(times.mean / 1000, 3),
            max_us=times.longest / 1000,
            percentiles_us={shown_percentile(each): times.percentile(each) / 1000 for each in percentiles},
        )


class Lost(msgspec.Struct, kw_only=True):
    """A connection that was lost."""

    connection: int
    at_s: float
    away_s: float | None
    code: str


class Result(msgspec.Struct, kw_only=True):
    """All figures of one run."""

    schema_version: int
    antiphon_version: str
    began_at: str
    target: Target
    loop: str
    connections: int
    depth: int
    size_bytes: int
    interval_s: float
    rate_per_s: float | None
    elapsed_s: float
    sent: int
    answered: int
    wrong: int
    lost: int
    unsent: int
    errors: dict[str, int]
    messages_per_s: float
    bytes_per_s: float
    latency: Times
    uncorrected: Times | None
    outages: list[Lost]
    ended_by: str | None
    histogram_ns: list[tuple[int, int]]

    @property
    def histogram(self) -> Histogram:
        """Histogram of the times of all correct answers."""
        return Histogram.of(self.histogram_ns)


def result_of(
    load: Load,
    target: Target,
    percentiles: tuple[float, ...],
    *,
    began_at: datetime,
    ended_by: str | None = None,
) -> Result:
    """Return the figures of a run that has ended; `ended_by` is the code of the error that ended it, if any."""
    tally, plan = load.tally, load.plan
    rate = tally.answered / load.seconds if load.seconds else 0.0
    uncorrected = tally.uncorrected
    return Result(
        schema_version=SCHEMA_VERSION,
        antiphon_version=__version__,
        began_at=began_at.isoformat(timespec="seconds"),
        target=target,
        loop="closed" if plan.rate is None else "open",
        connections=load.width,
        depth=plan.depth,
        size_bytes=plan.size,
        interval_s=plan.interval,
        rate_per_s=plan.rate,
        elapsed_s=round(load.seconds, 6),
        sent=tally.sent,
        answered=tally.answered,
        wrong=tally.wrong,
        lost=tally.lost,
        unsent=tally.unsent,
        errors=dict(tally.errors),
        messages_per_s=round(rate, 3),
        bytes_per_s=round(rate * plan.size, 3),
        latency=Times.of(tally.times, percentiles),
        uncorrected=None if uncorrected is None else Times.of(uncorrected, percentiles),
        outages=[
            Lost(connection=each.connection, at_s=round(each.at, 6), away_s=each.away, code=each.reason.code)
            for each in tally.outages
        ],
        ended_by=ended_by,
        histogram_ns=list(tally.times.rows()),
    )


def written(result: Result) -> str:
    """Return a result as one line of JSON with its line end."""
    return msgspec.json.encode(result).decode() + "\n"


def read(path: Path) -> Result:
    """Return the result in a file.

    Raises:
        FileUnusable: the file cannot be read, or is not a result of a version that this program knows.
    """
    with reported(path, FileUnusable), path.open("rb") as file:
        data = file.read(LARGEST + 1)
    try:
        version = msgspec.json.decode(data, type=_Version).schema_version
        if version != SCHEMA_VERSION:
            raise FileUnusable(path=str(path), problem=_OTHER_VERSION, found=version, known=SCHEMA_VERSION)
        result = msgspec.json.decode(data, type=Result)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise FileUnusable(path=str(path), problem=_NO_RESULT) from None
    if any(time < 0 or count < 1 for time, count in result.histogram_ns):
        raise FileUnusable(path=str(path), problem=_NO_RESULT)
    return result


class _Version(msgspec.Struct):
    schema_version: int
