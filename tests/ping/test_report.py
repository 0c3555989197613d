"""Reports for a person: units, tables, the drawing, the picture, the live line."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from antiphon.errors import FileUnusable
from antiphon.ping import plot, report
from antiphon.ping.histogram import Histogram
from antiphon.ping.live import LiveLine
from antiphon.ping.load import Load
from antiphon.ping.plan import Plan
from antiphon.ping.result import Result, Target, Times, result_of
from antiphon.ping.units import shown_percentile, shown_share, shown_time
from antiphon.version import __version__


def histogram_of(*times: int) -> Histogram:
    made = Histogram()
    for time in times:
        made.record(time)
    return made


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0.00 µs"),
        (1, "0.00 µs"),
        (5_555, "5.55 µs"),
        (9_996, "10.0 µs"),
        (99_960, "100 µs"),
        (999_400, "999 µs"),
        (999_500, "1.00 ms"),
        (12_345_678, "12.3 ms"),
        (999_600_000, "1.00 s"),
        (61 * 10**9, "61.0 s"),
        (3600 * 10**9, "3600 s"),
    ],
)
def test_a_time_has_three_digits_and_the_unit_that_fits(nanoseconds: int, text: str) -> None:
    assert shown_time(nanoseconds) == text


def test_shares_and_percentiles_are_called_as_people_call_them() -> None:
    assert [shown_share(share) for share in (0, 0.01, 0.5, 1)] == ["0%", "1.00%", "50.0%", "100%"]
    assert [shown_percentile(each) for each in (50, 99.9, 99.999)] == ["p50", "p99.9", "p99.999"]


def test_a_table_stands_in_columns() -> None:
    assert report.table([["", "a", "long"], ["row", "1", "2"]]) == ["     a  long", "row  1     2"]


def test_the_drawing_has_a_bar_for_each_band_and_counts_everything_once() -> None:
    times = histogram_of(*[1_000_000] * 80, *range(1_000_000, 64_000_000, 1_000_000), 64_000_000)
    lines = report.drawing(times)
    assert len(lines) == report.BANDS
    assert sum(int(line.split()[3]) for line in lines) == times.count
    assert max(line.count("█") for line in lines) == report.BAR == lines[0].count("█")
    assert lines[-1].startswith("≤ 64.0 ms")
    ends = [found.end() for line in lines if (found := re.match(r"≤ +\S+ \S+ +\d+", line))]
    assert len(ends) == len(lines)
    assert len(set(ends)) == 1, "the counts stand in a column"


def test_a_count_of_one_among_many_is_still_seen() -> None:
    lines = report.drawing(histogram_of(*[1_000_000] * 100_000, 50_000_000))
    assert lines[-1].endswith("▏")


@pytest.mark.parametrize("times", [[5] * 20, [0] * 20, [0, 1] * 10, [1_000_000, 1_000_001] * 10])
def test_times_that_are_all_the_same_are_one_band_or_few(times: list[int]) -> None:
    lines = report.drawing(histogram_of(*times))
    assert 1 <= len(lines) <= 3
    assert sum(int(line.split()[3]) for line in lines) == 20


def test_few_times_are_not_drawn() -> None:
    assert report.drawing(histogram_of(*[1] * (report.DRAWN_FROM - 1))) == []


# --- the picture --------------------------------------------------------------------------------------------


def result_with(times: Histogram, **fields: Any) -> Result:
    """Return the result of a run with these times."""
    target = Target(address="tls://<host>:1", name="ann", key=None, sign_ins_s=[0.1])
    load = Load(Plan(count=1, size=64, depth=4), [])
    made = result_of(load, target, (50, 99), began_at=datetime(2026, 11, 22, tzinfo=UTC))
    return msgspec.structs.replace(
        made, connections=3, sent=times.count, answered=times.count, histogram_ns=list(times.rows()), **fields
    )


def texts_of(path: Path) -> list[str]:
    root = ET.fromstring(path.read_text("utf-8"))
    return [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_has_a_bar_for_each_band_and_a_mark_for_each_percentile(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    times = histogram_of(*range(1_000_000, 9_000_000, 1000))
    plot.draw(path, result_with(times), (50, 99))
    root = ET.fromstring(path.read_text("utf-8"))
    rectangles = [each.get("fill") for each in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert rectangles.count("#4878a8") == plot.BANDS
    assert rectangles.count("#c03030") == 2
    assert f"p50 {shown_time(times.percentile(50))}" in texts_of(path)
    assert f"p99 {shown_time(times.percentile(99))}" in texts_of(path)


def test_the_picture_names_its_axes_their_units_and_how_it_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    times = histogram_of(*[1_000_000] * 730, *range(1_000_000, 9_000_000, 100_000))
    plot.draw(path, result_with(times, interval_s=0.5, elapsed_s=2.0, messages_per_s=405.0), (50,))
    texts = texts_of(path)
    assert texts[:4] == [
        "antiphon ping tls://<host>:1",
        f"2026-11-22T00:00:00+00:00, antiphon {__version__}",
        "closed loop, interval 0.5 s; connections: 3; depth: 4; 64 bytes a message",
        f"sent {times.count}, answered {times.count}, wrong 0, lost 0 in 2.00 s; 405.0 messages/s",
    ]
    assert "messages in each band" in texts
    assert "time from when a message was sent to its answer (logarithmic scale)" in texts
    assert [text for text in texts if text.isdecimal()] == ["0", "200", "400", "600"]
    assert len([text for text in texts if re.fullmatch(r"\d\.\d\d ms", text)]) >= plot.LABELS


def test_the_picture_of_an_open_loop_counts_from_when_a_message_was_due(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    due = Times(min_us=1, mean_us=1, max_us=1, percentiles_us={})
    plot.draw(path, result_with(histogram_of(1000), loop="open", rate_per_s=500, uncorrected=due), (50,))
    texts = texts_of(path)
    assert "open loop, 500 messages/s wanted; connections: 3; depth: 4; 64 bytes a message" in texts
    assert "time from when a message was due to its answer (logarithmic scale)" in texts


def test_the_picture_of_nothing_is_a_picture(tmp_path: Path) -> None:
    for name in ("none.svg", "none.png"):
        plot.draw(tmp_path / name, result_with(Histogram()), (50,))
        assert (tmp_path / name).stat().st_size > 100


def test_a_png_without_pillow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(FileUnusable, match=r"needs Pillow, which pip install 'antiphon\[plot\]' brings"):
        plot.check_drawable(tmp_path / "x.png")
    plot.check_drawable(tmp_path / "x.SVG")


# --- the live line --------------------------------------------------------------------------------------------


class Screen:
    def __init__(self, *, terminal: bool) -> None:
        self.written = ""
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> None:
        self.written += text

    def flush(self) -> None:
        pass


def test_the_live_line_is_rewritten_cut_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "6")
    screen = Screen(terminal=True)
    line = LiveLine(screen)  # type: ignore[arg-type]
    line.clear()
    line.show("one two")
    line.show("three")
    line.clear()
    line.clear()
    assert screen.written == "\r\x1b[Kone t\r\x1b[Kthree\r\x1b[K"


@pytest.mark.parametrize(
    ("terminal", "term", "wanted"), [(False, "xterm", True), (True, "dumb", True), (True, "xterm", False)]
)
def test_where_no_line_can_be_rewritten_there_is_none(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, term: str, wanted: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    screen = Screen(terminal=terminal)
    line = LiveLine(screen, wanted=wanted)  # type: ignore[arg-type]
    line.show("x")
    line.clear()
    assert screen.written == ""
