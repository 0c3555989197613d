"""Throttle: slows guessing (promise 4). Each proof counts as a failure before it is looked at.

Attempts are counted by keyed hashes of the name and of the source. The counts are in the store, shared by all
servers that use it.
"""

import math
from collections.abc import Callable
from datetime import datetime

from antiphon.errors import NameLocked, TooManyFailures
from antiphon.identity.throttle import name_mark, source_mark
from antiphon.server.listen.limits import source_of
from antiphon.store.contracts import LoginFailures, Marks


class Throttle:
    """Decides which sign-in may be tried now, without asking whether anybody has the name (promise 5)."""

    def __init__(self, failures: LoginFailures, key: bytes, clock: Callable[[], datetime]) -> None:
        """Count in `failures`, by hashes under `key`, the key ring's `mock_key`."""
        self._failures = failures
        self._key = key
        self._clock = clock

    async def attempt(self, name_key: str, host: str) -> None:
        """Count an attempt from the IP `host` under a name, or under what was claimed to be one.

        Raises:
            TooManyFailures: it comes too early and must not be looked at.
            NameLocked: it must not be looked at, whenever it comes.
            TryLater: it could not be counted, and so must not be looked at.
        """
        seconds = await self._failures.attempt(*self.marks(name_key, host), self._clock())
        if math.isinf(seconds):
            raise NameLocked
        if seconds:
            raise TooManyFailures(wait=math.ceil(seconds))

    async def succeeded(self, name_key: str, host: str) -> None:
        """Forget the failures under the name; from now on its owner is known at this `host`."""
        await self._failures.succeeded(*self.marks(name_key, host), self._clock())

    def marks(self, name_key: str, host: str) -> Marks:
        """Return what the store counts attempts under a name from this `host` by."""
        name = name_mark(name_key, self._key)
        source = source_of(host)
        return Marks(name, source_mark(name, source if isinstance(source, bytes) else source.encode(), self._key))
