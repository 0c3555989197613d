"""Tests of the history: rates, times and refusals of a quarter of an hour, from reports."""

import msgspec
import pytest

from antiphon.server.control.report import ServerReport, report_of
from antiphon.server.control.totals import Totals
from antiphon.server.status.history import HISTORY_SECONDS, POINT_SECONDS, History, quantile
from antiphon.wire.times import TIME_BOUNDS
from support.reports import NOW, WELL


def report(messages: int, handled: dict[float, int] | None = None, **events: int) -> ServerReport:
    counts = [(handled or {}).get(bound, 0) for bound in (*TIME_BOUNDS, float("inf"))]
    worker = msgspec.structs.replace(
        WELL,
        messages=messages,
        totals=Totals(handled=counts),
        events={name.replace("_", " ", 1).replace("_", "-"): count for name, count in events.items()},
    )
    return report_of([worker], version="1", pid=1, started_at=NOW, now=NOW)


def test_a_point_is_made_each_few_seconds_of_what_has_happened_since_the_last_one() -> None:
    history = History()
    for second in range(11):
        history.note(report(100 * second, {0.001: 99 * second, 0.25: second}), now=1000.0 + second)
    first, then, last = history.points
    assert (first.messages_per_s, first.median_s, first.p99_s, first.connections) == (None, None, None, 1)
    assert then.messages_per_s == last.messages_per_s == 100
    assert then.median_s is not None
    assert then.p99_s is not None
    assert 0.0005 < then.median_s < 0.001 == then.p99_s


def test_it_holds_a_quarter_of_an_hour_and_no_more() -> None:
    history = History()
    for number in range(1000):
        history.note(report(0, refused_bad=number), now=number * POINT_SECONDS)
    assert history.points[-1].at - history.points[0].at == HISTORY_SECONDS
    assert len(history._refused) == len(history.points)
    lately = history.refused_lately(report(0, refused_bad=1000))
    assert lately == {"refused bad": HISTORY_SECONDS / POINT_SECONDS + 1}


def test_refusals_of_before_are_not_those_of_now() -> None:
    history = History()
    assert history.refused_lately(report(0, refused_bad=1)) == {}
    history.note(report(0, refused_bad=7, cut_peer_silent=1), now=0)
    assert history.refused_lately(report(0, refused_bad=7)) == {"refused bad": 7}, "the server has just started"
    history.note(report(0, refused_bad=7, cut_peer_silent=1), now=HISTORY_SECONDS + 1)
    now = report(0, refused_bad=9, cut_peer_silent=1, signed=5, refused=10)
    assert history.refused_lately(now) == {"refused bad": 2}


def test_a_worker_that_was_killed_makes_no_rate_below_zero() -> None:
    history = History()
    history.note(report(100, {0.001: 100}), now=0)
    history.note(report(90, {0.001: 90}), now=POINT_SECONDS)
    assert (history.points[-1].messages_per_s, history.points[-1].median_s) == (0, None)


@pytest.mark.parametrize(
    ("counts", "share", "wanted"),
    [
        ({}, 0.5, None),
        ({0.001: 1}, 0.99, (0.0005, 0.001)),
        ({0.001: 50, 0.1: 50}, 0.5, (0.0009, 0.0011)),
        ({0.001: 50, 0.1: 50}, 0.99, (0.09, 0.1)),
        ({0.00001: 5}, 0.5, (0.000001, 0.00001)),
        ({float("inf"): 5}, 0.5, (TIME_BOUNDS[-2], TIME_BOUNDS[-1])),
    ],
)
def test_a_quantile_is_within_its_bucket(
    counts: dict[float, int], share: float, wanted: tuple[float, float] | None
) -> None:
    found = quantile([counts.get(bound, 0) for bound in (*TIME_BOUNDS, float("inf"))], share)
    if wanted is None:
        assert found is None
    else:
        assert found is not None
        assert wanted[0] <= found <= wanted[1]
