"""What a server on a PostgreSQL database does not ask it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon import Server, connect
from antiphon.store.sql.postgres.connection import PostgresConnection
from antiphon.store.sql.postgres.database import PostgresDatabase
from support.nodes import PORTS

POLLED = ("SqlRevocationLog.entries", "PostgresOutbox.news")
"""What every process asks a few times a second, whatever is going on."""


async def test_a_plain_message_asks_the_database_nothing(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    run = PostgresDatabase.run

    async def noted(
        self: PostgresDatabase, work: Callable[[PostgresConnection], Any], order: object = None
    ) -> Any:
        asked.append(work.__qualname__)
        return await run(self, work, order)

    monkeypatch.setattr(PostgresDatabase, "run", noted)
    options: dict[str, Any] = {
        "data": tmp_path,
        "plain": True,
        "port": 0,
        "host": "127.0.0.1",
        "access": "identify",
    }
    async with (
        Server(**options, store=database, relay_address=PORTS) as server,
        connect(server.addresses[0], name="ann") as session,
    ):
        assert await session.ask("first") == "first"
        assert any(each.startswith("SqlSessions") for each in asked), "a sign-in asks"
        asked.clear()
        for number in range(300):
            assert await session.ask(f"{number}") == f"{number}"
        assert [each for each in asked if not each.startswith(POLLED)] == []
