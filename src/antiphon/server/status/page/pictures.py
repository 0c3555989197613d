"""Pictures of the page as SVG: a quarter of an hour of messages, connections and handler times.

They are drawn here and not in the browser: the page shows them without its script too, one place draws them, and a
test reads them.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from antiphon.language import Translate
from antiphon.server.status.history import HISTORY_SECONDS, Point
from antiphon.server.status.page.figures import Figures, ticks
from antiphon.server.status.page.html import Html, tag

WIDTH, HEIGHT = 400, 176
LEFT, RIGHT, TOP, BOTTOM = 54, 8, 24, 24
LATENCIES = tuple(10.0**power for power in range(-6, 3))
"""Marks of the axis of handler times, in seconds."""

Line = Sequence[tuple[float, float | None]]
"""Positions from 0 (the oldest) to 1 (now), and values; None where there is none."""


class Pictures:
    """Draws the three pictures in one language."""

    def __init__(self, points: Sequence[Point], figures: Figures, translate: Translate) -> None:
        """Draw `points`, the oldest first."""
        self._points = points
        self._figures = figures
        self._translate = translate

    def messages(self) -> Html:
        """Return the picture of messages a second."""
        _ = self._translate
        line = self._line(lambda point: point.messages_per_s)
        return self._linear(
            "messages", line, (_("Messages a second"), _("messages a second")),
            _("Messages a second over the last 15 minutes: now {now}, at most {most}."), self._figures.rate,
        )  # fmt: skip

    def connections(self) -> Html:
        """Return the picture of open connections."""
        _ = self._translate
        line = self._line(lambda point: float(point.connections))
        return self._linear(
            "connections", line, (_("Connections"), _("open connections")),
            _("Open connections over the last 15 minutes: now {now}, at most {most}."),
            lambda value: "–" if value is None else self._figures.number(value),
        )  # fmt: skip

    def latency(self) -> Html:
        """Return the picture of the times of handlers, on a logarithmic scale."""
        _, seconds = self._translate, self._figures.seconds
        median, p99 = self._line(lambda point: point.median_s), self._line(lambda point: point.p99_s)
        values = [value for _, value in (*median, *p99) if value is not None]
        low, high = _decades(values)
        marks = [mark for mark in LATENCIES if low * 0.99 <= mark <= high * 1.01]
        span = math.log(high / low)

        def place(value: float) -> float:
            return min(1.0, max(0.0, math.log(value / low) / span))

        titles = _("Handler time"), _("time of the service for a message")
        text = _("Handler time over the last 15 minutes: median now {median}, 99th percentile now {p99}.")
        told = text.format(median=seconds(_last(median)), p99=seconds(_last(p99)))
        return _picture("latency", titles, told, [
            *_axes([(place(mark), seconds(mark)) for mark in marks], self._now()),
            *_path(p99, place, "p99"),
            *_path(median, place, "median"),
        ])  # fmt: skip

    def _linear(
        self, name: str, line: Line, titles: tuple[str, str], text: str, shown: Callable[[float | None], str]
    ) -> Html:
        most = max((value for _, value in line if value is not None), default=0.0)
        marks = ticks(max(most, 4.0))
        told = text.format(now=shown(_last(line)), most=shown(most))
        return _picture(name, titles, told, [
            *_axes([(mark / marks[-1], self._figures.number(mark)) for mark in marks], self._now()),
            *_path(line, lambda value: value / marks[-1], "first", filled=True),
        ])  # fmt: skip

    def _line(self, value: Callable[[Point], float | None]) -> Line:
        if not self._points:
            return []
        now = self._points[-1].at
        return [(1 - (now - point.at) / HISTORY_SECONDS, value(point)) for point in self._points]

    def _now(self) -> Sequence[tuple[float, str]]:
        """Return the marks of the time axis."""
        _ = self._translate
        return [
            *((1 - minutes / 15, _("−{minutes} min").format(minutes=minutes)) for minutes in (15, 10, 5)),
            (1.0, _("now")),
        ]


def _last(line: Line) -> float | None:
    return line[-1][1] if line else None


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Return the powers of ten around some times: two decades at least."""
    low = 10.0 ** math.floor(math.log10(min(values, default=1e-5)))
    high = 10.0 ** math.ceil(math.log10(max(values, default=1e-3)))
    return low, max(high, low * 100)


def _x(place: float) -> float:
    return LEFT + place * (WIDTH - LEFT - RIGHT)


def _y(place: float) -> float:
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)


def _picture(name: str, titles: tuple[str, str], text: str, shapes: Iterable[Html]) -> Html:
    """Return a picture; `titles` are that of the whole, and that of its axis."""
    return tag(
        "svg",
        tag("title", titles[0], id=f"{name}-title"),
        tag("desc", text, id=f"{name}-text"),
        tag("text", titles[1], x=2, y=12, class_="unit"),
        shapes,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        class_="picture",
        role="img",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-text",
    )


def _axes(values: Iterable[tuple[float, str]], times: Iterable[tuple[float, str]]) -> Iterable[Html]:
    """Yield grid lines with the values at the left and the times below."""
    for place, text in values:
        y = f"{_y(place):.1f}"
        yield tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid" if place else "axis")
        yield tag("text", text, x=LEFT - 6, y=f"{_y(place) + 4:.1f}", class_="value")
    for place, text in times:
        x = f"{_x(place):.1f}"
        yield tag("line", x1=x, x2=x, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM + 4, class_="axis")
        edge = "first" if place == 0 else "last" if place == 1 else None
        yield tag("text", text, x=x, y=HEIGHT - 6, class_=f"time {edge}" if edge else "time")


def _path(line: Line, place: Callable[[float], float], name: str, *, filled: bool = False) -> Iterable[Html]:
    """Yield a line with a dot at its end; it is broken where values are missing."""
    inside = [(at, value) for at, value in line if at >= 0]
    for known, group in groupby(inside, lambda each: each[1] is not None):
        dots = [(_x(at), _y(place(value))) for at, value in group if known and value is not None]
        if not dots:
            continue
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in dots)
        if len(dots) == 1:  # a line of one point would not be seen
            path += "l0.1 0"
        elif filled:
            area = f"M{dots[0][0]:.1f} {_y(0):.1f}L{path}L{dots[-1][0]:.1f} {_y(0):.1f}Z"
            yield tag("path", d=area, class_=f"area {name}")
        yield tag("path", d=f"M{path}", class_=f"line {name}")
    if inside and (value := inside[-1][1]) is not None:
        at = inside[-1][0]
        yield tag("circle", cx=f"{_x(at):.1f}", cy=f"{_y(place(value)):.1f}", r=3, class_=f"dot {name}")
