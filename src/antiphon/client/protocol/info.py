"""Session info: who is signed in, from the WELCOME that opened the session."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from antiphon.errors import ProtocolError
from antiphon.wire.bodies import Lifetimes, Welcome


@dataclass(frozen=True, kw_only=True)
class SessionInfo:
    """Who is signed in, and what the server said about that."""

    name: str
    """The account's name, as the server spells it."""
    first: bool
    """Whether this is the first visit."""
    last_visit: datetime | None
    """Time of the last visit, in UTC; None at the first."""
    last_address: str | None
    """The IP address of the last visit; None at the first."""
    refusals: int
    """Sign-ins under this name that were refused since the last visit."""
    lifetimes: Lifetimes
    """Seconds that the session lives: `unheld` (without a connection) and in `total`."""
    must_change: bool
    """Whether a new password must be chosen first."""
    greeting: str
    """For the person, in the language asked for, as the server sent it: escape it before you print it."""

    @classmethod
    def of(cls, welcome: Welcome) -> Self:
        """Return what `welcome` says.

        Raises:
            ProtocolError: its last visit is not a time.
        """
        try:
            last_visit = None if welcome.last_visit is None else datetime.fromisoformat(welcome.last_visit)
        except ValueError:
            raise ProtocolError(problem="the last visit in WELCOME is not a time") from None
        return cls(
            name=welcome.name,
            first=welcome.first,
            last_visit=last_visit,
            last_address=welcome.last_address,
            refusals=welcome.refusals,
            lifetimes=welcome.lifetimes,
            must_change=welcome.must_change,
            greeting=welcome.greeting,
        )
