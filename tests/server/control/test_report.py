"""Tests of reports: what is wrong with a server, and what its processes do together."""

from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from antiphon.data.validity import EXPIRY_NOTICE
from antiphon.server.control.advice import ADVICE, PROBLEMS
from antiphon.server.control.report import PROBLEM_WORDS, ProcessReport, report_of
from antiphon.server.control.totals import Totals
from support.reports import FACTS, NOW, WELL


def problems(*workers: ProcessReport, **server: Any) -> list[str]:
    server = {"wanted": len(workers) or 1, **server}
    return report_of(
        list(workers), version="1", pid=1, started_at=NOW, now=NOW, ended=Counter(), **server
    ).problems


def test_a_server_whose_processes_are_well_is_well() -> None:
    assert problems(WELL) == problems(WELL, WELL) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"silent_s": 3.1}, "worker-silent"),
        ({"store_age_s": 3.1}, "store-away"),
        ({"revocations_age_s": 3.1}, "store-away"),
        ({"lag_s": 0.6}, "overloaded"),
        ({"lag_s": 14.0, "revocations_age_s": 14.2}, "overloaded"),
        ({"log_lost": 1}, "log-lost"),
    ],
)
def test_one_process_that_is_not_well_is_named_once(change: dict[str, Any], problem: str) -> None:
    ill = msgspec.structs.replace(WELL, **change)
    assert problems(ill) == problems(ill, WELL, ill) == [problem]


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (EXPIRY_NOTICE, []),
        (EXPIRY_NOTICE - timedelta(seconds=1), ["certificate-expires"]),
        (timedelta(0), ["certificate-expired"]),
    ],
)
def test_the_end_of_the_certificate_is_told_in_time(left: timedelta, told: list[str]) -> None:
    facts = msgspec.structs.replace(FACTS, expires_at=NOW + left)
    assert problems(msgspec.structs.replace(WELL, facts=facts)) == told


def test_a_certificate_that_is_not_valid_yet_is_told() -> None:
    facts = msgspec.structs.replace(FACTS, valid_from=NOW + timedelta(seconds=1))
    assert problems(msgspec.structs.replace(WELL, facts=facts)) == ["certificate-not-yet-valid"]


def test_workers_that_are_missing_and_a_drain_are_told() -> None:
    assert problems(WELL, wanted=2) == ["worker-missing"]
    assert problems() == problems(starting=False) == ["nobody-serves"]
    assert problems(WELL, draining=True) == ["draining"]


def test_a_start_is_no_fault_once_somebody_serves() -> None:
    assert problems(WELL, wanted=2, starting=True) == []
    assert problems(starting=True) == ["starting"]
    assert problems(msgspec.structs.replace(WELL, silent_s=9), wanted=2, starting=True) == ["worker-silent"]


def test_what_ended_workers_did_is_kept() -> None:
    report = report_of(
        [WELL, WELL], version="1", pid=1, started_at=NOW, now=NOW, wanted=2,
        ended=Counter({"signed-in": 5, "refused sign-in-refused": 1}), ended_messages=10,
    )  # fmt: skip
    assert report.events == {"signed-in": 9, "refused sign-in-refused": 1}
    assert report.messages == 16


def test_every_problem_has_its_sentence() -> None:
    ill = [
        msgspec.structs.replace(WELL, silent_s=9, lag_s=9, log_lost=9),
        msgspec.structs.replace(WELL, store_age_s=9, facts=msgspec.structs.replace(FACTS, expires_at=NOW)),
        msgspec.structs.replace(WELL, facts=msgspec.structs.replace(FACTS, expires_at=NOW + timedelta(1))),
        msgspec.structs.replace(WELL, facts=msgspec.structs.replace(FACTS, valid_from=NOW + timedelta(1))),
    ]
    told = {*problems(*ill, wanted=5, draining=True), *problems(), *problems(starting=True)}
    assert told == set(PROBLEMS) == set(ADVICE) == set(PROBLEM_WORDS)


def test_totals_of_all_processes_are_added() -> None:
    totals = Totals(received_bytes=1, resumes={"continued": 1}, handled=[2] * 19, store_seconds=0.5)
    worker = msgspec.structs.replace(WELL, totals=totals)
    report = report_of(
        [worker, worker], version="1", pid=1, started_at=NOW, now=NOW, ended_totals=Totals(received_bytes=5)
    )
    assert report.totals == Totals(received_bytes=7, resumes={"continued": 2}, handled=[4] * 19, store_seconds=1.0)
