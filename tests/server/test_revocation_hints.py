"""Revocations in a PostgreSQL database reach a server by a hint; without hints by polling, and in time."""

from pathlib import Path

import psycopg
import pytest

from antiphon.server.session import revocations
from antiphon.store.sql.postgres import listening
from antiphon.wire.bodies import ServerBye
from support.operator_commands import Operator
from support.serving import Serving, seed, serving

SOON = 1.0
"""Seconds within which an end must arrive (promise 17)."""


def end(server: Serving, token: bytes, operator: Operator, database: str) -> None:
    """End a session by a command, and wait for the goodbye."""
    with server.session(token) as client:
        assert client.ask("hello") == "hello"
        assert operator.run("accounts", "disable", "ann", "--store", database).code == 0
        assert client.body() == ServerBye(reason="revoked", cause="disabled")


def test_a_hint_brings_it_without_a_poll(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "POLL_SECONDS", 3600)
    (token,) = seed(tmp_path / "data", store=database)
    with serving(tmp_path / "data", plain=True, store=database) as server:
        end(server, token, Operator(tmp_path / "data", capsys), database)


def test_polls_bring_it_in_time_where_nobody_can_listen(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    async def refuse(dsn: str) -> None:
        tried.append(dsn)
        raise psycopg.OperationalError

    monkeypatch.setattr(listening, "connect_to_listen", refuse)
    (token,) = seed(tmp_path / "data", store=database)
    with serving(tmp_path / "data", plain=True, store=database) as server:
        end(server, token, Operator(tmp_path / "data", capsys), database)
    assert tried
    assert revocations.POLL_SECONDS < SOON / 2
