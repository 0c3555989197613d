"""Limits and percentiles: parsing, refusals, and the check with the figure that exceeds a limit."""

import pytest

from antiphon.errors import OverThreshold, SettingInvalid
from antiphon.ping.tally import Tally
from antiphon.ping.threshold import Threshold, check, read_percentiles


def tally(*times: int, sent: int = 0, wrong: int = 0, lost: int = 0, unsent: int = 0) -> Tally:
    made = Tally(scheduled=False)
    for time in times:
        made.times.record(time)
    made.sent = sent or len(times)
    made.wrong, made.lost, made.unsent = wrong, lost, unsent
    return made


@pytest.mark.parametrize(
    ("text", "values"),
    [("50", (50,)), ("99.9,50, p90", (50, 90, 99.9)), ("100,100", (100,)), ("0.001", (0.001,))],
)
def test_percentiles_come_in_order_and_once(text: str, values: tuple[float, ...]) -> None:
    assert read_percentiles(text) == values


@pytest.mark.parametrize("text", ["", ",", "50,", "0", "100.1", "-1", "1e1", "p", "50 90", "nan", "٥٠x"])
def test_what_is_no_list_of_percentiles_is_refused(text: str) -> None:
    with pytest.raises(SettingInvalid, match="--percentiles: must be percentiles"):
        read_percentiles(text)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("p99=5ms", 5e6),
        ("p99.9=1.5s", 1.5e9),
        ("p50=80us", 80e3),
        ("p50=80µs", 80e3),
        ("max=1s", 1e9),
        ("min=1ms", 1e6),
        ("mean=2ms", 2e6),
        ("lost=0.1%", 0.001),
        ("wrong=0%", 0),
    ],
)
def test_a_limit_is_read_with_its_unit(text: str, most: float) -> None:
    limit = Threshold.read(text)
    assert limit.what == text.partition("=")[0]
    assert limit.most == pytest.approx(most)


@pytest.mark.parametrize(
    "text",
    ["", "p99", "p99=5", "p99=5%", "lost=5ms", "p101=1s", "p0=1s", "pp=1s", "p99=-1ms", "p99 = 5ms", "sent=1s"],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(SettingInvalid, match="--fail-over: must be such as"):
        Threshold.read(text)


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        ("p50=1.001ms", None),
        ("p50=999us", "p50 = 1.00 ms > 999us"),
        ("p100=3ms", None),
        ("max=2.9ms", "max = 3.00 ms > 2.9ms"),
        ("min=1ms", None),
        ("mean=1.5ms", "mean = 1.67 ms > 1.5ms"),
        ("lost=50%", None),
        ("lost=49%", "lost = 50.0% > 49%"),
        ("wrong=0%", "wrong = 16.7% > 0%"),
    ],
)
def test_what_is_at_the_limit_holds_and_what_is_over_it_does_not(text: str, measured: str | None) -> None:
    run = tally(1_000_000, 1_000_000, 3_000_000, sent=6, wrong=1, lost=2, unsent=2)
    run.sent = 6
    assert Threshold.read(text).exceeded(run) == measured


def test_where_nothing_was_answered_no_limit_of_time_holds() -> None:
    assert Threshold.read("p99=100s").exceeded(tally()) == "p99 = - > 100s"
    assert Threshold.read("lost=0%").exceeded(tally()) is None


def test_every_limit_that_does_not_hold_is_told() -> None:
    limits = [Threshold.read(text) for text in ("p50=1us", "max=1s", "min=1us")]
    with pytest.raises(OverThreshold, match=r"Over the limit: p50 = 1.00 ms > 1us, min = 1.00 ms > 1us\."):
        check(limits, tally(1_000_000))
    check(limits[1:2], tally(1_000_000))
