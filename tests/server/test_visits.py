"""What coming in asks of the store: each visit is a transaction of its own, in a thread of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.store.sql.sqlite import SqliteDatabase
from antiphon.wire.bodies import Welcome
from support.joined import JoinedServer, joined
from support.processes import PASSWORD
from support.serving import seed


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the transactions that there have been, by the functions that did them."""
    done: list[str] = []
    transact = SqliteDatabase._transact

    def counted(database: SqliteDatabase, work: Callable[..., Any]) -> Any:
        done.append(work.__qualname__.split(".<")[0])
        return transact(database, work)

    monkeypatch.setattr(SqliteDatabase, "_transact", counted)
    return done


@pytest.fixture
def tokens(tmp_path: Path) -> list[bytes]:
    return seed(tmp_path / "data", sessions=1)


@pytest.fixture
def server(tmp_path: Path, tokens: list[bytes]) -> Iterator[JoinedServer]:
    with joined(tmp_path / "data") as running:
        yield running


def of_people(visits: list[str]) -> list[str]:
    """Return those that are not the follower's, who looks four times a second."""
    return [visit for visit in visits if visit != "SqlRevocationLog.entries"]


def test_a_sign_in_visits_the_store_four_times(server: JoinedServer, visits: list[str]) -> None:
    with server.client() as client:
        client.hello()
        visits.clear()
        assert isinstance(client.authenticate("ann", PASSWORD), Welcome)
        assert of_people(visits) == [
            "SqlAccounts.find",
            "SqlLoginFailures._count",
            "SqlSessions.open",
            "SqlAccounts.visited",
        ]


def test_a_resume_visits_the_store_three_times(
    server: JoinedServer, tokens: list[bytes], visits: list[str]
) -> None:
    with server.client() as client:
        client.hello()
        visits.clear()
        client.resume(tokens[0])
        assert of_people(visits) == ["SqlSessions.find", "SqlAccounts.find", "SqlSessions.claim"]
