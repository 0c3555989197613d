"""Throttle: slows guessing (promise 4). Each proof counts as a failure before it is looked at.

Attempts are counted by keyed hashes of the name and of the source. The counts are in the store, shared by all
servers that use it. Each server, with all its workers, also limits the failures from one source, under whatever
names (`server.listen.limits.SourceFailures`).
"""

import math
from collections.abc import Callable
from datetime import datetime

from antiphon.errors import NameLocked, TooManyFailures, TryLater
from antiphon.identity.throttle import name_mark, source_mark
from antiphon.server.listen.limits import SOURCE_FAILURES, HourlyLimit, source_of
from antiphon.store.contracts import LoginFailures, Marks


class Throttle:
    """Decides which sign-in may be tried now, without asking whether anybody has the name (promise 5)."""

    def __init__(
        self,
        failures: LoginFailures,
        key: bytes,
        clock: Callable[[], datetime],
        sources: HourlyLimit,
        source_failures: int = SOURCE_FAILURES,
    ) -> None:
        """Count in `failures`, by hashes under `key`, the key ring's `mock_key`.

        In `sources` count the failures from one source, of which it takes so many.
        """
        self._failures = failures
        self._key = key
        self._clock = clock
        self._sources = sources
        self._source_failures = source_failures

    async def attempt(self, marks: Marks, host: str) -> bool:
        """Count an attempt from the IP `host` under a name, or under what was claimed to be one: `marks` of both.

        Returns:
            Whether it counts for the source too: `passed` takes it out of that count.

        Raises:
            TooManyFailures: it comes too early and must not be looked at.
            NameLocked: it must not be looked at, whenever it comes.
            TryLater: it could not be counted, and so must not be looked at. With the field `most`, because so many
                have failed from this source; names that have signed in from there are still tried.
        """
        # Counted first: of attempts that arrive together, none is free.
        full = await self._sources.count(host)
        at = self._clock()
        seconds: float | None = math.inf
        try:
            seconds = await self._failures.attempt(*marks, at, only_known=full > 0)
        finally:
            if seconds and not full:  # not a failure
                self._sources.forgive(host)
        if seconds is None:
            raise TryLater(wait=math.ceil(full), most=self._source_failures)
        if math.isinf(seconds):
            raise NameLocked
        if seconds:
            raise TooManyFailures(wait=math.ceil(seconds))
        return not full

    def passed(self, host: str) -> None:
        """Take an attempt from `host` out of the count of its source: it was no failure."""
        self._sources.forgive(host)

    async def succeeded(self, marks: Marks) -> None:
        """Forget the failures under the name; from now on its owner is known at this source."""
        await self._failures.succeeded(*marks, self._clock())

    async def refused(self, name_key: str) -> None:
        """Count a refusal under the name, for its owner to see at the next sign-in."""
        await self._failures.refused(name_mark(name_key, self._key), self._clock())

    def marks(self, name_key: str, host: str) -> Marks:
        """Return what the store counts attempts under a name from this `host` by."""
        name = name_mark(name_key, self._key)
        source = source_of(host)
        return Marks(name, source_mark(name, source if isinstance(source, bytes) else source.encode(), self._key))
