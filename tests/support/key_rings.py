"""The key ring of a data folder on disk, and the accounts that it opens."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from antiphon.data.credentials import seal, unseal
from antiphon.data.folder import DataFolder
from antiphon.data.keyring import LiveKeyRing
from antiphon.data.rekey import Rekeyed, rekey
from antiphon.errors import ServerError
from antiphon.identity.keys import KeyRing
from antiphon.identity.names import prepare
from antiphon.store.contracts import NewAccount
from antiphon.store.sql import SqlStore, open_sqlite
from antiphon.wire.bodies import SCRAM_SHA_256
from support.serving import verifier

Result = TypeVar("Result")


def ring_of(folder: Path) -> KeyRing:
    """Return the key ring in the folder."""
    return KeyRing.parse((folder / "secret.key").read_bytes())


def in_store(folder: Path, work: Callable[[SqlStore], Coroutine[Any, Any, Result]]) -> Result:
    """Run `work` on the folder's store, as another process would, and return its result."""

    async def main() -> Result:
        store = await open_sqlite(folder)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(main())


def enrol(folder: Path, names: Sequence[str]) -> None:
    """Add accounts with the password `PASSWORD` to a data folder."""
    ring = DataFolder.open(folder).key_ring(os.urandom)
    new = [
        NewAccount(
            name=prepare(name),
            seal=lambda number, key: seal(ring, verifier(), number, key, os.urandom),
            credential_type=SCRAM_SHA_256,
        )
        for name in names
    ]
    in_store(folder, lambda store: store.accounts.add(new, datetime.now(UTC), "test"))


def lost(folder: Path) -> list[str]:
    """Return the names of the accounts whose credentials do not open with the key ring on disk."""
    ring = ring_of(folder)

    async def work(store: SqlStore) -> list[str]:
        names = [overview.name for overview in await store.accounts.overviews()]
        found = [await store.accounts.find(prepare(name).key) for name in names]
        return [account.display for account in found if account and not opens(account)]

    def opens(account: Any) -> bool:
        try:
            return unseal(LiveKeyRing(ring, lambda: ring), account) == verifier()
        except ServerError:
            return False

    return in_store(folder, work)


def change_keys(folder: Path) -> Rekeyed:
    """Rekey the folder, as `antiphon accounts rekey` does."""
    return in_store(folder, lambda store: rekey(DataFolder.open(folder), store.accounts, os.urandom))
