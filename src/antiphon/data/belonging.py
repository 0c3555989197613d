"""Belonging: a store and the key ring of its accounts are opened together, in the order that the store needs.

A file of accounts stands beside its ring. A database may be anywhere: it notes whose ring it was begun with.
"""

import asyncio
import hmac
from collections.abc import Callable

from antiphon.data.folder import KEY_RING_FILE, DataFolder
from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import KeyRingUnusable, Problem
from antiphon.language import N_
from antiphon.settings import is_postgresql
from antiphon.store.contracts import Store
from antiphon.store.files import Tell
from antiphon.store.opening import open_store

ANOTHERS = Problem(N_("it is not the one that the database {database} was begun with"))


async def open_with_ring(
    store: str,
    folder: DataFolder,
    random: Callable[[int], bytes],
    *,
    serving: bool = False,
    tell: Tell = lambda _: None,
) -> tuple[Store, LiveKeyRing]:
    """Open the store that `store` names, and the key ring of `folder`, which is made if there are no accounts yet.

    Raises:
        KeyRingUnusable: the ring is missing or damaged, or another one than that of the accounts.
        AntiphonError: as `open_store` and `DataFolder.key_ring`.
    """
    if not is_postgresql(store):  # the ring first: once there is a file of accounts, a missing ring is an error
        ring = await asyncio.to_thread(folder.key_ring, random)  # another server may hold the folder's lock
        return await open_store(store, folder.path, serving=serving, tell=tell), ring
    opened = await open_store(store, folder.path, serving=serving, tell=tell)
    try:
        return opened, await _ring_of(opened, store, folder, random)
    except BaseException:
        await opened.close()
        raise


async def _ring_of(opened: Store, store: str, folder: DataFolder, random: Callable[[int], bytes]) -> LiveKeyRing:
    assert opened.owner is not None, "a database that is not in the data folder"
    folder.has_accounts = (await opened.owner.noted()).ring is not None
    ring = await asyncio.to_thread(folder.key_ring, random)
    mark = ring_mark(ring)
    if (await opened.owner.join(mark, None)).ring != mark:
        raise KeyRingUnusable(path=str(folder.path / KEY_RING_FILE), problem=ANOTHERS, database=store)
    folder.has_accounts = True
    return ring


def ring_mark(ring: LiveKeyRing) -> bytes:
    """Return what a database knows a key ring by: it tells nothing of the keys, and stays when they change."""
    return hmac.digest(ring.token_key, b"ring", "sha256")


async def mark_of_database(store: str, folder: DataFolder) -> bytes | None:
    """Return what a database knows its key ring by; None if it knows none. Precondition: it has tables.

    Raises:
        AntiphonError: as `open_store`.
    """
    opened = await open_store(store, folder.path)
    try:
        assert opened.owner is not None, "a database that is not in the data folder"
        return (await opened.owner.noted()).ring
    finally:
        await opened.close()
