"""Change of the sealing keys: add a new key to the ring, seal everything with it, drop the old keys.

If it is interrupted, every account still opens with the ring as it is. Run it again to finish.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from filelock import FileLock, Timeout

from antiphon.data.credentials import check_ring, reseal
from antiphon.data.folder import KEY_RING_FILE, DataFolder
from antiphon.errors import CredentialUnreadable, RekeyUnderWay, ServerError, TryLater
from antiphon.files import reported
from antiphon.identity.keys import NUMBER_SIZE, KeyRing, key_number
from antiphon.store.contracts import Accounts

REKEY_LOCK_FILE = "rekey.lock"
BATCH = 200
"""Accounts in one transaction: it takes milliseconds, in which nobody else can write."""
PATIENCE_SECONDS = 30.0
"""How long a busy store is asked again."""


class Rekeyed(NamedTuple):
    """Result of `rekey`."""

    number: int
    """of the key that seals now"""
    accounts: int
    """how many accounts were sealed again"""


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
        # At least once, also without accounts: it waits for those who were writing while the ring changed.
        done = await _seal_again(ring, accounts, random, 0, told)
        while not await _all_sealed_with(ring.newest, accounts):
            done = await _seal_again(ring, accounts, random, done, told)
        folder.change_key_ring(KeyRing.with_newest_only)
        return Rekeyed(ring.newest, done)


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
