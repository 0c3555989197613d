"""Repeats: the first of equal records is logged whole, the others are counted."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.observe.log import ServerLog, open_log
from antiphon.observe.repeats import KINDS_MOST, Repeats, place_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


@pytest.fixture
def log(path: Path) -> Iterator[ServerLog]:
    log = open_log(path)
    yield log
    log.close()


def lines(log: ServerLog, path: Path) -> list[str]:
    """Close the log, and return its records without their times."""
    log.close()
    return [line.partition(" ")[2] for line in path.read_text("utf-8").splitlines()]


async def test_equal_records_are_logged_once_and_then_counted(log: ServerLog, path: Path) -> None:
    repeats = Repeats(log)
    for _ in range(4712):
        repeats.warning("message-refused", "not-text", address="[::1]:1", code="not-text")
    repeats.finish()
    assert lines(log, path) == [
        'warning message-refused address=[::1]:1 code="not-text"',
        'warning message-refused address=[::1]:1 code="not-text" repeated=4711',
    ]


async def test_one_alone_is_not_counted_and_after_the_end_all_begins_anew(log: ServerLog, path: Path) -> None:
    repeats = Repeats(log)
    for _ in range(2):
        repeats.error("answer-too-large", 7, size=7)
        repeats.finish()
    repeats.finish()
    assert lines(log, path) == ["error answer-too-large size=7"] * 2


async def test_different_records_are_logged_apart_but_not_without_end(log: ServerLog, path: Path) -> None:
    repeats = Repeats(log)
    for size in range(1000):
        repeats.error("answer-too-large", size, size=size)
    repeats.finish()
    told = lines(log, path)
    assert told[:-1] == [f"error answer-too-large size={size}" for size in range(KINDS_MOST + 1)]
    assert told[-1] == f"error answer-too-large size={KINDS_MOST} repeated={1000 - KINDS_MOST - 1}"


async def test_the_count_is_logged_when_the_time_is_over(log: ServerLog, path: Path) -> None:
    repeats = Repeats(log, seconds=0.01)
    repeats.warning("message-refused", "")
    repeats.warning("message-refused", "")
    async with asyncio.timeout(60):
        while "repeated=1" not in path.read_text("utf-8"):
            await asyncio.sleep(0.01)
    repeats.warning("message-refused", "")
    repeats.finish()
    assert lines(log, path) == [
        "warning message-refused", "warning message-refused repeated=1", "warning message-refused",
    ]  # fmt: skip


async def test_without_a_time_every_record_is_logged(log: ServerLog, path: Path) -> None:
    repeats = Repeats(log, seconds=0)
    for _ in range(3):
        repeats.warning("message-refused", "")
    assert lines(log, path) == ["warning message-refused"] * 3


async def test_the_traceback_is_logged_the_first_time_only(log: ServerLog, path: Path) -> None:
    repeats = Repeats(log)
    for text in ("one", "two"):
        error = raised(text)
        repeats.error("service-failed", place_of(error), exception=error)
    repeats.finish()
    first, again = lines(log, path)
    assert "Traceback" in first
    assert "in raised" in first
    assert again == "error service-failed repeated=1"


def raised(text: str) -> ValueError:
    """Return an error that was raised here."""
    try:
        raise ValueError(text)  # noqa: TRY301 - in this place
    except ValueError as error:
        return error


def raised_elsewhere(text: str) -> ValueError:
    """Return one that was raised there."""
    try:
        raise ValueError(text)  # noqa: TRY301 - in this place
    except ValueError as error:
        return error


def test_equal_faults_are_of_one_type_and_raised_in_one_place() -> None:
    assert place_of(raised("one")) == place_of(raised("two"))
    assert place_of(raised("one")) != place_of(raised_elsewhere("one"))
    assert place_of(ValueError()) != place_of(KeyError())
    wrapped, other = RuntimeError(), RuntimeError()
    wrapped.__cause__, other.__cause__ = raised("one"), raised_elsewhere("one")
    assert place_of(wrapped) != place_of(other)


async def test_whoever_watches_is_shown_every_fault(
    log: ServerLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[BaseException] = []
    monkeypatch.setattr(ServerLog, "show_fault", shown.append)
    errors = [ValueError("one"), ValueError("two"), KeyError("three")]
    repeats = Repeats(log)
    for error in errors[:2]:
        repeats.error("service-failed", "place", exception=error)
    repeats.finish()
    try:
        raise errors[2]
    except KeyError:
        log.exception("fault")
    log.logged("error", exception=RuntimeError("a record of the service's own"))
    assert shown == errors
    assert len(lines(log, path)) == 4
