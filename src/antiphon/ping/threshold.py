"""Parsers for `--percentiles` and `--fail-over`, and the check of limits against a run."""

import re
from dataclasses import dataclass

from antiphon.errors import OverThreshold, Problem, SettingInvalid
from antiphon.language import N_
from antiphon.ping.tally import Tally
from antiphon.ping.units import shown_share, shown_time

_PERCENTILE = re.compile(r"p?(\d{1,3}(?:\.\d{1,6})?)")
_LIMIT = re.compile(r"([a-z0-9.]+)=(\d+(?:\.\d+)?)(us|µs|ms|s|%)")
_NANOSECONDS = {"us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9}
_TIMES = ("min", "mean", "max")
_SHARES = ("lost", "wrong")

_NO_PERCENTILES = Problem(N_("must be percentiles such as 50,90,99.9, not “{given}”"))
_NO_LIMIT = Problem(N_("must be such as p99=5ms, max=1s, lost=0.1% or wrong=0%, not “{given}”"))


def read_percentiles(text: str) -> tuple[float, ...]:
    """Parse `--percentiles`, a comma-separated list; return it sorted and without duplicates.

    Raises:
        SettingInvalid: `text` is not such a list, or a value is not above 0 and at most 100.
    """
    found = [_PERCENTILE.fullmatch(part.strip()) for part in text.split(",")]
    values = sorted({float(match[1]) for match in found if match})
    if None in found or not all(0 < value <= 100 for value in values):
        raise SettingInvalid(source="--percentiles", problem=_NO_PERCENTILES, given=text)
    return tuple(values)


@dataclass(frozen=True)
class Threshold:
    """A limit: the figure `what` may be at most `most`, nanoseconds or a share from 0 to 1; `text` is as given."""

    what: str
    most: float
    text: str

    @classmethod
    def read(cls, text: str) -> "Threshold":
        """Parse one value of `--fail-over`, such as `p99=5ms` or `lost=0.1%`.

        Raises:
            SettingInvalid: `text` is not a limit.
        """
        match = _LIMIT.fullmatch(text)
        if match is None or not _fits(what := match[1], match[3]):
            raise SettingInvalid(source="--fail-over", problem=_NO_LIMIT, given=text)
        factor = _NANOSECONDS.get(match[3], 0.01)
        return cls(what, float(match[2]) * factor, text)

    def measured(self, tally: Tally) -> float | None:
        """Return the figure in `tally`; None if there are no times, which exceeds every limit of time."""
        if self.what in _SHARES:
            return tally.lost_share if self.what == "lost" else tally.wrong_share
        times = tally.times
        if not times.count:
            return None
        named = {"min": times.shortest, "mean": times.mean, "max": times.longest}
        return named[self.what] if self.what in named else times.percentile(float(self.what[1:]))

    def exceeded(self, tally: Tally) -> str | None:
        """Return a text such as `p99 = 7 ms > 5ms` if `tally` exceeds the limit, else None."""
        measured = self.measured(tally)
        if measured is not None and measured <= self.most:
            return None
        if measured is None:
            shown = "-"
        else:
            shown = shown_share(measured) if self.what in _SHARES else shown_time(measured)
        return f"{self.what} = {shown} > {self.text.partition('=')[2]}"


def check(thresholds: list[Threshold], tally: Tally) -> None:
    """Check that `tally` exceeds no limit.

    Raises:
        OverThreshold: it does; the error names all exceeded limits.
    """
    over = [said for threshold in thresholds if (said := threshold.exceeded(tally)) is not None]
    if over:
        raise OverThreshold(limits=", ".join(over))


def _fits(what: str, unit: str) -> bool:
    if what in _SHARES:
        return unit == "%"
    percentile = _PERCENTILE.fullmatch(what) if what.startswith("p") else None
    return unit != "%" and (what in _TIMES or (percentile is not None and 0 < float(percentile[1]) <= 100))
