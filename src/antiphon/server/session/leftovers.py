"""Leftovers: sessions that may have been opened in the store although nobody was told of them.

Where the store does not answer in time, nobody knows what it has done. Nobody has the token of such a session, but
it would count among those of its account until it expires.
"""

import asyncio
import contextlib

from antiphon.errors import AntiphonError, TryLater
from antiphon.store.contracts import Sessions

REST_SECONDS = 5.0
"""Time after which the store has done what it was asked to, or will not do it any more."""
MOST = 1000
"""Sessions that are kept in mind: what is asked of a store that is away is not begun."""


class Leftovers:
    """Sessions to end once the store answers."""

    def __init__(self, store: Sessions, home: str) -> None:
        """Begin with none; they are those of the process `home` in `store`."""
        self._store = store
        self._home = home
        self._marks: dict[bytes, tuple[int, float]] = {}
        """Claim, and when it was left, by fingerprint; the oldest first."""

    def add(self, mark: bytes, claim: int) -> None:
        """Keep a session in mind."""
        self._marks[mark] = claim, asyncio.get_running_loop().time()
        if len(self._marks) > MOST:
            del self._marks[next(iter(self._marks))]

    async def leave(self, mark: bytes, claim: int, error: BaseException) -> None:
        """End a session that cannot go on because of `error`: at once if the store is not to blame, else later."""
        self.add(mark, claim)
        if isinstance(error, AntiphonError) and not isinstance(error, TryLater):
            with contextlib.suppress(AntiphonError):
                await self._store.end(mark, self._home, claim)
                del self._marks[mark]

    async def end(self) -> None:
        """End those that were left a while ago.

        Raises:
            TryLater: the store does not answer; the others are ended the next time.
        """
        until = asyncio.get_running_loop().time() - REST_SECONDS
        while self._marks:
            mark, (claim, left_at) = next(iter(self._marks.items()))
            if left_at > until:
                return
            await self._store.end(mark, self._home, claim)
            del self._marks[mark]
