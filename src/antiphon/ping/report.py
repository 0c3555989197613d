"""Reports of a run for a person: the summary, the histogram in block characters, the comparison of two runs."""

import math
from collections.abc import Iterable, Sequence

from antiphon.language import Translate
from antiphon.ping.histogram import Histogram
from antiphon.ping.result import Result, Times
from antiphon.ping.tally import Tally
from antiphon.ping.units import shown_percentile, shown_time

BANDS = 12
"""Most rows of the drawing."""
BAR = 40
"""Columns of the longest bar."""
DRAWN_FROM = 10
"""Least number of times that is worth a drawing."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def summary(result: Result, _: Translate) -> list[str]:
    """Return the lines of the summary, without the drawing."""
    counts = _("Sent {sent}, answered {answered}, wrong {wrong}, lost {lost}, in {seconds} s.")
    lines = [
        counts.format(
            sent=result.sent,
            answered=result.answered,
            wrong=result.wrong,
            lost=result.lost,
            seconds=f"{result.elapsed_s:.2f}",
        )
    ]
    if result.unsent:
        told = _("Due and never sent: {count}. The path is slower than the rate.")
        lines.append(told.format(count=result.unsent))
    speed = _("Messages a second: {messages}; bytes a second: {size}.")
    lines.append(speed.format(messages=_rounded(result.messages_per_s), size=_rounded(result.bytes_per_s)))
    if result.outages:
        until = result.elapsed_s  # for a connection that did not come back
        away = sum(until - each.at_s if each.away_s is None else each.away_s for each in result.outages)
        told = _("Connections lost: {count}; seconds without one: {seconds}.")
        lines.append(told.format(count=len(result.outages), seconds=f"{away:.2f}"))
    if result.latency.min_us is not None:
        rows = [_row(_("round trip"), result.latency)]
        if result.uncorrected is not None:
            rows = [
                _row(_("from when it was due"), result.latency),
                _row(_("from when it was sent"), result.uncorrected),
            ]
        lines += table([["", "min", *result.latency.percentiles_us, "max"], *rows])
    return lines


def _row(label: str, times: Times) -> list[str]:
    values = [times.min_us, *times.percentiles_us.values(), times.max_us]
    return [label, *(shown_time(1000 * (value or 0)) for value in values)]


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines: the first column aligned left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def drawing(times: Histogram) -> list[str]:
    """Return the histogram as lines, a bar for each band of times (logarithmic); none with too few times."""
    if times.count < DRAWN_FROM:
        return []
    bands = banded(times, BANDS)
    most = max(count for _, count in bands)
    rows = [[shown_time(upper), str(count), _bar(count / most)] for upper, count in bands]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"≤ {upper:>{widths[0]}}  {count:>{widths[1]}}  {bar}".rstrip() for upper, count, bar in rows]


def banded(times: Histogram, bands: int) -> list[tuple[int, int]]:
    """Return upper edge in nanoseconds and count of up to `bands` bands of equal width on a logarithmic scale."""
    lowest = max(1000, times.shortest)  # no round trip is faster than a microsecond
    highest = max(lowest, times.longest)
    step = max(math.log(highest / lowest) / bands, math.log(1.005))  # no finer than the counters
    edges: list[int] = []
    while len(edges) < bands - 1 and (edge := round(lowest * math.exp(step * (len(edges) + 1)))) < highest:
        edges.append(edge)
    counts = [0] * (len(edges) + 1)
    band = 0
    for time, count in times.rows():
        while band < len(edges) and time > edges[band]:
            band += 1
        counts[band] += count
    return list(zip([*edges, highest], counts, strict=True))


def _bar(share: float) -> str:
    eighths = max(1, round(share * BAR * 8)) if share else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def live(tally: Tally, seconds: float, _: Translate) -> str:
    """Return the text of the live line: counts, and the 50th and 99th percentile."""
    told = _("{seconds} s: sent {sent}, answered {answered}, wrong {wrong}, lost {lost}")
    line = told.format(
        seconds=f"{seconds:.0f}",
        sent=tally.sent,
        answered=tally.answered,
        wrong=tally.wrong,
        lost=tally.lost,
    )
    if tally.times.count:
        figures = [f"{shown_percentile(each)} {shown_time(tally.times.percentile(each))}" for each in (50, 99)]
        line += f"; {', '.join(figures)}, max {shown_time(tally.times.longest)}"
    return line


def comparison(first: Result, second: Result, _: Translate) -> list[str]:
    """Return two runs side by side as lines, with the ratio of the second to the first."""
    rows = [["", "A", "B", "B/A"]]
    rows.append([_("loop"), first.loop, second.loop, ""])
    for label, values in (
        (_("connections"), (first.connections, second.connections)),
        (_("depth"), (first.depth, second.depth)),
        (_("bytes of a message"), (first.size_bytes, second.size_bytes)),
    ):
        rows.append([label, *map(str, values), ""])
    for label, values in (
        (_("sent"), (first.sent, second.sent)),
        (_("answered"), (first.answered, second.answered)),
        (_("wrong"), (first.wrong, second.wrong)),
        (_("lost"), (first.lost + first.unsent, second.lost + second.unsent)),
    ):
        rows.append([label, *map(str, values), _ratio(*values)])
    speeds = first.messages_per_s, second.messages_per_s
    rows.append([_("messages a second"), *map(_rounded, speeds), _ratio(*speeds)])
    rows += _compared(_named(first.latency), _named(second.latency))
    return table(rows)


def _named(times: Times) -> dict[str, float]:
    """Return the figures that exist, by name, in microseconds."""
    all_of_them = {"min": times.min_us, "mean": times.mean_us, **times.percentiles_us, "max": times.max_us}
    return {name: value for name, value in all_of_them.items() if value is not None}


def _compared(first: dict[str, float], second: dict[str, float]) -> Iterable[list[str]]:
    for name, value in first.items():
        if name in second:
            cells = [shown_time(1000 * each) for each in (value, second[name])]
            yield [name, *cells, _ratio(value, second[name])]


def _ratio(first: float, second: float) -> str:
    return f"{second / first:.2f}" if first else "-"
