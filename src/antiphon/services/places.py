"""Places for programs: how many run at once, in all and for one person, and how many may be ending beside them.

A program that ends may take seconds to do so. It gives its place back at once, and is counted apart: a person who
comes and goes keeps nobody out, and the number of processes stays bounded.
"""

import ipaddress
from collections import Counter

from antiphon.services.contract import Session

SHARE = 4
"""One person has one in so many of the places, but one place at least."""


class Places:
    """The places of one service. As many programs again may be ending, in all and for one person."""

    def __init__(self, most: int) -> None:
        """Give `most` places."""
        self._most = most
        self._share = max(1, most // SHARE)
        self._running: Counter[str] = Counter()
        self._started: Counter[str] = Counter()
        """Programs that run or are ending."""

    @property
    def running(self) -> int:
        """Programs that hold a place."""
        return self._running.total()

    @property
    def started(self) -> int:
        """Programs that run or are ending."""
        return self._started.total()

    def take(self, person: str) -> "Place | None":
        """Return a place for a program of `person`; None if all of them, or this person's, are taken."""
        if self.running >= self._most or self.started >= 2 * self._most:
            return None
        if self._running[person] >= self._share or self._started[person] >= 2 * self._share:
            return None
        self._running[person] += 1
        self._started[person] += 1
        return Place(person, self._running, self._started)


class Place:
    """The place of one program. Call `give_back` when its end begins, and `ended` when it has ended."""

    def __init__(self, person: str, running: Counter[str], started: Counter[str]) -> None:
        """Use `Places.take`."""
        self._person = person
        self._counted = [running, started]

    def give_back(self) -> None:
        """Stop holding the place: the program is ending. Calling it twice is no error."""
        if len(self._counted) == 2:
            self._uncount(0)

    def ended(self) -> None:
        """Stop counting the program at all."""
        while self._counted:
            self._uncount(0)

    def _uncount(self, index: int) -> None:
        counter = self._counted.pop(index)
        counter[self._person] -= 1
        if not counter[self._person]:
            del counter[self._person]  # so that the table holds those who have a program, and no others


def person_of(session: Session) -> str:
    """Return who a session is of: its account, else the source (IPv4 address, IPv6 /64) and the name."""
    if session.account > 0:
        return f"account {session.account}"
    host = session.address.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{host} {session.name}"
    if address.version == 6:
        host = str(ipaddress.ip_network((address, 64), strict=False))
    return f"{host} {session.name}"
