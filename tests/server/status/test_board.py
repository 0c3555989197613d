"""Tests of the status board: when a server is ready, and why it is not."""

from typing import Any

import msgspec
import pytest

from antiphon.server.control.report import ProcessReport, report_of
from antiphon.server.status.board import Posted, StatusBoard
from support.reports import NOW, WELL

AWAY = msgspec.structs.replace(WELL, store_age_s=4)
UNREAD = msgspec.structs.replace(WELL, revocations_age_s=4)
SILENT = msgspec.structs.replace(WELL, silent_s=4)


def posted(*workers: ProcessReport, age: float = 0.5, **server: Any) -> Posted:
    return Posted(report_of(list(workers), version="1", pid=1, started_at=NOW, now=NOW, wanted=2, **server), age)


@pytest.mark.parametrize(
    ("found", "obstacle"),
    [
        (posted(WELL), None),
        (posted(WELL, SILENT), None),
        (posted(WELL, AWAY), None),
        (posted(), "nobody-serves"),
        (posted(starting=True), "starting"),
        (posted(WELL, starting=True), None),
        (posted(WELL, draining=True), "draining"),
        (posted(AWAY), "store-away"),
        (posted(UNREAD, AWAY), "store-away"),
        (posted(AWAY, SILENT), "store-away"),
        (posted(SILENT, SILENT), "silent"),
        (posted(WELL, age=3.5), "silent"),
        (Posted(None, 0), "starting"),
    ],
)
def test_a_server_is_ready_while_one_worker_is_well(found: Posted, obstacle: str | None) -> None:
    assert found.obstacle == obstacle


def test_a_board_shows_the_last_report_and_its_age() -> None:
    board = StatusBoard()
    assert board.read().report is None
    first, second = (posted(*workers).report for workers in ([WELL], [WELL, AWAY]))
    assert first is not None
    assert second is not None
    board.post(first)
    board.post(second)
    assert board.read().report is second
    assert 0 <= board.read().age < 10
