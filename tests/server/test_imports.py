"""Imported accounts at the socket: what HELLO says of them, and until when they let anybody in."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from antiphon.errors import TryLater
from antiphon.server import imports
from antiphon.store.sql.accounts import SqlAccounts
from antiphon.wire.bodies import Error, Welcome
from support.imported_accounts import digest, seed_old
from support.serving import Serving, seed, serving

OLD = digest("old")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    seed(tmp_path / "data", "bob")
    return tmp_path / "data"


@pytest.fixture
def server(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    monkeypatch.setattr(imports, "LOOK_SECONDS", 0.01)
    with serving(data, plain=True) as running:
        yield running


def remain(server: Serving) -> bool:
    with server.client() as client:
        return client.hello().imports


def comes(server: Serving, *, remaining: bool) -> None:
    """Wait until HELLO says so."""
    while remain(server) is not remaining:
        pass


# --- HELLO --------------------------------------------------------------------------------------------------


def test_hello_says_while_the_server_runs_that_imports_have_come_and_gone(server: Serving, data: Path) -> None:
    assert not remain(server)
    seed_old(data, "ann", OLD)
    comes(server, remaining=True)
    accounts = server.server._context.accounts
    account = server.call(accounts.find("ann"))
    assert account
    server.call(accounts.replace_credential(account.id, account.credential_type, lambda _: b"new"))
    comes(server, remaining=False)


def test_hello_says_from_the_start_that_imports_remain(data: Path) -> None:
    seed_old(data, "ann", OLD)
    with serving(data, plain=True) as server:
        assert remain(server)


def test_imports_that_have_expired_do_not_remain(data: Path) -> None:
    seed_old(data, "ann", OLD, lifetime=timedelta(seconds=-1))
    with serving(data, plain=True) as server:
        assert not remain(server)


def test_it_is_looked_again_after_the_store_was_away_and_after_a_fault(
    server: Serving, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [TryLater(), RuntimeError("a fault")]
    real = SqlAccounts.imports

    async def failing(self: SqlAccounts, at: datetime) -> bool:
        if errors:
            raise errors.pop(0)
        return await real(self, at)

    monkeypatch.setattr(SqlAccounts, "imports", failing)
    seed_old(data, "ann", OLD)
    comes(server, remaining=True)
    assert errors == []


# --- signing in ---------------------------------------------------------------------------------------------


def said(server: Serving, name: str, password: str) -> object:
    with server.client() as client:
        client.hello()
        return client.authenticate(name, password)


def test_the_digest_is_the_password_and_has_to_be_changed(data: Path) -> None:
    seed_old(data, "ann", OLD)
    with serving(data, plain=True) as server:
        welcome = said(server, "ann", OLD)
        assert isinstance(welcome, Welcome)
        assert welcome.must_change
        assert isinstance(said(server, "ann", "old"), Error)


def test_an_expired_import_looks_like_a_wrong_password(data: Path) -> None:
    seed_old(data, "ann", OLD, lifetime=timedelta(seconds=-1))
    with serving(data, plain=True) as server:
        expired, wrong = said(server, "ann", OLD), said(server, "bob", OLD)
        assert isinstance(expired, Error)
        assert expired.code == "sign-in-refused"
        assert expired == wrong
