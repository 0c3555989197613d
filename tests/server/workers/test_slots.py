"""When the place of a worker that died is filled again, and how many workers `--workers` means."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.errors import SettingInvalid
from antiphon.server.workers import count
from antiphon.server.workers.count import processors, share, worker_count
from antiphon.server.workers.messages import Start
from antiphon.server.workers.slots import STEADY_SECONDS, Slots
from antiphon.settings import ProgramSettings, ServerSettings


def worker(number: int, began_at: float) -> Any:
    return SimpleNamespace(number=number, began_at=began_at)


def test_one_that_dies_is_replaced_at_once_and_one_that_keeps_dying_after_growing_pauses() -> None:
    slots, now, pauses = Slots(2), 100.0, []
    slots.workers[0] = worker(0, 0.0)
    for _ in range(9):
        slots.workers[1] = dying = worker(1, now)
        assert slots.ended(dying, now + 0.5)
        now = due = now + 0.5
        while slots.due(due) != [1]:
            due += 0.5
        pauses.append(due - now)
        now = due
    assert pauses == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    slots.workers[1] = steady = worker(1, now)
    now += STEADY_SECONDS + 1
    assert slots.ended(steady, now)
    assert slots.due(now) == [1]


def test_one_that_has_left_its_place_empties_it_no_more() -> None:
    slots = Slots(1)
    old, new = worker(0, 0.0), worker(0, 1.0)
    slots.workers[0] = old
    slots.left(old)
    assert slots.due(0) == [0]
    slots.workers[0] = new
    slots.left(old)
    assert not slots.ended(old, 2.0)
    assert slots.workers == [new]
    assert slots.replace([old]) == [new]


@pytest.mark.parametrize(("most", "workers"), [(100, 3), (2, 2), (7, 4)])
def test_what_is_for_the_whole_server_is_shared_by_its_workers(most: int, workers: int) -> None:
    shares = [share(most, workers, number) for number in range(workers)]
    assert sum(shares) == most
    assert max(shares) - min(shares) <= 1
    assert min(shares) >= 1
    settings, program = ServerSettings(drain_rate=30), ProgramSettings(exec_most=most)
    start = Start(
        "echo",
        settings,
        program,
        "en",
        as_json=False,
        workers=workers,
        pid=1,
        announces=True,
        port=1,
        moved_from=None,
        hosts=(),
        loopback=True,
    )
    told = [start.for_worker(number, announces=number == 0) for number in range(workers)]
    assert [each.program.exec_most for each in told] == shares
    assert sum(each.settings.drain_rate or 0 for each in told) == pytest.approx(30)
    assert [each.announces for each in told] == [True] + [False] * (workers - 1)


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 8), ("250000 100000", 3), ("10000 100000", 1), ("odd", 8), (None, 8)]
)
def test_auto_means_the_processors_that_this_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str | None, expected: int
) -> None:
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota)
    monkeypatch.setattr(count, "_QUOTA", file)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert processors() == expected
    assert worker_count("auto", "echo", ServerSettings(), ProgramSettings(), reloads=False) == expected


def test_each_worker_needs_a_program_of_its_own() -> None:
    with pytest.raises(SettingInvalid, match="--exec-most"):
        worker_count("3", "exec:cat", ServerSettings(), ProgramSettings(exec_most=2), reloads=False)
    assert worker_count("3", "echo", ServerSettings(), ProgramSettings(exec_most=2), reloads=False) == 3


def test_a_system_without_passing_of_sockets_has_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("socket.send_fds")
    with pytest.raises(SettingInvalid, match="cannot pass connections"):
        worker_count("2", "echo", ServerSettings(), ProgramSettings(), reloads=False)
    with pytest.raises(SettingInvalid, match="which a restart needs"):
        worker_count("1", "shop:answer", ServerSettings(), ProgramSettings(), reloads=True)
    assert worker_count("1", "echo", ServerSettings(), ProgramSettings(), reloads=False) == 1
