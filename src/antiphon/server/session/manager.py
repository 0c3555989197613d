"""Session manager: opens, resumes and ends the sessions of this server, each held by at most one connection.

The store keeps the records; the manager knows which connection holds which session. It keeps no token: the store
gets a keyed hash, and the connection compares each message with the token that it was given.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Container
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from antiphon.errors import AntiphonError, SessionEnded, SessionsFull, SignInRefused, TryLater
from antiphon.identity.names import prepare
from antiphon.identity.tokens import TOKEN_SIZE, Token, fingerprint
from antiphon.server.listen.limits import number_of_source
from antiphon.server.peer import Peer
from antiphon.settings import Access
from antiphon.store.contracts import (
    TOO_MANY,
    Account,
    Accounts,
    Claim,
    Marks,
    Revocation,
    RevocationLog,
    SessionRecord,
    Sessions,
    Visit,
)

HELD_EVERY = 60.0
"""Seconds between two notes in the store that a session is held: after a crash it counts as left this long ago."""
SESSIONS_MOST = 10
"""Sessions of one account; one more ends one that nobody holds, so that forgotten sessions do not pile up."""
CLAIMS_TRIED = 3
"""How often a RESUME reads a session again that another server takes at that moment."""
CLIENT_SESSIONS_MOST = 1000
"""Sessions of one source (IPv4 address, IPv6 /64) without accounts: a large class can be behind one address."""


class Holder(Protocol):
    """The connection that holds a session."""

    peer: Peer

    def lose(self, reason: str) -> None:
        """Say goodbye for `reason` and close: the connection no longer holds the session."""


@dataclass(eq=False, slots=True)
class Session:
    """A session that a connection of this server holds, from its sign-in or resume on."""

    fingerprint: bytes
    account_id: int
    name: str | None
    opened_at: datetime
    expires_at: datetime
    holder: Holder
    position: int
    """Number of the newest revocation when the connection took it: only later ones concern it."""
    must_change: bool
    """Whether a new password must be chosen before anything else."""
    claim: int
    """Number of the claim by which this server is its home."""
    snapshot: bytes | None
    """What the home before saved of its channel, until it is restored."""


class SessionManager:
    """The sessions that connections of this server hold. Resuming and ending exclude each other."""

    def __init__(
        self,
        store: Sessions,
        revocations: RevocationLog,
        accounts: Accounts,
        token_key: bytes,
        *,
        unheld: timedelta,
        total: timedelta,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
        access: Access = "authenticate",
    ) -> None:
        """Keep sessions in `store`, which other servers may use too.

        Args:
            store: the records.
            revocations: what ends sessions from outside; `apply` does it here.
            accounts: the accounts of the sessions.
            token_key: the key of the fingerprints.
            unheld: how long a session lives without a connection.
            total: how long a session lives in all.
            clock: wall time in UTC.
            random: returns random bytes, for tokens.
            access: what sign-ins ask for; sessions that were opened with less cannot be resumed here.
        """
        self._store = store
        self._revocations = revocations
        self._accounts = accounts
        self._token_key = token_key
        self._unheld = unheld
        self._total = total
        self._clock = clock
        self._random = random
        self._access = access
        self._held: dict[bytes, Session] = {}
        self._lock = asyncio.Lock()
        self.process = self._owner = random(8).hex()
        """The name of this server in the store."""
        self.applied = 0
        """Number of the newest revocation that was applied here."""

    # --- opening ----------------------------------------------------------------------------------------------

    async def open(
        self, account: Account, holder: Holder, host: str, proved: Marks, *, replace: bool = False
    ) -> tuple[Session, Token, Visit | None]:
        """Open a session for an account that has just signed in from `host`, with a fresh token of 128 bits.

        The failures counted under the marks `proved` are forgiven. Returns the visit before this one, too.

        Raises:
            SessionsFull: connections hold all sessions that the account may have, and none may be ended for it:
                `replace` is not set.
            SignInRefused: the account was disabled, or given another password, while it signed in.
        """
        session, token, refusals = await self._open(
            account.id,
            account.display,
            account.epoch,
            SESSIONS_MOST,
            holder,
            must_change=account.must_change,
            proved=proved,
            replace=replace,
        )
        # The epoch is compared after the opening. Whoever ends the sessions of an account begins an epoch first,
        # so one of the two sees the other.
        async with self._confirming(session):
            visit = await self._accounts.visited(account, self._clock(), host)
        return session, token, visit and dataclasses.replace(visit, refusals=visit.refusals + refusals)

    async def open_unproved(
        self, name: str, host: str, holder: Holder, *, replace: bool = False
    ) -> tuple[Session, Token]:
        """Open a session for a client at the IP address `host`, with a name or, where it is empty, without one.

        Raises:
            SessionsFull: as `open`, for the source of `host`.
        """
        session, token, _ = await self._open(
            number_of_source(host), name, 0, CLIENT_SESSIONS_MOST, holder, replace=replace
        )
        async with self._confirming(session):
            return session, token

    async def _open(
        self,
        account_id: int,
        name: str,
        epoch: int,
        most: int,
        holder: Holder,
        *,
        must_change: bool = False,
        proved: Marks | None = None,
        replace: bool,
    ) -> tuple[Session, Token, int]:
        token = Token(self._random(TOKEN_SIZE))
        now = self._clock()
        record = SessionRecord(
            fingerprint=fingerprint(token, self._token_key),
            account_id=account_id,
            name=name,
            epoch=epoch,
            opened_at=now,
            expires_at=now + self._total,
            seen_at=now,
            owner=self._owner,
            address=holder.peer.address,
            home=self._owner,
            claim=1,
        )
        opened = await self._store.open(record, most, proved, replace=replace)
        if opened is None:
            raise SessionsFull(most=most)
        session = self._hold(record, holder, Claim(record.claim, opened.position), must_change=must_change)
        return session, token, opened.refusals

    @contextlib.asynccontextmanager
    async def _confirming(self, session: Session) -> AsyncIterator[None]:
        """Run a block that looks at what may end a session just opened, then check that it is still held."""
        try:
            yield
            current = await self._still_held(session)
        except BaseException:
            self._let_go(session)
            with contextlib.suppress(AntiphonError):  # nobody has its token: left in the store, it expires
                await self._store.end(session.fingerprint, self._owner, session.claim)
            raise
        if not current:
            self._let_go(session)
            raise SignInRefused

    # --- resuming, releasing, ending --------------------------------------------------------------------------

    async def resume(self, token: Token, holder: Holder, channels: Container[bytes] = ()) -> Session:
        """Give the session of `token` to another connection; a connection that still holds it loses it.

        `channels` holds the fingerprints of the sessions whose channels are here.

        Raises:
            SessionEnded: it was left, revoked or expired, or never was.
            TryLater: others take it all the time.
        """
        mark = fingerprint(token, self._token_key)
        async with self._lock:
            for _ in range(CLAIMS_TRIED):
                now = self._clock()
                record = await self._store.find(mark)
                held = self._held.get(mark)
                if record is None or now >= record.expires_at or not self._satisfied_by(record):
                    raise SessionEnded
                if held is None and now >= record.seen_at + self._unheld:
                    raise SessionEnded
                must_change = await self._due(record)
                if must_change is None:
                    raise SessionEnded
                claim = await self._take(record, holder, now, here=mark in channels)
                if claim is not None:
                    break
            else:
                raise TryLater
            held = self._held.get(mark)
            if held is not None:
                held.holder.lose("replaced")
            session = self._hold(record, holder, claim, must_change=must_change)
            if not await self._still_held(session):
                self._let_go(session)
                raise SessionEnded
            return session

    async def _take(self, record: SessionRecord, holder: Holder, now: datetime, *, here: bool) -> Claim | None:
        """Note in the store that a connection of this server holds a session, whose channel may be `here`."""
        mark, address = record.fingerprint, holder.peer.address
        if not (here and record.home == self._owner):
            return await self._store.claim(mark, record.claim, self._owner, address, now)
        position = await self._store.hold(
            mark, self._owner, record.claim, owner=self._owner, address=address, at=now
        )
        return None if position is None else Claim(record.claim, position)

    async def drop_snapshot(self, session: Session) -> None:
        """Delete the snapshot of a session in the store, before the first message is handled.

        Raises:
            SessionEnded: the session is over, or has been resumed again meanwhile.
        """
        if not await self._store.drop_snapshot(session.fingerprint, self._owner, session.claim):
            raise SessionEnded

    async def hand_on(self, session: Session, snapshot: bytes | None) -> None:
        """Save the snapshot of a session in the store, for the server that resumes it next."""
        await self._store.hand_on(session.fingerprint, self._owner, session.claim, snapshot, self._clock())

    async def release(self, session: Session) -> None:
        """Note that the connection of a session is gone; it can be resumed for a while."""
        if self._held.get(session.fingerprint) is session:
            del self._held[session.fingerprint]
            await self._store.released(session.fingerprint, self._owner, session.claim, self._clock())

    async def end(self, session: Session) -> bool:
        """End a session for good: its token is refused from now on.

        Returns:
            False if another connection holds it by now; then it goes on.
        """
        async with self._lock:
            if self._held.get(session.fingerprint, session) is not session:
                return False
            await self._store.end(session.fingerprint, self._owner, session.claim)
            self._held.pop(session.fingerprint, None)
            return True

    async def end_others(self, session: Session, epoch: int, reason: str) -> int:
        """End all other sessions of the account, on every server; return how many there were.

        This one goes on in the `epoch` that has just begun.
        """
        return await self._store.revoke_others(
            session.account_id, session.fingerprint, epoch, reason, self._clock()
        )

    # --- upkeep -----------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """How many sessions connections hold here."""
        return len(self._held)

    async def note_held(self) -> None:
        """Note in the store that the sessions held here are in use, and delete what has expired there."""
        now = self._clock()
        if self._held:
            marks = [(mark, session.claim) for mark, session in self._held.items()]
            await self._store.held(marks, self._owner, now)
        await self._store.forget(now, now - self._unheld)
        await self._revocations.trim(now)

    def expire(self) -> None:
        """End the sessions whose time is over; the store refuses their records by date."""
        now = self._clock()
        for session in [session for session in self._held.values() if now >= session.expires_at]:
            del self._held[session.fingerprint]
            session.holder.lose("expired")

    async def begin(self) -> None:
        """Start at the end of the revocation log, since nothing is held yet."""
        self.applied = await self._revocations.position()

    async def new_revocations(self) -> list[Revocation]:
        """Return the entries of the revocation log that were not applied here yet, in order."""
        return await self._revocations.entries(self.applied)

    def apply(self, entry: Revocation) -> list[Session]:
        """Take the sessions that a revocation ends from their connections here, and return them.

        A session that another server has taken over (`entry.owner`) is taken too, and not returned.
        """
        self.applied = entry.id
        revoked = self._concerned(entry)
        for session in revoked:
            self._let_go(session)
            if entry.owner is not None:
                session.holder.lose("replaced")
            elif entry.reason == TOO_MANY:
                session.holder.lose("displaced")
            else:
                session.holder.lose("revoked")
        return revoked if entry.owner is None else []

    # --- helpers ----------------------------------------------------------------------------------------------

    def _satisfied_by(self, record: SessionRecord) -> bool:
        """Return whether a session was opened with enough proof: servers of one store may differ in access."""
        if self._access == "authenticate":
            return record.account_id > 0
        return self._access == "anyone" or bool(record.name)

    async def _due(self, record: SessionRecord) -> bool | None:
        """Return whether the account of a session must change its password; None if the session is over."""
        if record.account_id <= 0:  # no account
            return False
        account = await self._accounts.find(prepare(record.name).key)  # renaming begins an epoch too
        if account is None or (account.id, account.epoch) != (record.account_id, record.epoch):
            return None
        return account.must_change

    def _concerned(self, entry: Revocation) -> list[Session]:
        """Return the sessions held here that a revocation ends."""
        if entry.fingerprint is not None:
            sought = [held] if (held := self._held.get(entry.fingerprint)) else []
        else:
            sought = [held for held in self._held.values() if held.account_id == entry.account_id]
        return [session for session in sought if session.position < entry.id]

    def _hold(self, record: SessionRecord, holder: Holder, claim: Claim, *, must_change: bool) -> Session:
        session = Session(
            record.fingerprint,
            record.account_id,
            record.name or None,
            record.opened_at,
            record.expires_at,
            holder,
            claim.position,
            must_change,
            claim.number,
            claim.snapshot,
        )
        self._held[record.fingerprint] = session
        return session

    def _let_go(self, session: Session) -> None:
        if self._held.get(session.fingerprint) is session:
            del self._held[session.fingerprint]

    async def _still_held(self, session: Session) -> bool:
        """Return whether a session just taken is still ours: a revocation may have been applied before `_hold`."""
        if self.applied > session.position:
            record = await self._store.find(session.fingerprint)
            if record is None or (record.home, record.claim) != (self._owner, session.claim):
                return False
        return self._held.get(session.fingerprint) is session
