"""Page sessions: who is signed in to the status page. They are kept in memory: a restart ends them all."""

import asyncio
import hmac
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from antiphon.store.contracts import Account

IDLE_SECONDS = 30 * 60.0
"""A session ends so long after the last request of its person (promise 16 has the same time)."""
TOTAL_SECONDS = 12 * 3600.0
"""A session ends so long after its sign-in: one working day."""
SESSIONS_MOST = 64
"""Sessions at once; beyond that, the one that was used least recently ends."""
PER_ACCOUNT = 8
"""Sessions of one account at once; likewise."""
SECRET_SIZE = 32
"""Random bytes of a cookie and of a CSRF token."""


@dataclass(eq=False, kw_only=True)
class Administrator:
    """Somebody who is signed in to the page."""

    name: str
    """display name of the account"""
    csrf: str = field(repr=False)
    """what every POST of this session must send in the header `X-Antiphon-CSRF`"""
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """set once the session is over, for whatever reason: a stream that is open ends then"""
    account: Account = field(repr=False)
    began_at: float
    used_at: float


class PageSessions:
    """The sessions of one page. Only hashes of their cookies are kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with none; `clock` is monotonic."""
        self._clock = clock
        self._sessions: dict[bytes, Administrator] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._sessions)

    def __iter__(self) -> Iterator[Administrator]:
        """Iterate over a copy, so that sessions may end meanwhile."""
        return iter(list(self._sessions.values()))

    def open(self, account: Account) -> tuple[str, Administrator]:
        """Open a session for an account; return the value of its cookie too, which nobody keeps here."""
        self.expire()
        while sum(each.account.id == account.id for each in self) >= PER_ACCOUNT:
            self._end_one(account.id)
        while len(self._sessions) >= SESSIONS_MOST:
            self._end_one(None)
        cookie, now = secrets.token_urlsafe(SECRET_SIZE), self._clock()
        administrator = Administrator(
            name=account.display,
            csrf=secrets.token_urlsafe(SECRET_SIZE),
            account=account,
            began_at=now,
            used_at=now,
        )
        self._sessions[_hash(cookie)] = administrator
        return cookie, administrator

    def find(self, cookie: str, *, touch: bool = True) -> Administrator | None:
        """Return whose session a cookie opens, None if it opens none. With `touch` the idle time begins anew."""
        # What is looked up is a hash: the time that this takes tells nothing of the cookies that there are.
        administrator = self._sessions.get(_hash(cookie))
        if administrator is None:
            return None
        if self._is_over(administrator):
            self.end(administrator)
            return None
        if touch:
            administrator.used_at = self._clock()
        return administrator

    def end(self, administrator: Administrator) -> None:
        """End a session; one that is over is no error."""
        administrator.ended.set()
        self._sessions = {mark: each for mark, each in self._sessions.items() if each is not administrator}

    def expire(self) -> None:
        """End the sessions whose time is over."""
        for each in self:
            if self._is_over(each):
                self.end(each)

    def _is_over(self, administrator: Administrator) -> bool:
        now = self._clock()
        return now - administrator.used_at >= IDLE_SECONDS or now - administrator.began_at >= TOTAL_SECONDS

    def _end_one(self, account_id: int | None) -> None:
        """End the session that was used least recently, of one account or of all."""
        self.end(
            min((each for each in self if account_id in (None, each.account.id)), key=lambda one: one.used_at)
        )


def is_token(given: str, administrator: Administrator) -> bool:
    """Return whether `given` is the CSRF token of a session, compared in constant time."""
    return hmac.compare_digest(given.encode(), administrator.csrf.encode())


def _hash(cookie: str) -> bytes:
    return sha256(cookie.encode("utf-8", "surrogatepass")).digest()
