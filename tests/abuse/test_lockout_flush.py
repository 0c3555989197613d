"""The lock after 100 failures holds, however many other names are tried (issue 14, point 4; promise 4)."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from antiphon.identity.throttle import MOST_FAILURES, kept_until
from antiphon.store.contracts import COUNTED_NAMES
from antiphon.wire.bodies import Error, Welcome
from support.attack import tell
from support.guessing import refused, seed_names
from support.processes import PASSWORD, ServerProcess
from support.raw import RawClient
from support.serving import ATTACKER, fail, seed
from support.wire_client import Closed

A_CONNECTION = 3
"""Refusals that end one."""
NEW_NAMES = 700
"""What one source tries: far more than a class that mistypes does in an hour."""
PROOFS = {"empty": "", "malformed": "!!!", "short": "QUFB", "wrong": "A" * 43 + "="}
HOME = "127.0.0.1"
_BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
KEPT_AFTER_ONE = kept_until(1, _BEGAN) - _BEGAN
"""How long one failure is kept."""


def try_names(server: ServerProcess, names: list[str], proof: str = "", source: str = ATTACKER) -> list[str]:
    """Try names with a proof of nothing; return the codes of the refusals."""
    codes: list[str] = []
    while len(codes) < len(names):
        with RawClient(server.address, source=source) as client:
            client.hello()
            try:
                for name in names[len(codes) :][:A_CONNECTION]:
                    codes.append(refused(client, name, proof))
                    if codes[-1] in ("try-later", "too-many-refusals"):
                        break
            except Closed:
                codes.append("closed")
    return codes


def sign_in_code(server: ServerProcess, name: str, source: str) -> str:
    """Return how a sign-in with the right password is answered."""
    with RawClient(server.address, source=source) as client:
        client.hello()
        answer = client.authenticate(name, PASSWORD)
        if isinstance(answer, Welcome):
            client.leave()
            return "welcome"
        assert isinstance(answer, Error), answer
        return answer.code


def crowd_the_table(folder: Path) -> None:
    """Fill the table of failures with names that failed once, after all that are in it."""
    (database,) = [path for path in folder.glob("*.db") if _has_failures(path)]
    with closing(sqlite3.connect(database)) as connection, connection:
        (last,) = connection.execute("SELECT max(failed_at) FROM failures").fetchone()
        kept = int(KEPT_AFTER_ONE.total_seconds() * 10**6)
        times = ((number.to_bytes(32, "big"), last + 1 + number) for number in range(COUNTED_NAMES))
        rows = ((name, 1, at, at + kept) for name, at in times)
        connection.executemany(
            "INSERT INTO failures (name, failures, failed_at, kept_until) VALUES (?, ?, ?, ?)", rows
        )


def _has_failures(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'failures'").fetchone())


@pytest.mark.parametrize("proof", ["empty", "wrong"])
def test_a_locked_name_stays_locked_whatever_other_names_are_tried(tmp_path: Path, proof: str) -> None:
    seed(tmp_path / "data")
    fail(tmp_path / "data", "ann", MOST_FAILURES, ago=3600)
    crowd_the_table(tmp_path / "data")
    with ServerProcess(tmp_path / "data", "--plain") as server:
        assert sign_in_code(server, "ann", ATTACKER) == "name-locked"
        for source in range(40):  # from many places, as nobody is let try many names from one
            try_names(
                server, [f"other{source}x{number}" for number in range(6)], PROOFS[proof], f"127.0.3.{source + 1}"
            )
        assert sign_in_code(server, "ann", ATTACKER) == "name-locked"


def test_a_name_with_many_failures_outlasts_those_with_few(tmp_path: Path) -> None:
    """Of names that nobody has, too: what is forgotten says nothing of who is there."""
    seed(tmp_path / "data")
    for name in ("ann", "nobody"):
        fail(tmp_path / "data", name, 20, ago=30)
    crowd_the_table(tmp_path / "data")
    with ServerProcess(tmp_path / "data", "--plain") as server:
        for source in range(40):
            try_names(server, [f"other{source}x{number}" for number in range(6)], "", f"127.0.3.{source + 1}")
        for name in ("ann", "nobody"):
            with RawClient(server.address, source=ATTACKER) as client:
                client.hello()
                assert refused(client, name) == "too-many-failures", name


@pytest.mark.parametrize("proof", PROOFS)
def test_one_source_does_not_fail_under_ever_more_names(tmp_path: Path, proof: str) -> None:
    seed_names(tmp_path / "data", ["ann", "bea"])
    with ServerProcess(tmp_path / "data", "--plain") as server:
        assert sign_in_code(server, "ann", ATTACKER) == "welcome"
        codes = try_names(server, [f"other{number}" for number in range(NEW_NAMES)], PROOFS[proof])
        tell("refusals", counted={code: codes.count(code) for code in set(codes)})
        assert codes[0] == "sign-in-refused"
        assert codes[-1] == "try-later"
        assert codes.count("sign-in-refused") + codes.count("too-many-refusals") < NEW_NAMES / 2
        # An unknown name is refused as a known one, those from elsewhere are let in, and who is known there too.
        assert try_names(server, ["nobody"], PROOFS["wrong"]) == try_names(server, ["bea"], PROOFS["wrong"])
        assert sign_in_code(server, "bea", HOME) == "welcome"
        assert sign_in_code(server, "ann", ATTACKER) == "welcome"


@pytest.mark.long
def test_the_lock_is_not_flushed_over_the_wire(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    fail(tmp_path / "data", "ann", MOST_FAILURES, ago=3600)
    with ServerProcess(tmp_path / "data", "--plain") as server:
        for number in range(COUNTED_NAMES // 60 + 10):
            names = [f"other{number}x{one}" for one in range(60)]
            if "try-later" in try_names(server, names):
                break
        assert sign_in_code(server, "ann", ATTACKER) == "try-later"
        assert sign_in_code(server, "ann", HOME) == "name-locked"
