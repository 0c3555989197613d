"""What a service logs with `logging` goes to the server's log, and what it has configured itself stays."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from antiphon.blocking import connect
from antiphon.observe import records
from antiphon.observe.log import open_log
from antiphon.settings import LogLevel
from support.processes import ServerProcess

SHOP = """
import logging
log = logging.getLogger("shop")
log.info("loaded\\nwhole")

def answer(message: str) -> str:
    log.info("asked for %s", message)
    log.debug("not at this level")
    return message
"""


@contextmanager
def bare_root() -> Iterator[logging.Logger]:
    """Have the root logger as Python makes it, without pytest's handlers."""
    root = logging.getLogger()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(root, "handlers", [])
        patch.setattr(logging, "lastResort", None)
        patch.setattr(records, "_process", records._Process())
        before = root.level
        root.setLevel(logging.WARNING)
        yield root
        root.setLevel(before)


def logged(path: Path) -> list[str]:
    return [line.partition(" ")[2] for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_service_logs_goes_to_the_log_of_the_server(tmp_path: Path, workers: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP, "utf-8")
    service = f"{tmp_path / 'shop.py'}:answer"
    with ServerProcess(
        tmp_path / "data", service, "--plain", "--access", "anyone", "--workers", workers
    ) as server:
        with connect(str(server.address)) as session:
            assert session.ask("tea") == "tea"
        server.logged('info logged source="shop" message="asked for tea"')
        server.logged(r'info logged source="shop" message="loaded\\nwhole"', int(workers))
        assert "not at this level" not in server.log
        server.signal(15)
        assert server.process.communicate() == ("", "")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error", "error"]),
        ("info", ["info", "warning", "error", "error"]),
        ("error", ["error", "error"]),
    ],
)
def test_records_have_the_level_of_the_log(tmp_path: Path, level: LogLevel, expected: list[str]) -> None:
    with bare_root() as root:
        with records.taken(level):
            pass
        log = open_log(tmp_path / "log", level)
        for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
            logging.getLogger("shop.orders").log(number, "x")
            logging.getLogger("sqlalchemy.engine").log(min(number, logging.INFO), "INSERT ...")
        log.close()
        assert root.handlers == []
    assert logged(tmp_path / "log") == [f'{each} logged source="shop.orders" message="x"' for each in expected]


def test_in_a_program_of_its_own_only_warnings_are_taken(tmp_path: Path) -> None:
    with bare_root() as root:
        root.setLevel(logging.DEBUG)
        log = open_log(tmp_path / "log", "debug")
        for number in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger("program").log(number, "x")
        log.close()
    assert logged(tmp_path / "log") == ['warning logged source="program" message="x"']


def test_handlers_and_levels_of_the_service_stay(tmp_path: Path) -> None:
    own = io.StringIO()
    with bare_root() as root:
        with records.taken("info"):
            logging.getLogger("shop").info("early")
            logging.basicConfig(stream=own, format="mine: %(message)s")
            logging.getLogger("shop").setLevel(logging.INFO)
        assert root.level == logging.WARNING
        log = open_log(tmp_path / "log")
        logging.getLogger("shop").info("first")
        logging.getLogger("other").info("not wanted")
        log.close()
        logging.getLogger("shop").setLevel(logging.NOTSET)
    assert own.getvalue() == "mine: first\n"
    messages = ["early", "first"]
    assert logged(tmp_path / "log") == [f'info logged source="shop" message="{each}"' for each in messages]


def test_a_level_that_the_service_sets_stays() -> None:
    with bare_root() as root:
        with records.taken("info"):
            logging.basicConfig(stream=sys.stderr, level=logging.INFO)
        assert root.level == logging.INFO
