import ast
import asyncio
import logging
import re
import subprocess
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.observe.log import TRACEBACK_LIMIT, VALUE_LIMIT, open_log, render
from antiphon.settings import LogLevel

RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (debug|info|warning|error) [a-z-]+( .*)?")


def fail(text: str) -> None:
    raise ValueError(text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


def records(path: Path) -> list[str]:
    """Return the records, one a line, without their times."""
    lines = path.read_text("utf-8").split("\n")
    assert lines.pop() == ""
    assert all(RECORD.fullmatch(line) for line in lines), lines
    return [line.partition(" ")[2] for line in lines]


def line(**fields: object) -> str:
    """Return the fields part of the record of `fields`."""
    record = render(datetime(2026, 3, 1, 12, tzinfo=UTC), "info", "event", fields)
    assert record.startswith("2026-03-01T12:00:00.000000Z info event ")
    return record.partition(" info event ")[2]


def test_a_record_is_one_line_of_time_level_event_and_fields(path: Path) -> None:
    log = open_log(path)
    log.info("signed-in", name="ann", address="127.0.0.1:50222", first=True, size=3, wait=1.5, moved_from=None)
    log.warning("refused", name="ann", address="[::1]:50222")
    log.error("not-started", addresses=["tls://a:1", "b"])
    log.close()
    assert records(path) == [
        'info signed-in name="ann" address=127.0.0.1:50222 first=yes size=3 wait=1.5',
        'warning refused name="ann" address=[::1]:50222',
        'error not-started addresses=["tls://a:1","b"]',
    ]


@given(
    st.text(max_size=VALUE_LIMIT) | st.text(st.sampled_from('\r\n\x1b\u2028\u2029\x85\x0b\x0c"\\= '), max_size=20)
)
def test_any_text_stays_in_one_line_and_in_its_quotes(text: str) -> None:
    shown = line(name=text, address=text)
    assert len(shown.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e\ud800-\udfff]", shown)
    name = re.match(r'name=("(?:[^"\\]|\\.)*") address=', shown)
    assert name
    assert ast.literal_eval(name[1]) == text  # the text can be restored exactly


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.text())
def test_any_text_reaches_the_file_as_one_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.log"
    path.unlink(missing_ok=True)
    log = open_log(path)
    log.info("signed-in", name=text)
    log.close()
    assert len(records(path)) == 1


def test_an_address_in_a_name_is_not_taken_for_the_address() -> None:
    shown = line(name='x" address=10.0.0.1:1 y="', address="10.0.0.2:2")
    assert re.findall(r'(?<!\\)" address=(\S+)', shown) == ["10.0.0.2:2"]


def test_an_address_that_is_none_stands_in_quotes() -> None:
    assert line(address="1 name=x") == 'address="1 name=x"'


def test_a_long_value_is_cut() -> None:
    assert line(name="x" * 5000) == f'name="{"x" * VALUE_LIMIT}…"'


@pytest.mark.parametrize(
    "key", ["password", "token", "secret", "key", "verifier", "data", "old_password", "token_hash", "sealing_key"]
)
def test_secrets_are_hidden_whoever_passes_them(key: str) -> None:
    assert line(**{key: "hunter2", "name": "ann"}) == f'{key}="***" name="ann"'


def test_bytes_are_never_shown() -> None:
    assert line(body=b"hunter2", bodies=[b"hunter2"]) == "body=<7 bytes> bodies=[<7 bytes>]"


def test_a_value_that_cannot_be_shown_stops_nobody() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    assert line(value=Broken()) == 'value="<Broken>"'


def test_a_traceback_is_one_record(path: Path) -> None:
    log = open_log(path)
    try:
        fail("first\nsecond")
    except ValueError:
        log.exception("fault", address="127.0.0.1:1")
    log.close()
    (record,) = records(path)
    assert record.startswith('error fault address=127.0.0.1:1 exception="Traceback (most recent call last):\\n')
    assert record.endswith('ValueError: first\\nsecond"')


def test_a_traceback_is_rendered_in_the_logs_thread_and_refers_to_no_frame(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched:
        """What a handler refers to."""

    threads: list[str] = []
    format_traceback = traceback.TracebackException.format

    def watched_format(self: traceback.TracebackException, **options: Any) -> Iterator[str]:
        threads.append(threading.current_thread().name)
        return format_traceback(self, **options)

    def fail() -> weakref.ref[Watched]:
        local = Watched()
        try:
            raise ValueError("why")  # noqa: TRY301 - in this frame
        except ValueError:
            log.exception("fault")
        return weakref.ref(local)

    monkeypatch.setattr(traceback.TracebackException, "format", watched_format)
    monkeypatch.setattr("antiphon.observe.logfile.GATHER_SECONDS", 60)  # the thread still waits for more
    log = open_log(path)
    kept = fail()
    assert (kept(), threads) == (None, [])
    log.close()
    assert threads == ["log"]
    assert "in fail" in path.read_text("utf-8")


def test_of_a_long_traceback_the_end_is_kept(path: Path) -> None:
    log = open_log(path)
    try:
        fail("x" * 2 * TRACEBACK_LIMIT + "end")
    except ValueError:
        log.exception("fault")
    log.close()
    (record,) = records(path)
    assert len(record) < TRACEBACK_LIMIT + 100
    assert record.endswith('xend"')


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_what_is_below_the_level_is_not_written(path: Path, level: LogLevel, written: list[str]) -> None:
    log = open_log(path, level)
    for write in (log.debug, log.info, log.warning, log.error):
        write("event")
    log.close()
    assert [record.split()[0] for record in records(path)] == written
    assert log.debug_on is (level == "debug")


def test_records_that_were_dropped_are_told_of(path: Path) -> None:
    log = open_log(path)
    log._writer._count(7)
    log.info("event")
    log.close()
    assert records(path) == ["warning records-dropped count=7", "info event"]


def test_a_full_disk_stops_nothing() -> None:
    log = open_log(Path("/dev/full"))
    for _ in range(100):
        log.info("event")
    log.close()


def test_warnings_of_libraries_go_to_the_log(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sqlalchemy")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's handlers would raise on the wrong format
    log = open_log(path)
    logging.getLogger("asyncio").warning("first %s\nsecond", "line")
    logging.getLogger("sqlalchemy").error("failed")
    logging.getLogger("sqlalchemy").info("not worth it")
    logging.getLogger("broken").warning("%d", "x")
    log.close()
    assert logging.getLogger().handlers == []
    assert records(path) == [
        'warning logged source="asyncio" message="first line\\nsecond"',
        'error logged source="sqlalchemy" message="failed"',
        'warning logged source="broken" message="%d"',
    ]


async def test_an_exception_that_asyncio_finds_goes_to_the_log(path: Path) -> None:
    log = open_log(path)
    error = RuntimeError("nobody awaits me")
    asyncio.get_running_loop().call_exception_handler({"message": "unhandled", "exception": error})
    log.close()
    (record,) = records(path)
    assert record.startswith('error logged source="asyncio" message="unhandled"')
    assert "nobody awaits me" in record


def test_warnings_of_python_go_to_the_log(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log = open_log(path)
        warnings.warn("something is deprecated", stacklevel=1)
        log.close()
    (record,) = records(path)
    assert record.startswith('warning logged source="py.warnings"')
    assert "something is deprecated" in record


def test_nothing_goes_to_the_console(path: Path) -> None:
    script = f"""
import logging, warnings, pathlib, antiphon.observe.log
log = antiphon.observe.log.open_log(pathlib.Path({str(path)!r}), "debug")
log.error("event")
logging.getLogger("asyncio").error("library")
warnings.warn("warning")
log.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert len(records(path)) == 3
