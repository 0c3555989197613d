"""Stores whose time limits are those of a busy machine, for tests of what a store does and not of how fast."""

import pytest

LONG_SECONDS = 60


def wait_for_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each call of a store of this process take a minute; call it before a store is opened."""
    for name in (
        "thread.ANSWER_SECONDS",
        "sql.postgres.database.TRANSACTION_SECONDS",
        "sql.postgres.database.BEGIN_SECONDS",
    ):
        monkeypatch.setattr(f"antiphon.store.{name}", LONG_SECONDS)
    monkeypatch.setattr("antiphon.store.sql.postgres.connection._BEGIN", b"BEGIN ISOLATION LEVEL READ COMMITTED")
