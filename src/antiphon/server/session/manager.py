"""Session manager: opens, resumes and ends the sessions of this server, each held by at most one connection.

The store keeps the records; the manager knows which connection holds which session. It keeps no token: the store
gets a keyed hash, and the connection compares each message with the token that it was given.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta

from antiphon.errors import SessionEnded, SessionsFull, SignInRefused, TryLater
from antiphon.identity.names import prepare
from antiphon.identity.tokens import TOKEN_SIZE, Token, fingerprint
from antiphon.server.home.contract import Homes
from antiphon.server.listen.limits import number_of_source
from antiphon.server.peer import Peer
from antiphon.server.session.holder import Holder, Session, check_newer
from antiphon.server.session.leftovers import Leftovers
from antiphon.server.session.locks import SessionLocks
from antiphon.settings import Access
from antiphon.store.contracts import (
    Account,
    Accounts,
    Claim,
    Marks,
    ProcessRecord,
    Revocation,
    RevocationLog,
    SessionRecord,
    Sessions,
    Visit,
)

FIRST_CLAIM = 1
"""Number of the claim of the process in which a session is opened."""
ELSEWHERE = "elsewhere"
"""Reason of the revocation of a session that its person has ended from another one."""
HELD_EVERY = 60.0
"""Seconds between two notes in the store that a session is held: after a crash it counts as left this long ago."""
SESSIONS_MOST = 10
"""Sessions of one account; one more ends one that nobody holds, so that forgotten sessions do not pile up."""
CLIENT_SESSIONS_MOST = 1000
"""Sessions of one source (IPv4 address, IPv6 /64) without accounts: a large class can be behind one address."""
READS_MOST = 3
"""Tries to take up a session that others change meanwhile."""


class SessionManager:
    """The sessions whose home is this process. Resuming and ending one exclude each other."""

    leaving = False
    """The server stops: it becomes the home of no more sessions. Set from outside."""

    def __init__(
        self,
        store: Sessions,
        revocations: RevocationLog,
        accounts: Accounts,
        token_key: bytes,
        homes: Homes,
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
            homes: this process and the others.
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
        self._locks = SessionLocks()
        self.leftovers = Leftovers(store, homes.id)
        self._begun: dict[bytes, int] = {}
        """Epochs that sessions here have begun by a new password, where their records may not show it yet."""
        self._homes = homes
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
            owner=holder.peer.relayed_by or self._homes.id,
            address=holder.peer.address,
            home=self._homes.id,
            claim=FIRST_CLAIM,
        )
        try:
            opened = await self._store.open(record, most, proved, replace=replace)
        except BaseException:
            self.leftovers.add(record.fingerprint, FIRST_CLAIM)
            raise
        if opened is None:
            raise SessionsFull(most=most)
        session = self._hold(record, holder, Claim(FIRST_CLAIM, opened.position), must_change=must_change)
        return session, token, opened.refusals

    @asynccontextmanager
    async def _confirming(self, session: Session) -> AsyncIterator[None]:
        """Run a block that looks at what may end a session just opened, then check that it is still held."""
        try:
            yield
            current = await self._still_held(session)
        except BaseException as error:
            self._let_go(session)
            await self.leftovers.leave(session.fingerprint, session.claim, error)
            raise
        if not current:
            self._let_go(session)
            raise SignInRefused

    # --- resuming, releasing, ending --------------------------------------------------------------------------

    def mark_of(self, token: Token) -> bytes:
        """Return the fingerprint of a token."""
        return fingerprint(token, self._token_key)

    async def resume(self, token: Token, holder: Holder) -> Session | ProcessRecord | None:
        """Give the session of `token` to another connection; a connection that still holds it loses it.

        Returns:
            The session; or the process that is its home, if that is another one and lives; or None if it has no
            home and cannot have it here: this process stops, or another one relays the connection.

        Raises:
            SessionEnded: it was left, revoked or expired, or never was.
            TryLater: the store does not answer, or others change it again and again.
        """
        mark = self.mark_of(token)
        async with self._locks.one(mark):
            for _ in range(READS_MOST):
                now = self._clock()
                record = await self._store.find(mark)
                if record is None or now >= record.expires_at or not self._satisfied_by(record):
                    raise SessionEnded
                home = None
                if record.home not in (None, self._homes.id):
                    home = await self._homes.find(record.home)
                    if home is not None and record.owner is not None:
                        return home
                if now >= record.seen_at + self._unheld and mark not in self._held:
                    raise SessionEnded
                elsewhere = record.home != self._homes.id and (self.leaving or holder.peer.relayed_by is not None)
                if home is not None or elsewhere:
                    return home
                must_change = await self._due(record)
                if must_change is None:
                    raise SessionEnded
                if mark in self._held:
                    check_newer(holder, self._held[mark].holder)
                claim = await self._take_up(record, holder.peer, now)
                if claim is None:
                    continue
                held = self._held.get(mark)
                if held is not None:
                    check_newer(holder, held.holder)
                    held.holder.lose("replaced")
                session = self._hold(record, holder, claim, must_change=must_change)
                if not await self._still_held(session):
                    self._let_go(session)
                    raise SessionEnded
                return session
            raise TryLater(wait=1)

    async def _take_up(self, record: SessionRecord, peer: Peer, now: datetime) -> Claim | None:
        """Note that a connection holds a session, whose home is this process from now on; None: read it again."""
        mark, here = record.fingerprint, self._homes.id
        owner = peer.relayed_by or here
        if record.home != here:
            return await self._store.claim(mark, record.claim, here, peer.address, now)
        return await self._store.hold(mark, here, record.claim, owner=owner, address=peer.address, at=now)

    async def release(self, session: Session) -> None:
        """Note that the connection of a session is gone; it can be resumed for a while."""
        if self._held.get(session.fingerprint) is session:
            del self._held[session.fingerprint]
            await self._store.released(session.fingerprint, self._homes.id, session.claim, self._clock())

    async def hand_on(self, session: Session, snapshot: bytes | None) -> None:
        """Give a session up that no connection holds: whoever resumes it becomes its home, from `snapshot` on."""
        await self._store.hand_on(session.fingerprint, self._homes.id, session.claim, snapshot, self._clock())

    async def drop_snapshot(self, session: Session) -> None:
        """Forget the snapshot of a session that goes on here."""
        await self._store.drop_snapshot(session.fingerprint, self._homes.id, session.claim)

    async def is_home_of(self, session: Session) -> bool:
        """Return whether this process is still the home of a session."""
        record = await self._store.find(session.fingerprint)
        return record is not None and (record.home, record.claim) == (self._homes.id, session.claim)

    async def claims(self) -> dict[bytes, int]:
        """Return the claims of all sessions whose home is this process, by their fingerprints."""
        return await self._store.homed(self._homes.id)

    async def end(self, session: Session) -> bool:
        """End a session for good: its token is refused from now on.

        Returns:
            False if another connection holds it by now; then it goes on.
        """
        async with self._locks.one(session.fingerprint):
            if self._held.get(session.fingerprint, session) is not session:
                return False
            await self._store.end(session.fingerprint, self._homes.id, session.claim)
            self._held.pop(session.fingerprint, None)
            return True

    def changing_password(self) -> AbstractAsyncContextManager[None]:
        """Let no session be resumed here in the block, which ends with `begin_epoch`."""
        return self._locks.all()

    async def end_others(self, session: Session) -> int:
        """End all other sessions of the account, on every server, as its person asks; return how many there were.

        Raises:
            SessionEnded: this one is over, or another process has it; then no other has ended.
        """
        mark, claim = session.fingerprint, session.claim
        ended = await self._store.end_others(mark, self._homes.id, claim, ELSEWHERE, self._clock())
        if ended is None:
            raise SessionEnded
        return ended

    async def begin_epoch(self, session: Session, epoch: int, reason: str) -> int:
        """End all other sessions of the account, on every server; return how many there were.

        This one goes on in the `epoch` that has just begun, here also if the store does not answer.
        """
        self._begun[session.fingerprint] = epoch
        ended = await self._store.revoke_others(
            session.account_id, session.fingerprint, epoch, reason, self._clock()
        )
        self._begun.pop(session.fingerprint, None)
        return ended

    # --- upkeep -----------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """How many sessions connections hold here."""
        return len(self._held)

    async def note_held(self) -> None:
        """Note in the store that the sessions held here are in use, and delete what has expired there."""
        now = self._clock()
        if self._held:
            marks = [(session.fingerprint, session.claim) for session in self._held.values()]
            await self._store.held(marks, self._homes.id, now)
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
            if entry.owner is None:
                session.holder.lose("revoked", entry.reason)
            else:
                session.holder.lose("replaced")
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
        epoch = self._begun.get(record.fingerprint, record.epoch)
        if account is None or (account.id, account.epoch) != (record.account_id, epoch):
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
            if record is None or (record.home, record.claim) != (self._homes.id, session.claim):
                return False
        return self._held.get(session.fingerprint) is session
