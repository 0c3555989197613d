"""Every store that exists, for the contract tests; once with transactions that are tried again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.store.contracts import (
    Accounts,
    Clients,
    Invitations,
    LoginFailures,
    Processes,
    RevocationLog,
    Sessions,
    Store,
)
from antiphon.store.opening import open_store
from support.patient_store import wait_for_stores
from support.retried import retry_everything

STORES = {"sqlite": "sqlite", "files": "files:{folder}", "retried": "sqlite", "postgres": "{database}"}
"""`--store` for each."""


@pytest.fixture(params=STORES)
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    wait_for_stores(monkeypatch)
    if request.param == "retried":
        retry_everything(monkeypatch)
    database = request.getfixturevalue("database") if request.param == "postgres" else ""
    opened = await open_store(
        STORES[request.param].format(folder=tmp_path / "people", database=database), tmp_path
    )
    yield opened
    await opened.close()


@pytest.fixture
async def beside(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> AsyncIterator[Store]:
    """A store of another process on the same sessions, with connections of its own."""
    opened = await open_store("sqlite" if store.owner is None else request.getfixturevalue("database"), tmp_path)
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


@pytest.fixture
def revocations(store: Store) -> RevocationLog:
    return store.revocations


@pytest.fixture
def failures(store: Store) -> LoginFailures:
    return store.failures


@pytest.fixture
def processes(store: Store) -> Processes:
    return store.processes
