"""Results as JSON: written and read back unchanged; any other file is refused in one sentence."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon.errors import FileUnusable
from antiphon.ping.load import Load
from antiphon.ping.plan import Plan
from antiphon.ping.report import comparison, summary
from antiphon.ping.result import LARGEST, Lost, Result, Target, read, result_of, written
from support.virtual_time import FakeSession, now_ns, run_virtually

PERCENTILES = (50.0, 99.9)
TARGET = Target(address="tls://here:7862", name="ann", key="sha256:x", sign_ins_s=[0.25])


def result(plan: Plan, delay: float = 0.002, ended_by: str | None = None) -> Result:
    async def main() -> Result:
        load = Load(plan, [FakeSession(lambda _: delay)], clock=now_ns, spin=0)
        await load.run()
        load.tally.outages.clear()
        return result_of(load, TARGET, PERCENTILES, began_at=datetime(2026, 11, 22, tzinfo=UTC), ended_by=ended_by)

    return run_virtually(main())


def test_the_figures_are_what_was_measured() -> None:
    told: dict[str, Any] = json.loads(written(result(Plan(count=1000, size=100))))
    histogram = told.pop("histogram_ns")
    version = told.pop("antiphon_version")
    times = told.pop("latency")
    assert version
    assert sum(count for _, count in histogram) == 1000
    assert times["percentiles_us"] == {
        "p50": pytest.approx(2000, rel=0.001),
        "p99.9": pytest.approx(2000, rel=0.001),
    }
    assert [times[name] for name in ("min_us", "mean_us", "max_us")] == pytest.approx([2000] * 3, rel=1e-5)
    assert told == {
        "schema_version": 1,
        "began_at": "2026-11-22T00:00:00+00:00",
        "target": {"address": "tls://here:7862", "name": "ann", "key": "sha256:x", "sign_ins_s": [0.25]},
        "loop": "closed",
        "connections": 1,
        "depth": 1,
        "size_bytes": 100,
        "interval_s": 0.0,
        "rate_per_s": None,
        "elapsed_s": pytest.approx(2.0, abs=1e-5),
        "sent": 1000,
        "answered": 1000,
        "wrong": 0,
        "lost": 0,
        "unsent": 0,
        "errors": {},
        "messages_per_s": pytest.approx(500, rel=1e-5),
        "bytes_per_s": pytest.approx(50_000, rel=1e-5),
        "uncorrected": None,
        "outages": [],
        "ended_by": None,
    }


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    first = result(Plan(rate=100, count=50), ended_by="connection-lost")
    path = tmp_path / "run.json"
    path.write_text(written(first), "utf-8")
    assert read(path) == first
    assert first.uncorrected is not None
    assert read(path).histogram.count == 50


def test_a_run_in_which_nothing_was_answered_has_no_times(tmp_path: Path) -> None:
    nothing = result(Plan(duration=1.0, patience=1), delay=10.0)
    assert (nothing.sent, nothing.lost, nothing.latency.min_us, nothing.latency.percentiles_us) == (1, 1, None, {})
    path = tmp_path / "run.json"
    path.write_text(written(nothing), "utf-8")
    other = result(Plan(count=5))
    assert not any(line.startswith("p50") for line in comparison(read(path), other, str))
    assert summary(nothing, str)[0] == "Sent 1, answered 0, wrong 0, lost 1, in 1.00 s."


def test_fields_of_a_later_version_of_the_program_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(json.loads(written(result(Plan(count=1)))) | {"phase_of_the_moon": 3}), "utf-8")
    assert read(path).sent == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"schema_version": 1}',
        b'{"schema_version": "x"}',
        b"x" * (LARGEST + 1),
    ],
)
def test_a_file_that_holds_no_figures_gets_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(FileUnusable, match="it is not a result that --json has written"):
        read(path)


@pytest.mark.parametrize(
    "change", [{"sent": "many"}, {"histogram_ns": [[1, 0]]}, {"histogram_ns": [[-1, 5]]}, {"latency": 3}]
)
def test_figures_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(json.loads(written(result(Plan(count=1)))) | change), "utf-8")
    with pytest.raises(FileUnusable):
        read(path)


def test_figures_of_another_version_are_named(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"schema_version": 2}', "utf-8")
    with pytest.raises(FileUnusable, match="its format is version 2, and this program reads version 1"):
        read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match="there is no such file"):
        read(tmp_path / "none.json")


def test_a_link_that_did_not_come_back_was_away_until_the_end() -> None:
    run = result(Plan(count=1000))
    lost = Lost(connection=1, at_s=run.elapsed_s - 1.5, away_s=None, code="connection-lost")
    back = Lost(connection=2, at_s=0.0, away_s=0.25, code="connection-lost")
    told = summary(msgspec.structs.replace(run, outages=[lost, back]), str)
    assert "Connections lost: 2; seconds without one: 1.75." in told
