"""Limits by source: connections that are not signed in (promise 8), and what is tried in an hour (promise 4).

The caller acts on the answer.
"""

import asyncio
import math
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple, Protocol

TABLE_SIZE = 65_536
"""Most sources that are counted at once (promise 8): some MiB at the worst."""

HOUR_SECONDS = 3600.0
"""Period in which registrations, failures and wrong invitations are counted together."""
SOURCE_FAILURES = 300
"""Most failures in an hour from one source: a class of 30 that mistypes has fewer, and 65,536 names, which push
others out of the store's table, take nine days."""
WRONG_MOST = 100
"""Most unknown invitations in an hour from one source: nobody guesses 128 bits, nobody needs to try for ever."""

_MAPPED = bytes(10) + b"\xff\xff"
"""Prefix of an IPv4 address that is mapped into IPv6 (RFC 4291, 2.5.5.2)."""

Source = bytes | str
"""What is counted as one peer: see `source_of`."""


class Places(Protocol):
    """Limits on connections that are not signed in: `AdmissionLimits`, or those of a supervisor."""

    @property
    def count(self) -> int:
        """See `AdmissionLimits`."""

    def admit(self, address: str) -> bool:
        """See `AdmissionLimits`."""

    def release(self, address: str) -> None:
        """See `AdmissionLimits`."""

    def take_dropped(self) -> int:
        """See `AdmissionLimits`."""


class HourlyLimit(Protocol):
    """A limit on what comes from one source in an hour: one of the classes below, or that of a supervisor."""

    async def count(self, address: str) -> float:
        """Count one from the IP `address` now, if the limit admits it.

        Returns:
            0 if it was counted, else the seconds to wait until it can be.

        Raises:
            TryLater: whoever counts does not answer.
        """

    def forgive(self, address: str) -> None:
        """Take one from `address` out of the count again."""


class HourlyLimits(NamedTuple):
    """The limits for each hour of one server."""

    registrations: HourlyLimit
    failures: HourlyLimit
    """Sign-ins that fail."""
    invitations: HourlyLimit
    """Invitations that nobody has made."""


class AdmissionLimits:
    """Limits on connections that are not signed in.

    Over all sources it drops early and at random, as OpenSSH's `MaxStartups begin:rate:most` does: an attacker who
    keeps all places taken then shares them with honest clients that try again.
    """

    def __init__(
        self,
        begin: int,
        rate: float,
        most: int,
        per_source: int,
        random: Callable[[], float],
        *,
        table: int = TABLE_SIZE,
    ) -> None:
        """Begin with no connection.

        Args:
            begin: connections up to which none is dropped, 1 to `most`.
            rate: percent dropped from there on, 0 to 100, rising in a straight line to all at `most`.
            most: most connections.
            per_source: most connections from one source.
            random: returns uniform numbers, 0 or more and less than 1.
            table: most sources.
        """
        self._begin = begin
        self._rate = rate
        self._most = most
        self._per_source = per_source
        self._random = random
        self._table = table
        self._sources: dict[Source, int] = {}
        self._count = 0
        self._dropped = 0

    @property
    def count(self) -> int:
        """Connections that are not signed in now."""
        return self._count

    def take_dropped(self) -> int:
        """Return how many connections were dropped since the last call.

        The log gets this number, not a record for each: a flood must not fill the disk.
        """
        dropped, self._dropped = self._dropped, 0
        return dropped

    def admit(self, address: str) -> bool:
        """Return whether a connection from the IP `address` is admitted, and count it if it is.

        Call `release` once for each connection that is admitted.
        """
        source = source_of(address)
        held = self._sources.get(source, 0)
        is_full = held >= self._per_source or (not held and len(self._sources) >= self._table)
        if is_full or (self._count >= self._begin and self._drops()):
            self._dropped += 1
            return False
        self._sources[source] = held + 1
        self._count += 1
        return True

    def release(self, address: str) -> None:
        """Stop counting a connection from `address`: it has signed in, or is closed."""
        source = source_of(address)
        held = self._sources.get(source, 0)
        if not held:
            return
        if held == 1:
            del self._sources[source]
        else:
            self._sources[source] = held - 1
        self._count -= 1

    def _drops(self) -> bool:
        """Return whether to drop the next connection, by chance."""
        if self._count >= self._most:
            return True
        percent = self._rate + (100 - self._rate) * (self._count - self._begin) / (self._most - self._begin)
        return self._random() * 100 < percent


class RegistrationLimits:
    """Limits on registrations, or on something else, in one hour: over all sources and from one."""

    def __init__(self, per_source: int, most: int) -> None:
        """Admit `per_source` from one source and `most` in all; an hour begins with its first registration."""
        self._per_source = per_source
        self._most = most
        self._began_at = -math.inf
        self._sources: dict[Source, int] = {}  # never more than `_most`
        self._count = 0

    def admit(self, address: str, now: float) -> float:
        """Count a registration from the IP `address` at the monotonic time `now`, if the limits admit it.

        Returns:
            0 if it was counted, else the seconds to wait until it can be.
        """
        if now - self._began_at >= HOUR_SECONDS:
            self._began_at, self._sources, self._count = now, {}, 0
        source = source_of(address)
        held = self._sources.get(source, 0)
        if held >= self._per_source or self._count >= self._most:
            return self._began_at + HOUR_SECONDS - now
        self._sources[source] = held + 1
        self._count += 1
        return 0.0

    def count_now(self, address: str) -> float:
        """Count one at the event loop's time; see `HourlyLimit`."""
        return self.admit(address, asyncio.get_running_loop().time())

    async def count(self, address: str) -> float:
        """See `HourlyLimit`."""
        return self.count_now(address)

    def forgive(self, address: str) -> None:
        """See `HourlyLimit`."""
        source = source_of(address)
        if self._sources.get(source, 0):  # 0 if a new hour has begun since
            self._sources[source] -= 1
            self._count -= 1


def utc_now() -> datetime:
    """Return the wall time."""
    return datetime.now(UTC)


class SourceFailures:
    """Failures of one hour from each source. An hour begins with the source's first failure."""

    def __init__(
        self, most: int = SOURCE_FAILURES, clock: Callable[[], datetime] = utc_now, *, table: int = TABLE_SIZE
    ) -> None:
        """Allow `most` from one source; of more than `table` sources, the one that began first is forgotten."""
        self._most = most
        self._clock = clock
        self._table = table
        self._sources: dict[Source, tuple[datetime, int]] = {}  # in the order in which their hours began

    def count_now(self, address: str) -> float:
        """Count a failure; see `HourlyLimit`."""
        at, source = self._clock(), source_of(address)
        began, count = self._sources.get(source, (at, 0))
        elapsed = abs((at - began).total_seconds())  # as in `identity.throttle.wait`
        if elapsed >= HOUR_SECONDS:
            del self._sources[source]
            began, count, elapsed = at, 0, 0.0
        if count >= self._most:
            return HOUR_SECONDS - elapsed
        if source not in self._sources and len(self._sources) >= self._table:
            del self._sources[next(iter(self._sources))]
        self._sources[source] = began, count + 1
        return 0.0

    async def count(self, address: str) -> float:
        """See `HourlyLimit`."""
        return self.count_now(address)

    def forgive(self, address: str) -> None:
        """See `HourlyLimit`."""
        source = source_of(address)
        if source in self._sources:
            began, count = self._sources[source]
            self._sources[source] = began, max(0, count - 1)


def source_of(address: str) -> Source:
    """Return what limits count as one source: an IPv4 address, the /64 of an IPv6 one, anything else as it is."""
    try:
        if ":" not in address:
            return socket.inet_pton(socket.AF_INET, address)
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    return packed[12:] if packed.startswith(_MAPPED) else packed[:8]


def number_of_source(address: str) -> int:
    """Return the number by which sessions without an account are counted, by source: below 0, in 32 bits."""
    source = source_of(address)
    packed = source.encode() if isinstance(source, str) else source
    return -1 - (int.from_bytes(sha256(packed).digest()[:4], "big") >> 1)
