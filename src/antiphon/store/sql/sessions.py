"""Sessions in SQL.

A transaction that reads before it writes locks what it reads, in this order, so that no two wait for each other:

1. `Lock.SEALING`: who seals, who changes the key that does, and a process that enters;
2. `Lock.SESSIONS` of the account: who opens a session, and who ends all of an account;
3. the rows of sessions, by fingerprint;
4. `Lock.PROCESS` of a former home: who claims; its own: a process that enters;
5. failures and sources of a name (`failures.py`);
6. `Lock.REVOCATIONS`: who writes to the revocation log, last of all.
"""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any

from sqlalchemy import Integer, bindparam, case, delete, false, func, insert, select, update

from antiphon.store.contracts import TOO_MANY, Claim, Marks, Opened, SessionRecord
from antiphon.store.sql.database import Connection, Database, Lock
from antiphon.store.sql.failures import forgive_proved, take_refusals
from antiphon.store.sql.processes import ALIVE, RELAYED_TO
from antiphon.store.sql.revocations import NEWEST, log_account_revoked, log_revoked, position
from antiphon.store.sql.schema import SESSIONS
from antiphon.store.sql.statement import Statement

HELD_AT_ONCE = 5000
"""Sessions in one transaction of `held`, which has their rows locked: it takes a few tenths of a second."""
_COLUMNS = [field.name for field in fields(SessionRecord)]
"""A record's fields and a row's columns have the same names."""
_values = attrgetter(*_COLUMNS)

_OPEN = Statement(insert(SESSIONS), *_COLUMNS)
_FIND = Statement(
    select(*(SESSIONS.c[name] for name in _COLUMNS)).where(SESSIONS.c.fingerprint == bindparam("sought"))
)
_LIST = Statement(
    select(*(SESSIONS.c[name] for name in _COLUMNS)).order_by(SESSIONS.c.opened_at, SESSIONS.c.fingerprint)
)
_of_one = SESSIONS.c.fingerprint == bindparam("sought")
_by_home = SESSIONS.c.home == bindparam("by")
_claimed = SESSIONS.c.claim == bindparam("number")
_of_its_home = _of_one & _by_home & _claimed
"""Fencing: whatever a home writes has this condition."""
_seen: dict[str, Any] = {"seen_at": bindparam("at")}
_is_held = func.coalesce(SESSIONS.c.owner.in_(ALIVE), false())
_SURPLUS = Statement(
    select(SESSIONS.c.fingerprint, _is_held.label("held"))
    .where(SESSIONS.c.account_id == bindparam("account"), SESSIONS.c.fingerprint != bindparam("new"))
    .order_by(
        _is_held.desc(),
        case((_is_held, SESSIONS.c.opened_at), else_=SESSIONS.c.seen_at).desc(),
        SESSIONS.c.opened_at.desc(),
    )
    .offset(bindparam("others", type_=Integer))
)
"""The sessions that make way: from the end, those that nobody holds come before those that are held."""
_LOCK_ALL = Statement(
    select(SESSIONS.c.fingerprint)
    .where(SESSIONS.c.account_id == bindparam("account"))
    .order_by(SESSIONS.c.fingerprint)
    .with_for_update()
)

_to_claim = _of_one & _claimed & (SESSIONS.c.home.is_(None) | _by_home | SESSIONS.c.home.not_in(RELAYED_TO))
_TAKE = Statement(
    select(SESSIONS.c.claim.label("number"), SESSIONS.c.home, SESSIONS.c.owner).where(_of_one).with_for_update()
)
_CLAIM = Statement(
    update(SESSIONS)
    .where(_to_claim)
    .values(
        **_seen,
        home=bindparam("by"),
        owner=bindparam("by"),
        claim=SESSIONS.c.claim + 1,
        address=bindparam("source"),
    )
)
_CLAIMED = Statement(
    select(
        SESSIONS.c.claim.label("number"),
        NEWEST.scalar_subquery().label("position"),
        SESSIONS.c.kept.label("snapshot"),
    ).where(_of_one)
)
_carrier = bindparam("carrier", type_=SESSIONS.c.owner.type)
_HOLD = Statement(
    update(SESSIONS)
    .where(_of_its_home)
    .values(
        **_seen,
        # Never a process without a row: `upgrades` would take the statement for one of a server of version 4.
        owner=case(((_carrier == SESSIONS.c.home) | _carrier.in_(ALIVE), _carrier)),
        address=bindparam("source"),
    )
)
_HELD = Statement(update(SESSIONS).where(_of_its_home).values(**_seen))
_RELEASE = Statement(
    update(SESSIONS).where(_of_its_home, SESSIONS.c.owner.is_not(None)).values(**_seen, owner=None)
)
_HAND_ON = Statement(
    update(SESSIONS)
    .where(_of_its_home)
    .values(
        seen_at=case(
            (SESSIONS.c.owner.is_(None), SESSIONS.c.seen_at), else_=bindparam("at", type_=SESSIONS.c.seen_at.type)
        ),
        home=None,
        owner=None,
        kept=bindparam("snapshot"),
    )
)
_DROP = Statement(update(SESSIONS).where(_of_its_home).values(kept=None))
_HOMED = Statement(select(SESSIONS.c.fingerprint, SESSIONS.c.claim).where(_by_home))
_end = delete(SESSIONS).where(_of_one)
_END = Statement(_end)
_unclaimed = SESSIONS.c.home.is_(None) & SESSIONS.c.owner.is_(None)
_END_OWN = Statement(_end.where(_claimed, _by_home | _unclaimed))
_END_ACCOUNT = Statement(delete(SESSIONS).where(SESSIONS.c.account_id == bindparam("account")))
_OTHERS = Statement(
    select(SESSIONS.c.fingerprint).where(
        SESSIONS.c.account_id == bindparam("account"), SESSIONS.c.fingerprint != bindparam("sought")
    )
)
_KEEP = Statement(update(SESSIONS).where(_of_its_home).values(claim=SESSIONS.c.claim))
"""Changes nothing, and locks all others out."""
_ACCOUNT_OF = Statement(select(SESSIONS.c.account_id).where(_of_one))
_MOVE_ON = Statement(
    update(SESSIONS).where(SESSIONS.c.fingerprint == bindparam("sought")).values(epoch=bindparam("begun"))
)
_FORGET = Statement(delete(SESSIONS).where(SESSIONS.c.expires_at <= bindparam("at")))
_FORGET_SNAPSHOTS = Statement(
    update(SESSIONS)
    .where(
        SESSIONS.c.kept.is_not(None),
        SESSIONS.c.seen_at <= bindparam("at"),
        ~_is_held,
    )
    .values(kept=None)
)


class SqlSessions:
    """`contracts.Sessions` in a database."""

    def __init__(self, database: Database) -> None:
        """Keep sessions in a database that has the tables of `schema.SESSIONS_SCHEMA`."""
        self._database = database

    async def open(
        self, record: SessionRecord, most: int, proved: Marks | None = None, *, replace: bool = False
    ) -> Opened | None:
        """See `contracts.Sessions`."""
        row = dict(zip(_COLUMNS, _values(record), strict=True))
        sought = {
            "account": record.account_id,
            "new": record.fingerprint,
            "others": most - 1,
        }

        def work(connection: Connection) -> Opened | None:
            connection.lock(Lock.SESSIONS, record.account_id)  # nobody else adds one
            _OPEN.change(connection, **row)
            too_many = _SURPLUS.rows(connection, **sought)
            if too_many:  # nobody else takes one up or leaves one, and they are looked at again
                _LOCK_ALL.rows(connection, account=record.account_id)
                too_many = _SURPLUS.rows(connection, **sought)
            if not replace and any(surplus["held"] for surplus in too_many):
                _END.change(connection, sought=record.fingerprint)
                if proved is not None:
                    forgive_proved(connection, *proved, record.opened_at)
                return None
            refusals = 0 if proved is None else take_refusals(connection, *proved, record.opened_at)
            for surplus in too_many:
                _revoke(connection, surplus["fingerprint"], TOO_MANY, record.opened_at)
            return Opened(position(connection), refusals)

        return await self._database.run(work, order=record.fingerprint)

    async def find(self, fingerprint: bytes) -> SessionRecord | None:
        """See `contracts.Sessions`."""
        row = await self._database.run(lambda connection: _FIND.row(connection, sought=fingerprint), fingerprint)
        return SessionRecord(**row) if row else None

    async def claim(
        self, fingerprint: bytes, expected: int, home: str, address: str, at: datetime
    ) -> Claim | None:
        """See `contracts.Sessions`."""
        values = {"sought": fingerprint, "number": expected, "by": home, "at": at}

        def work(connection: Connection) -> Claim | None:
            connection.begin_writing()
            before = _TAKE.row(connection, sought=fingerprint)
            if before is None:
                return None
            if before["home"] not in (None, home):  # it stays dead until the end, if it is dead
                connection.lock(Lock.PROCESS, before["home"], shared=True)
            if not _CLAIM.change(connection, source=address, **values):
                return None
            if {before["home"], before["owner"]} - {home, None}:
                log_revoked(connection, fingerprint, "replaced", at, owner=home)
            claimed = _CLAIMED.row(connection, sought=fingerprint)
            return Claim(**claimed) if claimed else None

        return await self._database.run(work, fingerprint)

    async def hold(
        self, fingerprint: bytes, home: str, claim: int, *, owner: str, address: str, at: datetime
    ) -> Claim | None:
        """See `contracts.Sessions`."""
        values = {
            "sought": fingerprint,
            "by": home,
            "number": claim,
            "at": at,
            "carrier": owner,
            "source": address,
        }

        def work(connection: Connection) -> Claim | None:
            held = _CLAIMED.row(connection, sought=fingerprint) if _HOLD.change(connection, **values) else None
            return Claim(**held) if held else None

        return await self._database.run(work, fingerprint)

    async def held(self, marks: Sequence[tuple[bytes, int]], home: str, at: datetime) -> None:
        """See `contracts.Sessions`."""
        rows = [{"sought": mark, "number": claim, "by": home, "at": at} for mark, claim in sorted(marks)]
        for first in range(0, len(rows), HELD_AT_ONCE):
            some = rows[first : first + HELD_AT_ONCE]
            await self._database.run(partial(_HELD.change_each, many=some))

    async def released(self, fingerprint: bytes, home: str, claim: int, at: datetime) -> None:
        """See `contracts.Sessions`."""
        values = {"sought": fingerprint, "by": home, "number": claim, "at": at}
        await self._database.run(lambda connection: _RELEASE.change(connection, **values), fingerprint)

    async def hand_on(
        self, fingerprint: bytes, home: str, claim: int, snapshot: bytes | None, at: datetime
    ) -> bool:
        """See `contracts.Sessions`."""
        values = {"sought": fingerprint, "by": home, "number": claim, "at": at, "snapshot": snapshot}
        return await self._database.run(lambda connection: _HAND_ON.change(connection, **values) > 0, fingerprint)

    async def drop_snapshot(self, fingerprint: bytes, home: str, claim: int) -> bool:
        """See `contracts.Sessions`."""
        values = {"sought": fingerprint, "by": home, "number": claim}
        return await self._database.run(lambda connection: _DROP.change(connection, **values) > 0, fingerprint)

    async def end(self, fingerprint: bytes, home: str, claim: int) -> None:
        """See `contracts.Sessions`."""
        values = {"sought": fingerprint, "by": home, "number": claim}
        await self._database.run(lambda connection: _END_OWN.change(connection, **values), fingerprint)

    async def homed(self, home: str) -> dict[bytes, int]:
        """See `contracts.Sessions`."""
        rows = await self._database.run(lambda connection: _HOMED.rows(connection, by=home))
        return {row["fingerprint"]: row["claim"] for row in rows}

    async def revoke(self, fingerprint: bytes, reason: str, at: datetime) -> bool:
        """See `contracts.Sessions`."""
        return await self._database.run(
            lambda connection: _revoke(connection, fingerprint, reason, at), fingerprint
        )

    async def revoke_account(self, account_id: int, reason: str, at: datetime) -> int:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> int:
            connection.lock(Lock.SESSIONS, account_id)
            ended = _END_ACCOUNT.change(connection, account=account_id)
            log_account_revoked(connection, account_id, reason, at)
            return ended

        return await self._database.run(work)

    async def revoke_others(self, account_id: int, spared: bytes, epoch: int, reason: str, at: datetime) -> int:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> int:
            connection.lock(Lock.SESSIONS, account_id)
            _LOCK_ALL.rows(connection, account=account_id)
            _MOVE_ON.change(connection, sought=spared, begun=epoch)
            return _revoke_others(connection, account_id, spared, reason, at)

        return await self._database.run(work)

    async def end_others(self, fingerprint: bytes, home: str, claim: int, reason: str, at: datetime) -> int | None:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> int | None:
            account_id = _ACCOUNT_OF.value(connection, sought=fingerprint)
            if account_id is None:
                return None
            connection.lock(Lock.SESSIONS, account_id)
            _LOCK_ALL.rows(connection, account=account_id)
            if not _KEEP.change(connection, sought=fingerprint, by=home, number=claim):
                return None
            return _revoke_others(connection, account_id, fingerprint, reason, at)

        return await self._database.run(work)

    async def forget(self, expired_by: datetime, unheld_by: datetime) -> None:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> None:
            _FORGET.change(connection, at=expired_by)
            _FORGET_SNAPSHOTS.change(connection, at=unheld_by)

        await self._database.run(work)

    async def all(self) -> list[SessionRecord]:
        """See `contracts.Sessions`."""
        return [SessionRecord(**row) for row in await self._database.run(_LIST.rows)]


def _revoke_others(connection: Connection, account_id: int, spared: bytes, reason: str, at: datetime) -> int:
    others = _OTHERS.rows(connection, account=account_id, sought=spared)
    return sum(_revoke(connection, other["fingerprint"], reason, at) for other in others)


def _revoke(connection: Connection, fingerprint: bytes, reason: str, at: datetime) -> bool:
    ended = _END.change(connection, sought=fingerprint) > 0
    log_revoked(connection, fingerprint, reason, at)
    return ended
