"""The histogram with axes, as wide as the terminal: drawn by plotext where antiphon[plot] has brought it."""

import re

from antiphon.ping.histogram import Histogram
from antiphon.ping.report import DRAWN_FROM, banded
from antiphon.ping.units import shown_time

HEIGHT = 16
"""Lines, with the axes."""
BAND_WIDTH = 10
"""Columns for each band: its time is written below it."""
LEAST = 40
"""Columns; in fewer nothing can be read."""


def chart(times: Histogram, columns: int) -> list[str] | None:
    """Return the lines of the chart; None where there is no plotext, no room, or too little to draw."""
    try:
        import plotext  # noqa: PLC0415 - brought by antiphon[plot] only
    except ImportError:
        return None
    if times.count < DRAWN_FROM or columns < LEAST:
        return None
    bands = banded(times, columns // BAND_WIDTH - 1)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)  # noqa: FBT003 - its signature; the size of the screen is given
    plotext.plot_size(columns, HEIGHT)
    plotext.bar([f"≤{shown_time(upper)}" for upper, _ in bands], [count for _, count in bands], width=0.9)
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", plotext.build()).splitlines()]
