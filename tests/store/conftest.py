"""Every store that exists, for the contract tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.store.contracts import Accounts, Clients, Sessions
from antiphon.store.sql import SqlStore, open_sqlite


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    opened = await {"sqlite": open_sqlite}[request.param](tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def accounts(store: SqlStore) -> Accounts:
    return store.accounts


@pytest.fixture
def clients(store: SqlStore) -> Clients:
    return store.clients


@pytest.fixture
def sessions(store: SqlStore) -> Sessions:
    return store.sessions
