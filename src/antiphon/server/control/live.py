"""Who is there: the connected sessions of a server, those that have just closed, and who talks most.

It is asked for by a person who looks, a page at a time. Nothing is gathered while nobody asks, but for the last
closings of each worker, which its heartbeat carries: they outlive it.
"""

import heapq
from collections.abc import Iterable
from datetime import datetime

import msgspec

PAGE_SIZE = 25
"""Sessions on a page."""
PAGES_MOST = 40
"""Pages of one search; whoever is further down is found by a narrower one. It bounds what a process sends."""
TALKERS_MOST = 5
"""Sessions that are shown as those that talk most."""
CLOSED_MOST = 50
"""Closed sessions that are kept, of each process and in all."""
SEARCH_MOST = 64
"""Characters of a search; further ones are dropped."""


class LiveQuery(msgspec.Struct, frozen=True):
    """What somebody looks at."""

    search: str = ""
    """Part of a name or of an address; empty for all."""
    page: int = 0
    """From 0."""

    @property
    def wanted(self) -> str:
        """What to look for in `LiveSession.key`."""
        return self.search.strip()[:SEARCH_MOST].casefold()

    @property
    def end(self) -> int:
        """How many sessions the page and those before it hold."""
        return (min(max(self.page, 0), PAGES_MOST - 1) + 1) * PAGE_SIZE


class LiveSession(msgspec.Struct, frozen=True):
    """A session that a connection holds."""

    key: str
    """Name and address as a search compares them."""
    id: str
    """As `antiphon sessions list` shows it."""
    name: str
    """Empty where the access needs none."""
    account: int
    """Id of the account; not above 0 where there is none."""
    address: str
    opened_at: datetime
    pid: int
    """Of the process where it goes on."""
    relayed: bool
    """Whether another process has the socket."""
    messages: int
    messages_per_s: float | None
    """Since the last look; None if this is the first one."""
    handler_s: float | None
    """Mean time of the service for a message since the last look; None if there was none."""


class ClosedSession(msgspec.Struct, frozen=True):
    """The end of a session's connection. Where it was lost the session may go on over another one."""

    closed_at: datetime
    name: str
    address: str
    opened_at: datetime
    """When the session was opened."""
    reason: str
    cause: str
    """As those of `session.closings.Closing`."""


class Live(msgspec.Struct, frozen=True):
    """What a process, or a server, answers to a `LiveQuery`."""

    count: int
    """Sessions that connections hold."""
    found: int
    """Of them, those that the search finds."""
    sessions: list[LiveSession]
    """Of the page; of a process all up to its end, since the others have some of them."""
    talkers: list[LiveSession]
    """Those that have said most since the last look, the first one most."""
    closed: list[ClosedSession]
    """Those that have closed last, the newest first."""
    silent: list[int] = []
    """Processes that have not answered in time: what they hold is missing."""


def merged(
    parts: Iterable[Live], query: LiveQuery, silent: list[int], closed: Iterable[ClosedSession] = ()
) -> Live:
    """Return the page of a whole server; `closed` are those of processes that have ended."""
    parts = list(parts)
    sessions = heapq.nsmallest(query.end, (each for part in parts for each in part.sessions), key=place_of)
    return Live(
        count=sum(part.count for part in parts),
        found=sum(part.found for part in parts),
        sessions=sessions[query.end - PAGE_SIZE :],
        talkers=most_talkative(each for part in parts for each in part.talkers),
        closed=heapq.nlargest(
            CLOSED_MOST,
            [*(each for part in parts for each in part.closed), *closed],
            key=lambda each: each.closed_at,
        ),
        silent=silent,
    )


def place_of(session: LiveSession) -> tuple[str, str]:
    """Return what sessions are ordered by: the name, then the address, then the id."""
    return session.key, session.id


def most_talkative(sessions: Iterable[LiveSession]) -> list[LiveSession]:
    """Return those that have said most, the first one most; none that has said nothing."""
    talking = (each for each in sessions if each.messages_per_s)
    return heapq.nlargest(TALKERS_MOST, talking, key=lambda each: each.messages_per_s or 0)
