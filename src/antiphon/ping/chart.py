"""Chart of the histogram with axes, as wide as the terminal; needs plotext (extra antiphon[plot])."""

import re

from antiphon.ping.histogram import Histogram
from antiphon.ping.report import DRAWN_FROM, banded
from antiphon.ping.units import shown_time

HEIGHT = 16
"""Lines, including the axes."""
BAND_WIDTH = 10
"""Columns of each band: room for its time below it."""
LEAST = 40
"""Least columns of a readable chart."""


def chart(times: Histogram, columns: int) -> list[str] | None:
    """Return the lines of the chart; None without plotext, with too few columns, or with too few times."""
    try:
        import plotext  # noqa: PLC0415 - only with the extra antiphon[plot]
    except ImportError:
        return None
    if times.count < DRAWN_FROM or columns < LEAST:
        return None
    bands = banded(times, columns // BAND_WIDTH - 1)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)  # noqa: FBT003 - its signature; `plot_size` sets the size
    plotext.plot_size(columns, HEIGHT)
    plotext.bar([f"≤{shown_time(upper)}" for upper, _ in bands], [count for _, count in bands], width=0.9)
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", plotext.build()).splitlines()]
