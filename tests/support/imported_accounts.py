"""Accounts of an old system, written to a data folder as an import leaves them."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import md5
from pathlib import Path

from antiphon.data.credentials import seal
from antiphon.data.folder import DataFolder
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, Verifier, make_verifier
from antiphon.store.contracts import NewAccount
from antiphon.store.sql import open_sqlite
from antiphon.wire.bodies import SCRAM_SHA_256

FORTNIGHT = timedelta(days=14)


def digest(text: str, encoding: str = "utf-8") -> str:
    """Return the MD5 with which an old system stores a password, an address or a name."""
    return md5(text.encode(encoding)).hexdigest()


@cache
def _verifier(digest: str) -> Verifier:
    return make_verifier(Password(digest), bytes(SALT_SIZE), ITERATIONS)


def seed_old(
    folder: Path, name: str, digest: str, *, lifetime: timedelta = FORTNIGHT, form: str | None = "md5"
) -> None:
    """Add an imported account to a data folder; its password has the `digest` and expires after `lifetime`."""
    asyncio.run(_seed_old(folder, name, digest, datetime.now(UTC) + lifetime, form))


async def _seed_old(folder: Path, name: str, digest: str, expires_at: datetime, form: str | None) -> None:
    data = DataFolder.open(folder)
    ring = data.key_ring(secrets.token_bytes)
    new = NewAccount(
        name=prepare(name),
        seal=lambda number, key: seal(ring, _verifier(digest), number, key, secrets.token_bytes),
        credential_type=SCRAM_SHA_256,
        must_change=True,
        expires_at=expires_at,
        old_form=form,
    )
    store = await open_sqlite(data.path)
    try:
        await store.accounts.add([new], datetime.now(UTC), "import")
    finally:
        await store.close()
