"""A change of the sealing keys: a new key joins the ring, everything is sealed with it, the old keys leave.

Whatever moment it stops at, every account opens with the ring that is there; to say it again goes on from there.
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
"""Accounts in one transaction: some milliseconds, in which nobody else can write."""
PATIENCE_SECONDS = 30.0
"""How long a store that is busy with others is asked again for its turn."""


class Rekeyed(NamedTuple):
    """What has been done."""

    number: int
    """of the key that seals now"""
    accounts: int
    """that were sealed again"""


async def rekey(
    folder: DataFolder,
    accounts: Accounts,
    random: Callable[[int], bytes],
    told: Callable[[int], None] = lambda _: None,
) -> Rekeyed:
    """Change the sealing keys of `folder`, whose accounts these are, while servers run on it.

    A change that was cut short is finished, and no further key made. `told` hears how many accounts are done.

    Raises:
        RekeyUnderWay: another process is at it.
        KeyRingUnusable: the ring is missing, damaged or another folder's; nothing has been done.
        CredentialUnreadable: one account's does not open. Both keys stay, and all others sign in.
        TryLater: the store cannot go on now; likewise.
    """
    with _alone(folder):
        await check_ring(folder.key_ring(random), accounts, str(folder.path / KEY_RING_FILE))
        ring = folder.change_key_ring(
            lambda ring: ring.with_new_key(random) if len(ring.sealing_keys) == 1 else ring
        )
        # At least once, whatever there is: it waits for those who were writing while the ring changed.
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
    """Seal everything with the newest key; return how many accounts are done, from `done` on."""
    failed = 0

    def renew(account_id: int, sealed: bytes) -> bytes:
        nonlocal done, failed
        failed = account_id
        credential = reseal(ring, account_id, sealed, random)
        done += credential != sealed
        return credential

    after: int | None = 0
    asked_at = time.monotonic()
    while after is not None:
        began = time.monotonic()
        try:
            after = await accounts.reseal(renew, after, BATCH)
            asked_at = time.monotonic()
        except TryLater:
            if time.monotonic() - asked_at > PATIENCE_SECONDS:
                raise
        except ServerError as error:
            names = {overview.id: overview.name for overview in await accounts.overviews()}
            raise CredentialUnreadable(name=names.get(failed, "?")) from error
        told(done)
        await asyncio.sleep(time.monotonic() - began)  # as long for the writers of the servers as for us
    return done


@contextlib.contextmanager
def _alone(folder: DataFolder) -> Iterator[None]:
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
