"""Change of the sealing keys: add a new key to the ring, seal everything with it, drop the old keys.

If it is interrupted, every account still opens with the ring as it is. Run it again to finish.

Where several nodes share a database, each with a copy of the ring, the new key seals only once all of them have
it: the first run adds it, the operator copies the ring, and another run goes on. The database names the key that
seals.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from filelock import FileLock, Timeout

from antiphon.data.credentials import check_ring, reseal
from antiphon.data.folder import KEY_RING_FILE, DataFolder
from antiphon.errors import (
    CredentialUnreadable,
    KeyNotEverywhere,
    KeyRingElsewhere,
    Problem,
    RekeyUnderWay,
    ServerError,
    TryLater,
)
from antiphon.files import reported
from antiphon.identity.keys import NUMBER_SIZE, KeyRing, key_number
from antiphon.language import N_
from antiphon.store.contracts import Accounts, ProcessRecord

REKEY_LOCK_FILE = "rekey.lock"
BATCH = 200
"""Accounts in one transaction: it takes milliseconds, in which nobody else can write."""
PATIENCE_SECONDS = 30.0
"""How long a busy store is asked again."""
_BEHIND = Problem(N_("another node has a later key already"))


class Rekeyed(NamedTuple):
    """Result of `rekey`."""

    number: int
    """of the key that seals now"""
    accounts: int
    """how many accounts were sealed again"""


class KeyAdded(NamedTuple):
    """Result of `rekey_nodes` if the new key does not seal yet."""

    number: int
    """of the key that was added to the ring"""
    lacking: Sequence[ProcessRecord]
    """processes of other nodes that do not have it"""


class Nodes(Protocol):
    """The nodes that share a database, as a change of keys asks about them.

    Every method raises `TryLater` when the database cannot do its work.
    """

    async def sealing(self) -> str | None:
        """Return the mark of the key that seals."""

    async def later_keys(self, number: int) -> list[ProcessRecord]:
        """Return the processes that have a later key than the one with this number."""

    async def lacking(self, key: str) -> list[ProcessRecord]:
        """Return the living processes that lack the key with this mark, once each had time to read its file.

        One that stands still for long enough to be dead is not among them, and does not stop `seal_with`.
        """

    async def seal_with(self, key: str) -> list[ProcessRecord]:
        """Make the key with this mark the one that seals, unless processes lack it; return those."""


class _Unreadable(Exception):
    """The credential of one account does not open."""

    def __init__(self, account_id: int) -> None:
        super().__init__(account_id)
        self.account_id = account_id


async def rekey(
    folder: DataFolder,
    accounts: Accounts,
    random: Callable[[int], bytes],
    told: Callable[[int], None] = lambda _: None,
) -> Rekeyed:
    """Change the sealing keys of `folder`, which holds the keys of `accounts`. Servers may run on it meanwhile.

    An interrupted change is finished without a further key. `told` is called with the number of accounts done.

    Raises:
        RekeyUnderWay: another process does the same.
        KeyRingUnusable: the ring is missing, damaged or another folder's; nothing has been done.
        CredentialUnreadable: the credential of one account does not open. Both keys stay, and all others can
            sign in.
        TryLater: the store cannot go on now; again both keys stay.
    """
    with keys_held(folder):
        await check_ring(folder.key_ring(random), accounts, str(folder.place(KEY_RING_FILE)))
        ring = folder.change_key_ring(
            lambda ring: ring.with_new_key(random) if len(ring.sealing_keys) == 1 else ring
        )
        return await _seal_all(folder, ring, accounts, random, told)


async def rekey_nodes(
    folder: DataFolder,
    accounts: Accounts,
    nodes: Nodes,
    random: Callable[[int], bytes],
    told: Callable[[int], None] = lambda _: None,
) -> Rekeyed | KeyAdded:
    """Change the sealing keys of `accounts` in a database that `nodes` share; `folder` is that of one of them.

    If all have the new key at once, as where there is one node, all is done in one call.

    Raises:
        KeyNotEverywhere: a key that was added before is still not on every node; nothing has been done.
        KeyRingElsewhere: the ring lacks a key that another node has; nothing has been done.
        KeyRingUnusable, RekeyUnderWay, CredentialUnreadable, TryLater: as `rekey`.
    """
    with keys_held(folder):
        await check_ring(folder.key_ring(random), accounts, str(folder.place(KEY_RING_FILE)))
        ring, lacking = await _agreed(folder, nodes, random)
        if lacking:
            return KeyAdded(ring.newest, lacking)
        return await _seal_all(folder, ring, accounts, random, told)


async def _seal_all(
    folder: DataFolder,
    ring: KeyRing,
    accounts: Accounts,
    random: Callable[[int], bytes],
    told: Callable[[int], None],
) -> Rekeyed:
    """Seal everything with the newest key of `ring`, which whoever seals meanwhile uses; drop the older ones."""
    # At least once, also without accounts: it waits for those who were writing while the ring changed.
    done = await _seal_again(ring, accounts, random, 0, told)
    while not await _all_sealed_with(ring.newest, accounts):
        done = await _seal_again(ring, accounts, random, done, told)
    # A later one may have been copied into the file meanwhile, and not seal yet.
    folder.change_key_ring(lambda now: now.without_older(ring.newest))
    return Rekeyed(ring.newest, done)


async def _agreed(
    folder: DataFolder, nodes: Nodes, random: Callable[[int], bytes]
) -> tuple[KeyRing, list[ProcessRecord]]:
    """Make the newest key of `folder` seal in the whole database; a further one is added if it does already.

    Returns:
        The ring, and the processes that lack its newest key if that was added now; it does not seal then.
    """
    ring = folder.change_key_ring(lambda ring: ring)
    added = False
    if await nodes.sealing() == ring.mark(ring.newest):
        if len(ring.sealing_keys) > 1:  # what was interrupted, or done on another node
            return ring, []
        if ahead := await nodes.later_keys(ring.newest):
            path = str(folder.place(KEY_RING_FILE))
            raise KeyRingElsewhere(path=path, problem=_BEHIND, source=f"{ahead[0].where}/{KEY_RING_FILE}")
        ring, added = folder.change_key_ring(lambda ring: ring.with_new_key(random)), True
    key = ring.mark(ring.newest)
    lacking = await nodes.lacking(key)
    if not lacking:
        lacking, added = await nodes.seal_with(key), False
    if lacking and not added:
        raise KeyNotEverywhere(
            number=ring.newest, places=places_of(lacking), path=str(folder.place(KEY_RING_FILE))
        )
    return ring, lacking


def places_of(processes: Sequence[ProcessRecord]) -> str:
    """Return where processes run, each place once."""
    return ", ".join(sorted({each.where or f"process {each.pid}" for each in processes}))


async def _all_sealed_with(number: int, accounts: Accounts) -> bool:
    return all(key_number(sealed) == number for _, sealed in await accounts.specimens(NUMBER_SIZE))


async def _seal_again(
    ring: KeyRing, accounts: Accounts, random: Callable[[int], bytes], done: int, told: Callable[[int], None]
) -> int:
    """Seal everything with the newest key; return how many accounts are done, counted from `done` on."""

    def renew(account_id: int, sealed: bytes) -> bytes:
        try:
            return reseal(ring, account_id, sealed, random)
        except ServerError as error:
            raise _Unreadable(account_id) from error

    after: int | None = 0
    asked_at = time.monotonic()
    while after is not None:
        began = time.monotonic()
        try:
            after, changed = await accounts.reseal(renew, after, BATCH)
            done += changed
            asked_at = time.monotonic()
        except TryLater:
            if time.monotonic() - asked_at > PATIENCE_SECONDS:
                raise
        except _Unreadable as error:
            names = {overview.id: overview.name for overview in await accounts.overviews()}
            raise CredentialUnreadable(name=names.get(error.account_id, "?")) from error.__cause__
        told(done)
        await asyncio.sleep(time.monotonic() - began)  # the writers of the servers get as much time as this
    return done


@contextlib.contextmanager
def keys_held(folder: DataFolder) -> Iterator[None]:
    """Let nobody else change the sealing keys of `folder` during the block.

    Raises:
        RekeyUnderWay: somebody changes them, or backs them up.
        FolderUnusable: the folder cannot be written to.
    """
    path = folder.path / REKEY_LOCK_FILE
    lock = FileLock(path, timeout=0, mode=0o600)
    with reported(path):
        try:
            lock.acquire()
        except Timeout:
            raise RekeyUnderWay(path=str(folder.path)) from None
    try:
        yield
    finally:
        lock.release()
