"""Belonging: a store and the key ring of its accounts are opened together, in the order that the store needs.

A file of accounts stands beside its ring. A database may be anywhere: it notes whose ring it was begun with, and
which key of it seals.
"""

import asyncio
import hmac
from collections.abc import Callable, Sequence

from antiphon.data.credentials import check_ring
from antiphon.data.folder import KEY_RING_FILE, DataFolder
from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import KeyRingElsewhere, Problem
from antiphon.identity.keys import number_of
from antiphon.language import N_
from antiphon.store.contracts import Owned, ProcessRecord, Store
from antiphon.store.files import Tell
from antiphon.store.opening import open_store
from antiphon.store_address import is_postgresql

_MISSING = Problem(N_("it is missing, and the database {database} was begun with it"))
_ANOTHERS = Problem(N_("it is not the one that the database {database} was begun with"))
_LACKS_KEY = Problem(N_("it lacks key {number}, which seals the accounts of the database {database} now"))


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
        KeyRingElsewhere: the ring is missing, another one than that of the database, or without the key that seals
            now.
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
    owner = opened.owner
    assert owner is not None, "a database that is not in the data folder"
    noted, path = await owner.noted(), str(folder.place(KEY_RING_FILE))
    processes = await opened.processes.all()
    folder.has_accounts = noted.ring is not None
    if noted.ring is not None and folder.lacks_key_ring:
        raise ring_missing(path, store, noted, processes)
    ring = await asyncio.to_thread(folder.key_ring, random)
    mark = ring_mark(ring)
    if noted.ring is None:
        noted = await owner.join(mark, None, ring.newest_mark)
    elif noted.sealing is None and noted.ring == mark:  # of a database of an earlier version
        await check_ring(ring, opened.accounts, path)
        noted = await owner.join(mark, None, ring.newest_mark)
    check_belonging(ring, path, store, noted, processes)
    folder.has_accounts = True
    return ring


def ring_missing(path: str, database: str, noted: Owned, processes: Sequence[ProcessRecord]) -> KeyRingElsewhere:
    """Return the error for a key ring that is not there, though its database has accounts.

    `noted` and `processes` are those of the database; they say where the ring can be had.
    """
    return KeyRingElsewhere(
        path=path, problem=_MISSING, database=database, source=_source(noted, processes, noted.sealing)
    )


def check_belonging(
    ring: LiveKeyRing, path: str, database: str, noted: Owned, processes: Sequence[ProcessRecord]
) -> None:
    """Check that a key ring, of the file `path`, is that of a database, which has `noted` this, and `processes`.

    Raises:
        KeyRingElsewhere: it is not.
    """
    source = _source(noted, processes, noted.sealing)
    if noted.ring not in (None, ring_mark(ring)):
        raise KeyRingElsewhere(path=path, problem=_ANOTHERS, database=database, source=source)
    if noted.sealing is not None and not ring.follow().holds(noted.sealing):
        raise KeyRingElsewhere(
            path=path, problem=_LACKS_KEY, database=database, source=source, number=number_of(noted.sealing)
        )


def _source(noted: Owned, processes: Sequence[ProcessRecord], key: str | None) -> str:
    """Return the file to copy: that of a process that has the key, else that of the place of the servers."""
    places = [each.where for each in processes if key is None or key in each.keys.split()]
    place = next((each for each in (*places, noted.place) if each and ":" in each), None)
    return f"{place}/{KEY_RING_FILE}" if place else KEY_RING_FILE


def ring_mark(ring: LiveKeyRing) -> bytes:
    """Return what a database knows a key ring by: it tells nothing of the keys, and stays when they change."""
    return hmac.digest(ring.token_key, b"ring", "sha256")


async def ring_of_database(store: str, folder: DataFolder) -> tuple[Owned, list[ProcessRecord]]:
    """Return what a database notes about its key ring, and its processes. Precondition: it has tables.

    Raises:
        AntiphonError: as `open_store`.
    """
    opened = await open_store(store, folder.path)
    try:
        assert opened.owner is not None, "a database that is not in the data folder"
        return await opened.owner.noted(), await opened.processes.all()
    finally:
        await opened.close()
