"""Throttle: slows guessing (promise 4). Each proof counts as a failure before it is looked at.

Attempts are counted by keyed hashes of the name and of the source. The counts are in the store, shared by all
servers that use it. Each server also limits the failures from one source, under whatever names.
"""

import math
from collections.abc import Callable
from datetime import datetime

from antiphon.errors import NameLocked, TooManyFailures, TryLater
from antiphon.identity.throttle import name_mark, source_mark
from antiphon.server.listen.limits import HOUR_SECONDS, TABLE_SIZE, Source, source_of
from antiphon.store.contracts import LoginFailures, Marks

SOURCE_FAILURES = 300
"""Most failures in an hour from one source: a class of 30 that mistypes has fewer, and 65,536 names, which push
others out of the store's table, take nine days."""


class SourceFailures:
    """Failures of one hour from each source. An hour begins with the source's first failure."""

    def __init__(self, most: int, table: int = TABLE_SIZE) -> None:
        """Allow `most` from one source; of more than `table` sources, the one that began first is forgotten."""
        self.most = most
        self._table = table
        self._sources: dict[Source, tuple[datetime, int]] = {}  # in the order in which their hours began

    def count(self, host: str, at: datetime) -> float:
        """Count a failure from the IP `host`, if the limit allows one more.

        Returns:
            0 if it was counted, else the seconds until the hour is over.
        """
        source = source_of(host)
        began, count = self._sources.get(source, (at, 0))
        elapsed = abs((at - began).total_seconds())  # as in `identity.throttle.wait`
        if elapsed >= HOUR_SECONDS:
            del self._sources[source]
            began, count, elapsed = at, 0, 0.0
        if count >= self.most:
            return HOUR_SECONDS - elapsed
        if source not in self._sources and len(self._sources) >= self._table:
            del self._sources[next(iter(self._sources))]
        self._sources[source] = began, count + 1
        return 0.0

    def forgive(self, host: str) -> None:
        """Take one failure of `host` out of the count again."""
        source = source_of(host)
        if source in self._sources:
            began, count = self._sources[source]
            self._sources[source] = began, max(0, count - 1)


class Throttle:
    """Decides which sign-in may be tried now, without asking whether anybody has the name (promise 5)."""

    def __init__(
        self,
        failures: LoginFailures,
        key: bytes,
        clock: Callable[[], datetime],
        source_failures: int = SOURCE_FAILURES,
    ) -> None:
        """Count in `failures`, by hashes under `key`, the key ring's `mock_key`."""
        self._failures = failures
        self._key = key
        self._clock = clock
        self._sources = SourceFailures(source_failures)

    async def attempt(self, name_key: str, host: str) -> bool:
        """Count an attempt from the IP `host` under a name, or under what was claimed to be one.

        Returns:
            Whether it counts for the source too: `passed` takes it out of that count.

        Raises:
            TooManyFailures: it comes too early and must not be looked at.
            NameLocked: it must not be looked at, whenever it comes.
            TryLater: it could not be counted, and so must not be looked at. With the field `most`, because so many
                have failed from this source; names that have signed in from there are still tried.
        """
        at = self._clock()
        # Counted first: of attempts that arrive together, none is free.
        full = self._sources.count(host, at)
        seconds: float | None = math.inf
        try:
            seconds = await self._failures.attempt(*self.marks(name_key, host), at, only_known=full > 0)
        finally:
            if seconds and not full:  # not a failure
                self._sources.forgive(host)
        if seconds is None:
            raise TryLater(wait=math.ceil(full), most=self._sources.most)
        if math.isinf(seconds):
            raise NameLocked
        if seconds:
            raise TooManyFailures(wait=math.ceil(seconds))
        return not full

    def passed(self, host: str) -> None:
        """Take an attempt from `host` out of the count of its source: it was no failure."""
        self._sources.forgive(host)

    async def succeeded(self, name_key: str, host: str) -> None:
        """Forget the failures under the name; from now on its owner is known at this `host`."""
        await self._failures.succeeded(*self.marks(name_key, host), self._clock())

    async def refused(self, name_key: str) -> None:
        """Count a refusal under the name, for its owner to see at the next sign-in."""
        await self._failures.refused(name_mark(name_key, self._key), self._clock())

    def marks(self, name_key: str, host: str) -> Marks:
        """Return what the store counts attempts under a name from this `host` by."""
        name = name_mark(name_key, self._key)
        source = source_of(host)
        return Marks(name, source_mark(name, source if isinstance(source, bytes) else source.encode(), self._key))
