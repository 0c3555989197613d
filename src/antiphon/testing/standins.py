"""What stands in a server in memory for its log and its store: a list of what went wrong, and two of who came.

Only what somebody who gives a name and leaves again asks of them is here.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from antiphon.errors import AntiphonError, ServiceFailed
from antiphon.identity.names import Name, prepare
from antiphon.identity.tokens import TOKEN_SIZE, Token
from antiphon.observe.log import ServerLog
from antiphon.server.session.manager import Holder, Session, SessionManager
from antiphon.store.contracts import Client


@dataclass(eq=False)
class _Failure:
    address: str
    """of the session that it happened in"""
    error: BaseException
    told: AntiphonError | None = None
    """what the client was told instead"""

    @property
    def seen(self) -> bool:
        """Whether what was told has been raised to anybody: only then does it have a traceback."""
        return self.told is not None and self.told.__traceback__ is not None


class Failures(ServerLog):
    """A log that keeps what a service raises, and nothing else."""

    def __init__(self) -> None:
        """Begin with none; nothing is opened."""
        self.debug_on = False
        self._failures: list[_Failure] = []

    def info(self, event: str, /, **fields: object) -> None:
        """Drop it."""

    def warning(self, event: str, /, **fields: object) -> None:
        """Drop it."""

    def error(self, event: str, /, **fields: object) -> None:
        """Keep what the service raised, and the answer that was too large."""
        error = fields.get("exception")
        if event == "answer-too-large":
            error = ValueError(f"an answer of {fields['size']} bytes is more than message_limit lets through")
        if isinstance(error, BaseException):
            self._failures.append(_Failure(str(fields.get("address")), error))

    def exception(self, event: str, /, **fields: object) -> None:
        """Keep what is being handled."""
        self.error(event, **fields | {"exception": sys.exception()})

    def explain(self, address: str, told: AntiphonError | None) -> None:
        """Put what the service raised behind the `service-failed` that a client at `address` was told.

        Both come in the same order.
        """
        if isinstance(told, ServiceFailed):
            untold = (each for each in self._failures if each.address == address and each.told is None)
            failure = next(untold, None)
            if failure is not None:
                failure.told, told.__cause__ = told, failure.error

    def unseen(self) -> list[BaseException]:
        """Return what was raised and has come out nowhere."""
        return [failure.error for failure in self._failures if not failure.seen]


class Visits:
    """Names that have been given, as `store.contracts.Clients` keeps them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._clients: dict[str, Client] = {}

    async def at(self, address: str) -> list[Client]:  # noqa: ARG002 - all come from the same one
        """Return them all."""
        return list(self._clients.values())

    async def visited(self, address: str, name: Name, at: datetime, most: int) -> datetime | None:  # noqa: ARG002
        """Note a visit, and return when the last one was."""
        last = self._clients.get(name.key)
        self._clients[name.key] = Client(
            address=address, display=name.display, key=name.key, first_at=at, visited_at=at
        )
        return last.visited_at if last else None


class Sessions(SessionManager):
    """Sessions of people whom a name is enough for, each with an account's number as a password would give it."""

    def __init__(self, total: float, clock: Callable[[], datetime]) -> None:
        """Begin with none; each lasts `total` seconds."""
        self._lasts = timedelta(seconds=total)
        self._now = clock
        self._numbers: dict[str, int] = {}

    async def open_unproved(self, name: str, host: str, holder: Holder) -> tuple[Session, Token]:  # noqa: ARG002
        """Open a session of the account with this name."""
        token = Token(os.urandom(TOKEN_SIZE))
        now = self._now()
        number = self._numbers.setdefault(prepare(name).key, len(self._numbers) + 1)
        session = Session(
            fingerprint=bytes(token),
            account_id=number,
            name=name,
            opened_at=now,
            expires_at=now + self._lasts,
            holder=holder,
            position=0,
            must_change=False,
            has_snapshot=False,
        )
        return session, token

    async def release(self, session: Session) -> None:
        """Do nothing: no link comes back."""

    async def end(self, session: Session) -> bool:  # noqa: ARG002
        """Do nothing: nobody else has it."""
        return True


class NoSnapshots:
    """Saves nothing: no other server goes on."""

    async def save(self, snapshots: Mapping[bytes, bytes]) -> None:
        """Do nothing."""

    async def take(self, fingerprint: bytes) -> bytes | None:  # noqa: ARG002 - as the contract has it
        """Return that there is none."""
        return None


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)
