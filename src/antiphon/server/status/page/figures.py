"""Figures for people: numbers, times and durations, in the language of the page."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from antiphon.language import N_, Translate
from antiphon.server.status.page.html import Html, tag

_UNITS = (
    (1e-3, 1e6, N_("{value} µs")),
    (1.0, 1e3, N_("{value} ms")),
    (float("inf"), 1.0, N_("{value} s")),
)  # fmt: skip
"""Upper bound in seconds, factor, and the unit."""


class Figures:
    """Writes figures in one language."""

    def __init__(self, language: str, translate: Translate) -> None:
        """Write them in `language`."""
        self._translate = translate
        self._points = str.maketrans({",": "\u00a0", ".": ","}) if language == "ru" else {}

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number with so many digits after the point."""
        return f"{value:,.{digits}f}".translate(self._points)

    def rate(self, value: float | None) -> str:
        """Return a number of messages a second; a dash where it is not known."""
        if value is None:
            return "–"
        return self.number(value, 1 if 0 < value < 99.95 else 0)

    def seconds(self, value: float | None) -> str:
        """Return a short time with its unit; a dash where it is not known."""
        if value is None:
            return "–"
        _, factor, unit = next(each for each in _UNITS if value < each[0])
        scaled = value * factor
        return self._translate(unit).format(value=self.number(scaled, 1 if scaled < 9.95 else 0))

    def duration(self, value: timedelta) -> str:
        """Return how long something has lasted, to the minute and below it to the second."""
        _, seconds = self._translate, max(0, int(value.total_seconds()))
        days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
        if days:
            return _("{days} d {hours} h").format(days=days, hours=hours)
        if hours:
            return _("{hours} h {minutes} min").format(hours=hours, minutes=minutes)
        if minutes:
            return _("{minutes} min").format(minutes=minutes)
        return _("{seconds} s").format(seconds=seconds)

    def since(self, at: datetime, now: datetime) -> Html:
        """Return how long ago a moment is, as an element that also holds the moment."""
        moment = at.isoformat(timespec="seconds")
        return tag("time", self.duration(now - at), datetime=moment, title=moment)


def ticks(most: float, count: int = 4) -> Sequence[float]:
    """Return at most `count` + 1 round numbers from 0 on, the last of which is not below `most`."""
    digits = (digit * 10.0**power for power in range(-1, 18) for digit in (1, 2, 5))
    step = next(step for step in digits if step * count >= most)
    return [step * place for place in range(count + 1) if place == 0 or step * (place - 1) < most]
