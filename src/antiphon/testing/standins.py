"""Stand-ins for the log and the stores of a server in memory (`testing.service`).

They implement only what a client needs that signs in by name and leaves again.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from antiphon.errors import AntiphonError, ServiceFailed
from antiphon.identity.names import Name, prepare
from antiphon.identity.tokens import TOKEN_SIZE, Token
from antiphon.observe.log import ServerLog
from antiphon.server.session.holder import Holder, Session
from antiphon.server.session.manager import SessionManager
from antiphon.store.contracts import Client


@dataclass(eq=False)
class _Failure:
    address: str
    """Address of the session in which it happened."""
    error: BaseException
    told: AntiphonError | None = None
    """The error that the client received for it."""

    @property
    def seen(self) -> bool:
        """Whether the client's error was raised in a test: only then does it have a traceback."""
        return self.told is not None and self.told.__traceback__ is not None


class Failures(ServerLog):
    """A log that keeps the exceptions of a service and drops everything else."""

    def __init__(self) -> None:
        """Start empty; no file is opened."""
        self.debug_on = False
        self._failures: list[_Failure] = []

    def info(self, event: str, /, **fields: object) -> None:
        """Drop the record."""

    def warning(self, event: str, /, **fields: object) -> None:
        """Drop the record."""

    def error(self, event: str, /, **fields: object) -> None:
        """Keep an exception of the service, and an answer that was too large as a `ValueError`."""
        error = fields.get("exception")
        if event == "answer-too-large":
            error = ValueError(f"an answer of {fields['size']} bytes is more than message_limit lets through")
        if event == "service-too-slow" and "hook" in fields:
            error = TimeoutError(f"“{fields['hook']}” took too long")
        if isinstance(error, BaseException):
            self._failures.append(_Failure(str(fields.get("address")), error))

    def exception(self, event: str, /, **fields: object) -> None:
        """Keep the exception being handled."""
        self.error(event, **fields | {"exception": sys.exception()})

    def explain(self, address: str, told: AntiphonError | None) -> None:
        """Set the service's exception as the cause of `told`, a `ServiceFailed` that a client received.

        Exceptions and errors of one `address` come in the same order.
        """
        if isinstance(told, ServiceFailed):
            untold = (each for each in self._failures if each.address == address and each.told is None)
            failure = next(untold, None)
            if failure is not None:
                failure.told, told.__cause__ = told, failure.error

    def unseen(self) -> list[BaseException]:
        """Return the exceptions that no client's call has raised."""
        return [failure.error for failure in self._failures if not failure.seen]


class Visits:
    """Names that clients have given, with the interface of `store.contracts.Clients`."""

    def __init__(self) -> None:
        """Start empty."""
        self._clients: dict[str, Client] = {}

    async def at(self, address: str) -> list[Client]:  # noqa: ARG002 - all come from the same one
        """Return all clients."""
        return list(self._clients.values())

    async def visited(self, address: str, name: Name, at: datetime, most: int) -> datetime | None:  # noqa: ARG002
        """Record a visit; return the time of the one before, None for the first."""
        last = self._clients.get(name.key)
        self._clients[name.key] = Client(
            address=address, display=name.display, key=name.key, first_at=at, visited_at=at
        )
        return last.visited_at if last else None


class Sessions(SessionManager):
    """Sessions of clients that sign in by name only. As after a password, each name has an account number."""

    def __init__(self, total: float, clock: Callable[[], datetime]) -> None:
        """Start empty; each session lasts `total` seconds of the event loop's time."""
        self._seconds = total
        self._now = clock
        self._numbers: dict[str, int] = {}
        self._expiries: dict[bytes, asyncio.TimerHandle] = {}

    async def open_unproved(
        self,
        name: str,
        host: str,  # noqa: ARG002
        holder: Holder,
        *,
        replace: bool = False,  # noqa: ARG002
    ) -> tuple[Session, Token]:
        """Open a session for the account of this name."""
        token = Token(os.urandom(TOKEN_SIZE))
        now = self._now()
        number = self._numbers.setdefault(prepare(name).key, len(self._numbers) + 1)
        session = Session(
            fingerprint=bytes(token),
            account_id=number,
            name=name,
            opened_at=now,
            expires_at=now + timedelta(seconds=self._seconds),
            holder=holder,
            position=0,
            must_change=False,
            claim=1,
        )
        loop = asyncio.get_running_loop()
        self._expiries[session.fingerprint] = loop.call_later(self._seconds, holder.lose, "expired")
        return session, token

    def stop(self) -> None:
        """Let no session expire any more."""
        while self._expiries:
            self._expiries.popitem()[1].cancel()

    def _over(self, session: Session) -> None:
        if expiry := self._expiries.pop(session.fingerprint, None):
            expiry.cancel()

    async def release(self, session: Session) -> None:
        """Forget the session: no client resumes one here."""
        self._over(session)

    async def hand_on(self, session: Session, snapshot: bytes | None) -> None:
        """Do nothing: no other process knows the session."""

    async def end(self, session: Session) -> bool:
        """Forget the session."""
        self._over(session)
        return True


class LoopClock:
    """Wall time in UTC that goes on as the time of the running event loop does, be it virtual."""

    def __init__(self) -> None:
        """Start now."""
        self._loop = asyncio.get_running_loop()
        self._began = datetime.now(UTC) - timedelta(seconds=self._loop.time())

    def __call__(self) -> datetime:
        """Return the time."""
        return self._began + timedelta(seconds=self._loop.time())
