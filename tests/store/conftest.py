"""Every store that exists, for the contract tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.store.contracts import Accounts, Clients, Invitations, Sessions, Store
from antiphon.store.opening import open_store

STORES = {"sqlite": "sqlite", "files": "files:{folder}"}
"""What `--store` says for each."""


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(STORES[request.param].format(folder=tmp_path / "people"), tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def accounts(store: Store) -> Accounts:
    return store.accounts


@pytest.fixture
def clients(store: Store) -> Clients:
    return store.clients


@pytest.fixture
def invitations(store: Store) -> Invitations:
    return store.invitations


@pytest.fixture
def sessions(store: Store) -> Sessions:
    return store.sessions
