"""Accounts and sessions, written to a data folder before its server starts.

They are the same as after thousands of sign-ins, which would take an hour of hashing; `sign_in_cost.py` measures
the sign-in itself.
"""

import asyncio
import secrets
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from sqlalchemy import create_engine, insert

from antiphon.data.credentials import seal
from antiphon.data.folder import DataFolder
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, Verifier, make_verifier
from antiphon.identity.tokens import TOKEN_SIZE, Token, fingerprint
from antiphon.store.contracts import Account, NewAccount, SessionRecord
from antiphon.store.opening import open_store
from antiphon.store.sql.schema import SESSIONS
from antiphon.store.sql.sqlite import SESSIONS_FILE
from antiphon.wire.bodies import SCRAM_SHA_256

PASSWORD = Password("correct horse battery")
SESSIONS_AN_ACCOUNT = 10
"""The number of sessions that an account may have."""
ACCOUNTS_AT_ONCE = 100
"""Accounts added in one call, few enough for the time limit of a call to the store."""
LIFE = timedelta(days=1)
HOST = "127.0.0.1"


def seed(folder: Path, accounts: int, sessions_each: int = 0, store: str = "sqlite") -> list[bytes]:
    """Add the accounts load0, load1, … to the store of a data folder; return the tokens of their sessions."""
    data = DataFolder.open(folder)
    added = asyncio.run(_add(data, accounts, store))
    token_key = data.key_ring(secrets.token_bytes).token_key
    tokens = [Token(secrets.token_bytes(TOKEN_SIZE)) for _ in range(accounts * sessions_each)]
    marks = [fingerprint(token, token_key) for token in tokens]
    rows = [asdict(_session(mark, added[number % accounts])) for number, mark in enumerate(marks)]
    if rows:  # one transaction for all: one for each, as in the server, would take 20 s for 20,000 sessions
        engine = create_engine(
            f"sqlite:///{folder / SESSIONS_FILE}" if store == "sqlite" else store.replace("://", "+psycopg://", 1)
        )
        with engine.begin() as connection:
            connection.execute(insert(SESSIONS), rows)
        engine.dispose()
    return [bytes(token) for token in tokens]


def seed_sessions(folder: Path, count: int) -> list[bytes]:
    """Add `count` sessions to a new data folder, SESSIONS_AN_ACCOUNT to each account; return their tokens."""
    return seed(folder, -(-count // SESSIONS_AN_ACCOUNT), SESSIONS_AN_ACCOUNT)[:count]


async def _add(data: DataFolder, count: int, kept: str) -> list[Account]:
    ring = data.key_ring(secrets.token_bytes)
    store = await open_store(kept, data.path)
    added: list[Account] = []
    try:
        for first in range(0, count, ACCOUNTS_AT_ONCE):
            new = [
                NewAccount(
                    name=prepare(f"load{number}"),
                    seal=lambda account_id, key: seal(ring, _verifier(), account_id, key, secrets.token_bytes),
                    credential_type=SCRAM_SHA_256,
                )
                for number in range(first, min(first + ACCOUNTS_AT_ONCE, count))
            ]
            added += await store.accounts.add(new, datetime.now(UTC), HOST)
    finally:
        await store.close()
    return added


def _session(mark: bytes, account: Account) -> SessionRecord:
    now = datetime.now(UTC)
    return SessionRecord(
        fingerprint=mark,
        account_id=account.id,
        name=account.display,
        epoch=account.epoch,
        opened_at=now,
        expires_at=now + LIFE,
        seen_at=now,
        owner=None,
        address=HOST,
    )


@cache
def _verifier() -> Verifier:
    return make_verifier(PASSWORD, bytes(SALT_SIZE), ITERATIONS)
