"""The chart of the histogram, drawn by plotext."""

import sys

import pytest

from antiphon.ping.chart import HEIGHT, chart
from antiphon.ping.histogram import Histogram


def times(*milliseconds: float) -> Histogram:
    histogram = Histogram()
    for each in milliseconds:
        histogram.record(round(each * 1e6))
    return histogram


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_it_is_as_wide_as_the_terminal_and_names_the_longest_time(columns: int) -> None:
    lines = chart(times(*range(1, 11)), columns)
    assert lines is not None
    assert len(lines) == HEIGHT
    assert max(map(len, lines)) == columns
    assert "≤10.0 ms" in lines[-1]
    assert "\x1b" not in "".join(lines)


def test_without_plotext_room_or_times_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    many = times(*range(1, 11))
    assert chart(many, 39) is None
    assert chart(times(1, 2, 3), 80) is None
    monkeypatch.setitem(sys.modules, "plotext", None)
    assert chart(many, 80) is None
