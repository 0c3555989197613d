"""The sessions of this server: opened by a sign-in, held by at most one connection, ended for good.

The store keeps them; this keeps who holds which. Tokens pass through and are kept nowhere: the store gets a
keyed hash, the connection compares each message with the token that it was given.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol

from antiphon.errors import AntiphonError, SessionEnded, SignInRefused
from antiphon.identity.names import prepare
from antiphon.identity.tokens import TOKEN_SIZE, Token, fingerprint
from antiphon.server.listen.limits import source_of
from antiphon.server.peer import Peer
from antiphon.settings import Access
from antiphon.store.contracts import (
    Account,
    Accounts,
    Claim,
    Marks,
    Revocation,
    RevocationLog,
    SessionRecord,
    Sessions,
    Snapshots,
    Visit,
)

HELD_EVERY = 60.0
"""Seconds between two notes in the store that a session is held: after a crash it counts as left this long ago."""
SESSIONS_MOST = 10
"""Sessions of one account; one more ends the oldest, so that forgotten ones do not pile up."""
CLIENT_SESSIONS_MOST = 1000
"""The same of one source (IPv4 address, IPv6 /64) without accounts: a large class can be behind one address."""


class Holder(Protocol):
    """The connection that holds a session."""

    @property
    def peer(self) -> Peer:
        """The other end of the connection."""

    def lose(self, reason: str) -> None:
        """Say goodbye for `reason` and close: the session is no longer yours."""


@dataclass(eq=False)
class Session:
    """A session that a connection of this server holds."""

    fingerprint: bytes
    account_id: int
    name: str | None
    opened_at: datetime
    expires_at: datetime
    holder: Holder
    position: int
    """The newest revocation when it was taken up: only later ones concern it."""
    must_change: bool
    """Whether a new password must be chosen before anything else."""
    kept: bool
    """Whether a server that has stopped kept its dialogue in the store."""


class SessionKeeper:
    """Opens, resumes, releases and ends sessions. Resuming and ending wait for each other."""

    def __init__(
        self,
        store: Sessions,
        revocations: RevocationLog,
        snapshots: Snapshots,
        accounts: Accounts,
        token_key: bytes,
        *,
        unheld: timedelta,
        total: timedelta,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
        access: Access = "authenticate",
    ) -> None:
        """Keep sessions in `store`; they live `unheld` without a connection and `total` in all.

        Those that were opened with less than `access` asks for are not taken up here.
        Others may keep theirs in the same store: `Follower` brings what they do to `apply`.
        """
        self._store = store
        self._revocations = revocations
        self._snapshots = snapshots
        self._accounts = accounts
        self._token_key = token_key
        self._unheld = unheld
        self._total = total
        self._clock = clock
        self._random = random
        self._access = access
        self._held: dict[bytes, Session] = {}
        self._one_at_a_time = asyncio.Lock()
        self._owner = random(8).hex()
        """By this the store tells this server from others."""
        self.told: Callable[[Revocation], None] = lambda _entry: None
        """Called with each revocation, for what goes on here without a connection."""
        self.applied = 0
        """The newest revocation that has been applied here."""

    async def open(
        self, account: Account, holder: Holder, host: str, proved: Marks
    ) -> tuple[Session, Token, Visit | None]:
        """Open a session for an account that has just signed in from `host`, with a fresh token of 128 bits.

        The failures that are counted by the marks `proved` are forgiven. With it comes the visit before this one.

        Raises:
            SignInRefused: the account was disabled, or given another password, while it signed in.
        """
        session, token = await self._open(
            account.id,
            account.display,
            account.epoch,
            SESSIONS_MOST,
            holder,
            must_change=account.must_change,
            proved=proved,
        )
        # The epoch is looked at behind the opening: who ends an account's sessions begins an epoch first, so that
        # one of the two sees the other.
        async with self._confirming(session):
            visit = await self._accounts.visited(account, self._clock(), host)
        return session, token, visit

    async def open_unproved(self, name: str, host: str, holder: Holder) -> tuple[Session, Token]:
        """Open a session for a client at the IP `host`, known by `name` or, where it is empty, by nothing."""
        session, token = await self._open(_number_of(host), name, 0, CLIENT_SESSIONS_MOST, holder)
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
    ) -> tuple[Session, Token]:
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
        )
        position = await self._store.open(record, most, now - self._unheld, proved)
        return self._hold(record, holder, Claim(position, has_snapshot=False), must_change=must_change), token

    @contextlib.asynccontextmanager
    async def _confirming(self, session: Session) -> AsyncIterator[None]:
        """Look at what may end a session that has just been opened, and then whether it is still there."""
        try:
            yield
            current = await self._still_held(session)
        except BaseException:
            self._let_go(session)
            with contextlib.suppress(AntiphonError):  # nobody has its token: left there, it is over in a while
                await self._store.end(session.fingerprint, self._owner)
            raise
        if not current:
            self._let_go(session)
            raise SignInRefused

    async def resume(self, token: Token, holder: Holder) -> Session:
        """Take the session of `token` up on another connection; one that holds it still loses it.

        Raises:
            SessionEnded: it was left, revoked or expired, or never was.
        """
        mark = fingerprint(token, self._token_key)
        async with self._one_at_a_time:
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
            claim = await self._store.claim(mark, self._owner, holder.peer.address, now)
            if claim is None:
                raise SessionEnded
            held = self._held.get(mark)
            if held is not None:
                held.holder.lose("replaced")
            session = self._hold(record, holder, claim, must_change=must_change)
            if not await self._still_held(session):
                self._let_go(session)
                raise SessionEnded
            return session

    async def kept(self, session: Session) -> bytes | None:
        """Return what a server that has stopped kept of a session's dialogue; once."""
        return await self._snapshots.take(session.fingerprint) if session.kept else None

    async def keep(self, dialogues: Mapping[bytes, bytes]) -> None:
        """Keep, by the session's fingerprint, what another server needs to go on with dialogues."""
        await self._snapshots.save(dialogues)

    async def release(self, session: Session) -> None:
        """Note that the link of a session is gone; it can be resumed for a while."""
        if self._held.get(session.fingerprint) is session:
            del self._held[session.fingerprint]
            await self._store.released(session.fingerprint, self._owner, self._clock())

    async def end(self, session: Session) -> bool:
        """End a session for good: its token is refused from here on. False: another connection has taken it up."""
        async with self._one_at_a_time:
            if self._held.get(session.fingerprint, session) is not session:
                return False
            await self._store.end(session.fingerprint, self._owner)
            self._held.pop(session.fingerprint, None)
            return True

    async def end_others(self, session: Session, epoch: int, reason: str) -> int:
        """End all other sessions of the account, everywhere; this one goes on in the `epoch` that has just begun.

        Returns how many there were.
        """
        return await self._store.revoke_others(
            session.account_id, session.fingerprint, epoch, reason, self._clock()
        )

    async def note_held(self) -> None:
        """Note in the store that the sessions held here are in use, and have it forget those that are over."""
        now = self._clock()
        if self._held:
            await self._store.held(list(self._held), now)
        await self._store.forget(now)
        await self._revocations.trim(now)

    def expire(self) -> None:
        """Let go of the sessions whose time is over; their rows are refused by their date."""
        now = self._clock()
        for session in [session for session in self._held.values() if now >= session.expires_at]:
            del self._held[session.fingerprint]
            session.holder.lose("expired")

    async def follow(self) -> list[tuple[Session, str]]:
        """Apply what the log of revocations has got since the last time; return what was revoked, and why.

        A session that another server took over is lost too, and not among them.
        """
        revoked: list[tuple[Session, str]] = []
        for entry in await self._revocations.entries(self.applied):
            self.applied = entry.id
            self.told(entry)
            for session in self._concerned(entry):
                self._let_go(session)
                if entry.owner is None:
                    session.holder.lose("revoked")
                    revoked.append((session, entry.reason))
                else:
                    session.holder.lose("replaced")
        return revoked

    async def begin(self) -> None:
        """Begin to follow the log at its end: nothing is held yet."""
        self.applied = await self._revocations.position()

    def _satisfied_by(self, record: SessionRecord) -> bool:
        """Return whether what a session was opened with is enough: servers of one store may differ in access."""
        if self._access == "authenticate":
            return record.account_id > 0
        return self._access == "anyone" or bool(record.name)

    async def _due(self, record: SessionRecord) -> bool | None:
        """Return whether the account of a session must change its password; None where the session is over."""
        if record.account_id <= 0:  # nobody's account
            return False
        account = await self._accounts.find(prepare(record.name).key)  # who is renamed gets a new epoch too
        if account is None or (account.id, account.epoch) != (record.account_id, record.epoch):
            return None
        return account.must_change

    def _concerned(self, entry: Revocation) -> list[Session]:
        """Return the sessions held here that a revocation takes away; our own taking over is at its position."""
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
            claim.has_snapshot,
        )
        self._held[record.fingerprint] = session
        return session

    def _let_go(self, session: Session) -> None:
        if self._held.get(session.fingerprint) is session:
            del self._held[session.fingerprint]

    async def _still_held(self, session: Session) -> bool:
        """Return whether a session that was just taken up is ours: a revocation may have come before `_hold`."""
        if self.applied > session.position:
            record = await self._store.find(session.fingerprint)
            if record is None or record.owner != self._owner:
                return False
        return self._held.get(session.fingerprint) is session


def _number_of(host: str) -> int:
    """Return by what sessions from the source of `host` are counted: no account's number, in 32 bits below 0."""
    source = source_of(host)
    packed = source.encode() if isinstance(source, str) else source
    return -1 - (int.from_bytes(sha256(packed).digest()[:4], "big") >> 1)
