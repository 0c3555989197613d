"""A database of version 3 is upgraded in place, and nothing in it is lost."""

import asyncio
import math
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from antiphon.errors import FolderUnusable
from antiphon.identity.throttle import kept_until
from antiphon.store.contracts import Marks, Visit
from antiphon.store.sql import open_sqlite
from antiphon.store.sql.schema import SCHEMA_VERSION
from support.old_stores import make_old, shape_of, version_of
from support.stored import record

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN, BOB, HOME, AWAY = b"a" * 32, b"b" * 32, b"h" * 32, b"x" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The databases of a server of version 3: accounts Ann and bob, a session, an invitation, failures."""
    make_old(tmp_path, 3)
    return tmp_path


async def test_accounts_sessions_invitations_and_failures_are_kept(folder: Path) -> None:
    for _ in range(2):  # the second time there is nothing to do
        store = await open_sqlite(folder)
        overviews = await store.accounts.overviews()
        assert [(each.id, each.name, each.key, each.refusals) for each in overviews] == [
            (1, "Ann", "ann", 2),
            (2, "bob", "bob", 0),
        ]
        account = await store.accounts.find("ann")
        assert account
        assert account.credential == b"sealed for 1"
        (session,) = await store.sessions.all()
        assert (session.fingerprint, session.account_id, session.opened_at) == (b"s" * 32, 1, NOON)
        (invitation,) = await store.invitations.all()
        assert invitation.display == "cleo"
        assert [client.display for client in await store.clients.at("192.0.2.1")] == ["dora"]
        assert await store.failures.attempt(ANN, AWAY, NOON + 1000 * HOUR) == math.inf
        assert await store.failures.attempt(ANN, HOME, NOON, only_known=True) == 0
        assert await store.failures.refusals() == {}
        await store.close()
    assert {version_of(folder / f"{name}.db") for name in ("accounts", "sessions")} == {SCHEMA_VERSION}


async def test_refusals_from_before_and_after_are_told_together(folder: Path) -> None:
    store = await open_sqlite(folder)
    account = await store.accounts.find("ann")
    assert account
    await store.failures.refused(ANN, NOON)
    opened = await store.sessions.open(record(b"new"), 10, Marks(ANN, HOME))
    assert opened
    assert opened.refusals == 1
    assert await store.accounts.visited(account, NOON, "::1") == Visit(
        at=NOON + HOUR, address="192.0.2.7", refusals=2
    )
    assert [each.refusals for each in await store.accounts.overviews()] == [0, 0]
    await store.close()


async def test_an_upgraded_database_is_as_a_new_one(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    new = tmp_path_factory.mktemp("new")
    for each in (folder, new):
        await (await open_sqlite(each)).close()
    for name in ("accounts.db", "sessions.db"):
        assert shape_of(folder / name) == shape_of(new / name)


async def test_failures_from_before_are_kept_as_long_as_new_ones(folder: Path) -> None:
    await (await open_sqlite(folder)).close()
    with closing(sqlite3.connect(folder / "sessions.db")) as database:
        rows = database.execute("SELECT failures, failed_at, kept_until FROM failures ORDER BY name").fetchall()
    assert [failures for failures, _, _ in rows] == [100, 2]
    for failures, failed_at, until in rows:
        at = datetime.fromtimestamp(failed_at / 10**6, UTC)
        assert datetime.fromtimestamp(until / 10**6, UTC) == kept_until(failures, at)


async def test_servers_that_start_together_upgrade_once(folder: Path) -> None:
    stores = await asyncio.gather(*(open_sqlite(folder) for _ in range(4)))
    for store in stores:
        assert await store.accounts.find("bob")
        await store.close()


async def test_an_upgrade_that_fails_changes_nothing(folder: Path) -> None:
    path = folder / "sessions.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP INDEX ix_failures_failed_at")  # so that the upgrade fails halfway
    before = shape_of(path)
    with pytest.raises(FolderUnusable, match=r"sessions\.db cannot be used"):
        await open_sqlite(folder)
    assert (shape_of(path), version_of(path)) == (before, 3)


@pytest.mark.parametrize("version", [1, 2])
async def test_an_older_database_is_refused_and_kept(folder: Path, version: int) -> None:
    path = folder / "sessions.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(FolderUnusable, match="not a database of this program"):
        await open_sqlite(folder)
    assert version_of(path) == version


async def test_an_import_of_a_version_that_knew_one_form_has_that_form(folder: Path) -> None:
    expires_at = int((NOON + HOUR).timestamp()) * 10**6
    with closing(sqlite3.connect(folder / "accounts.db")) as database, database:
        database.execute("UPDATE credentials SET expires_at = ? WHERE account_id = 2", (expires_at,))
    store = await open_sqlite(folder)
    assert await store.accounts.old_forms(NOON) == ["md5"]
    assert await store.accounts.old_forms(NOON + HOUR) == []
    await store.close()
