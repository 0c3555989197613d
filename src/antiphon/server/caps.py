"""How many connections may wait to be signed in (promise 8), and how many names may be registered (promise 4).

Counts only, over all and from one source; who accepts and who refuses is left to others. Wrong invitations are
counted as registrations are.
"""

import math
import socket
from collections.abc import Callable

TABLE_SIZE = 65_536
"""Sources that are counted at once (promise 8): some MiB at the worst."""

HOUR_SECONDS = 3600.0
"""In which registrations are counted together."""

_MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv4 address begins inside an IPv6 one (RFC 4291, 2.5.5.2)."""

Source = bytes | str


class EntryCaps:
    """Counts the connections that are not signed in, and says which new ones may come in.

    Over all it drops early and at random, as OpenSSH's `MaxStartups begin:rate:most` does: an attacker who keeps
    all places taken then shares them with honest clients that try again.
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
        """Count nothing yet.

        Args:
            begin: connections up to which none is dropped, 1 to `most`.
            rate: percent dropped from there on, 0 to 100, rising in a straight line to all at `most`.
            most: connections at the most.
            per_source: connections from one source at the most.
            random: gives an even number from 0 up to, and not, 1.
            table: sources at the most.
        """
        self._begin = begin
        self._rate = rate
        self._most = most
        self._per_source = per_source
        self._random = random
        self._table = table
        self._sources: dict[Source, int] = {}
        self._count = 0

    @property
    def count(self) -> int:
        """Connections that are not signed in now."""
        return self._count

    def admit(self, address: str) -> bool:
        """Return whether a connection from the IP `address` may come in, and count it if so.

        Each one admitted must be given back by `release`, once.
        """
        source = source_of(address)
        held = self._sources.get(source, 0)
        if held >= self._per_source or (not held and len(self._sources) >= self._table):
            return False
        if self._count >= self._begin and self._dropped():
            return False
        self._sources[source] = held + 1
        self._count += 1
        return True

    def release(self, address: str) -> None:
        """Give back the place of a connection from `address` that has signed in or is gone."""
        source = source_of(address)
        held = self._sources.get(source, 0)
        if not held:
            return
        if held == 1:
            del self._sources[source]
        else:
            self._sources[source] = held - 1
        self._count -= 1

    def _dropped(self) -> bool:
        if self._count >= self._most:
            return True
        percent = self._rate + (100 - self._rate) * (self._count - self._begin) / (self._most - self._begin)
        return self._random() * 100 < percent


class RegistrationCaps:
    """Counts the registrations of an hour at this server, over all and from one source."""

    def __init__(self, per_source: int, most: int) -> None:
        """Let `per_source` pass from one source and `most` in all; the first hour begins with the first one."""
        self._per_source = per_source
        self._most = most
        self._began_at = -math.inf
        self._sources: dict[Source, int] = {}  # never more than `_most`
        self._count = 0

    def admit(self, address: str, now: float) -> float:
        """Count a registration from the IP `address` at the monotonic time `now`, if there is room for it.

        Returns:
            0 when it was counted; else the seconds to wait, and it was not.
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

    def forgive(self, address: str) -> None:
        """Take one from `address` out of the count again."""
        source = source_of(address)
        if self._sources.get(source, 0):  # not where a new hour has begun since
            self._sources[source] -= 1
            self._count -= 1


def source_of(address: str) -> Source:
    """Return what is counted as one: an IPv4 address, the /64 of an IPv6 one, anything else as it is."""
    try:
        if ":" not in address:
            return socket.inet_pton(socket.AF_INET, address)
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    return packed[12:] if packed.startswith(_MAPPED) else packed[:8]
