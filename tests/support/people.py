"""People of a data folder: many accounts, each with the token of a session."""

import asyncio
import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from antiphon.data.folder import DataFolder
from antiphon.identity.names import prepare
from antiphon.identity.tokens import TOKEN_SIZE
from antiphon.store.contracts import NewAccount
from antiphon.store.opening import open_store
from antiphon.wire.bodies import SCRAM_SHA_256
from support.serving import record_of, sealed

BATCH = 100
"""Accounts that are added at once."""


def seed_people(folder: Path, names: Sequence[str], administrators: Collection[str] = ()) -> list[bytes]:
    """Add an account with the password `PASSWORD` for each name; return the tokens of their sessions."""
    return asyncio.run(_seed(folder, names, administrators))


async def _seed(folder: Path, names: Sequence[str], administrators: Collection[str]) -> list[bytes]:
    data = DataFolder.open(folder)
    ring = data.key_ring(secrets.token_bytes)
    store = await open_store("sqlite", data.path)
    now = datetime.now(UTC)
    tokens = [secrets.token_bytes(TOKEN_SIZE) for _ in names]
    try:
        new = [
            NewAccount(
                name=prepare(name),
                seal=lambda number, _: sealed(ring, number),
                credential_type=SCRAM_SHA_256,
                must_change=False,
            )
            for name in names
        ]
        accounts = []
        for at in range(0, len(new), BATCH):  # each is a transaction, which may take 2.5 s
            accounts += await store.accounts.add(new[at : at + BATCH], now, "test")
        for token, account in zip(tokens, accounts, strict=True):
            await store.sessions.open(record_of(token, ring, account, now), 1)
            if account.display in administrators:
                await store.accounts.set_administrator(account.id, administrator=True)
    finally:
        await store.close()
    return tokens
