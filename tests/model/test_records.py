"""The rules for what the services of the model have recorded: each is broken once here."""

import json
from pathlib import Path

import pytest

from model.records import Record, Records


def records(path: Path, *lines: tuple[str, str, int]) -> Records:
    """Write lines of event, session or message, and process."""
    with path.open("w", encoding="utf-8") as file:
        for event, what, process in lines:
            name, _, number = what.partition(":")
            file.write(json.dumps([event, name, what if number else "", process]) + "\n")
    return Records(path)


MOVED = [
    ("opened", "ann", 1),
    ("run", "ann:1", 1),
    ("closed", "ann", 1),
    ("opened", "ann", 2),
    ("run", "ann:2", 2),
]
KILLED = [("opened", "ann", 1), ("kill", "", 1), ("opened", "ann", 2), ("closed", "ann", 2)]
CLAIMED = [
    ("opened", "ann", 1),
    ("freeze", "", 1),
    ("opened", "ann", 2),
    ("closed", "ann", 1),
    ("closed", "ann", 2),
]


@pytest.mark.parametrize(
    "lines", [[*MOVED, ("closed", "ann", 2)], KILLED, CLAIMED], ids=["moved", "killed", "claimed"]
)
def test_what_is_right_is_no_fault(tmp_path: Path, lines: list[tuple[str, str, int]]) -> None:
    assert records(tmp_path / "records", *lines).faults(hooks=True, ended=True) == []


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([*MOVED[:4], ("run", "ann:1", 2)], "ann:1 was handled 2 times"),
        (MOVED, "ann was opened in process 2 and not closed"),
        ([MOVED[0], MOVED[3]], "ann was opened in process 2 while it was open in 1"),
        ([MOVED[0], MOVED[0]], "ann was opened twice in process 1"),
        ([*MOVED[:4], ("run", "ann:3", 1)], "run of ann:3 in process 1, where it is not open"),
        ([*KILLED[:3], ("run", "ann:3", 3)], "run of ann:3 in process 3, where it is not open"),
        ([*CLAIMED[:3], ("run", "ann:3", 1)], "ann:3 ran in process 1, which is frozen or slow: the home is 2"),
        ([CLAIMED[0], CLAIMED[2]], "ann was opened in process 2 while it was open in 1"),
    ],
)
def test_a_broken_rule_is_a_fault(tmp_path: Path, lines: list[tuple[str, str, int]], fault: str) -> None:
    assert fault in records(tmp_path / "records", *lines).faults(hooks=True, ended=True)


def test_where_there_are_no_hooks_only_the_runs_are_counted(tmp_path: Path) -> None:
    twice = records(tmp_path / "records", ("run", "ann:1", 1), ("run", "ann:1", 2))
    assert twice.faults(hooks=False, ended=True) == ["ann:1 was handled 2 times"]


def test_a_session_is_at_home_where_it_was_opened_or_ran_last(tmp_path: Path) -> None:
    kept = records(tmp_path / "records", *MOVED[:3], ("opened", "bob", 1), ("run", "bob:1", 2))
    assert kept.homes() == {"bob": 2}
    kept.note("kill", 2)
    assert kept.read()[-1] == Record("kill", "", "", 2)
