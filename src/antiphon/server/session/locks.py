"""Locks of sessions: what takes one up and what ends it exclude each other; other sessions do not wait for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class SessionLocks:
    """A lock for each session that something is done with, and one for all together."""

    def __init__(self) -> None:
        """Begin with none taken."""
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._users: dict[bytes, int] = {}
        """How many hold or wait for each of them."""
        self._entering = asyncio.Lock()
        self._held = 0
        self._none_held = asyncio.Event()
        self._none_held.set()

    @contextlib.asynccontextmanager
    async def one(self, mark: bytes) -> AsyncIterator[None]:
        """Run a block for the session with this fingerprint, and no other one for it meanwhile."""
        lock = self._locks.setdefault(mark, asyncio.Lock())
        self._users[mark] = self._users.get(mark, 0) + 1
        try:
            async with lock:
                async with self._entering:
                    self._held += 1
                    self._none_held.clear()
                try:
                    yield
                finally:
                    self._held -= 1
                    if not self._held:
                        self._none_held.set()
        finally:
            self._users[mark] -= 1
            if not self._users[mark]:
                del self._users[mark], self._locks[mark]

    @contextlib.asynccontextmanager
    async def all(self) -> AsyncIterator[None]:
        """Run a block, and none for any session meanwhile."""
        async with self._entering:
            await self._none_held.wait()
            yield
