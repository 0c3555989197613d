"""Locks of sessions: which blocks exclude each other."""

import asyncio
from contextlib import AbstractAsyncContextManager

from antiphon.server.session.locks import SessionLocks


class Block:
    """A block under a lock, which goes on until it is let go."""

    def __init__(self, lock: AbstractAsyncContextManager[None]) -> None:
        self.begun = False
        self._lock = lock
        self._go = asyncio.Event()
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        async with self._lock:
            self.begun = True
            await self._go.wait()

    async def end(self) -> None:
        self._go.set()
        await self.task


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_sessions_do_not_wait_for_each_other_and_one_does_for_itself() -> None:
    locks = SessionLocks()
    first, other, again = Block(locks.one(b"a")), Block(locks.one(b"b")), Block(locks.one(b"a"))
    await settle()
    assert [first.begun, other.begun, again.begun] == [True, True, False]
    await first.end()
    await settle()
    assert again.begun
    await other.end()
    await again.end()
    assert not locks._locks


async def test_a_block_for_all_waits_for_every_one_and_none_begins_meanwhile() -> None:
    locks = SessionLocks()
    one = Block(locks.one(b"a"))
    await settle()
    every = Block(locks.all())
    await settle()
    late = Block(locks.one(b"b"))
    await settle()
    assert [every.begun, late.begun] == [False, False]
    await one.end()
    await settle()
    assert [every.begun, late.begun] == [True, False]
    await every.end()
    await settle()
    assert late.begun
    await late.end()


async def test_who_gives_up_waiting_leaves_nothing_locked() -> None:
    locks = SessionLocks()
    one = Block(locks.one(b"a"))
    await settle()
    waiting = [Block(locks.all()), Block(locks.one(b"a")), Block(locks.one(b"b"))]
    await settle()
    for block in waiting:
        block.task.cancel()
    await asyncio.wait([block.task for block in waiting])
    await one.end()
    async with asyncio.timeout(60), locks.all():
        pass
    assert not locks._locks
