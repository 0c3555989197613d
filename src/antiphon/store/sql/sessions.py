"""Sessions in SQL."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter

from sqlalchemy import Integer, bindparam, delete, func, insert, literal, or_, select, update

from antiphon.store.contracts import REVOCATIONS_KEPT, Claim, Marks, Revocation, SessionRecord
from antiphon.store.sql.engine import Database
from antiphon.store.sql.failures import Failures
from antiphon.store.sql.schema import REVOCATIONS, SESSIONS
from antiphon.store.sql.statement import Statement

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
_TOO_MANY = Statement(
    select(SESSIONS.c.fingerprint)
    .where(SESSIONS.c.account_id == bindparam("account"), SESSIONS.c.fingerprint != bindparam("new"))
    .order_by((SESSIONS.c.seen_at > bindparam("unheld_by")).desc(), SESSIONS.c.opened_at.desc())
    .offset(bindparam("others", type_=Integer))
)
_of_one = SESSIONS.c.fingerprint == bindparam("sought")
_seen = update(SESSIONS).where(_of_one).values(seen_at=bindparam("at"))
_SEEN = Statement(_seen)
_CLAIM = Statement(_seen.values(owner=bindparam("by"), address=bindparam("source")))
_TAKE_OVER = Statement(
    insert(REVOCATIONS).from_select(
        ["fingerprint", "owner", "reason", "at"],
        select(
            SESSIONS.c.fingerprint,
            bindparam("by", type_=SESSIONS.c.owner.type),
            literal("replaced"),
            bindparam("at", type_=REVOCATIONS.c.at.type),
        ).where(SESSIONS.c.fingerprint == bindparam("sought"), SESSIONS.c.owner != bindparam("by")),
    )
)
_RELEASE = Statement(_seen.where(SESSIONS.c.owner == bindparam("by")).values(owner=None))
_end = delete(SESSIONS).where(_of_one)
_END = Statement(_end)
_END_OWN = Statement(_end.where(or_(SESSIONS.c.owner == bindparam("by"), SESSIONS.c.owner.is_(None))))
_END_ACCOUNT = Statement(delete(SESSIONS).where(SESSIONS.c.account_id == bindparam("account")))
_OTHERS = Statement(
    select(SESSIONS.c.fingerprint).where(
        SESSIONS.c.account_id == bindparam("account"), SESSIONS.c.fingerprint != bindparam("sought")
    )
)
_MOVE_ON = Statement(
    update(SESSIONS).where(SESSIONS.c.fingerprint == bindparam("sought")).values(epoch=bindparam("begun"))
)
_KEEP = Statement(
    update(SESSIONS).where(SESSIONS.c.fingerprint == bindparam("sought")).values(kept=bindparam("data"))
)
_KEPT = Statement(
    select(SESSIONS.c.kept).where(SESSIONS.c.fingerprint == bindparam("sought"), SESSIONS.c.kept.is_not(None))
)
_REVOKE = Statement(insert(REVOCATIONS), "fingerprint", "account_id", "reason", "at")
_REVOCATIONS = Statement(
    select(*(REVOCATIONS.c[field.name] for field in fields(Revocation)))
    .where(REVOCATIONS.c.id > bindparam("after"))
    .order_by(REVOCATIONS.c.id)
)
_position_now = select(func.coalesce(func.max(REVOCATIONS.c.id), 0))
_POSITION = Statement(_position_now)
_CLAIMED = Statement(
    select(
        _position_now.scalar_subquery().label("position"),
        SESSIONS.c.kept.is_not(None).label("kept"),  # not by RETURNING: SQLite 3.40 takes no column there for NULL
    ).where(_of_one)
)
_TRIM = Statement(delete(REVOCATIONS).where(REVOCATIONS.c.at <= bindparam("before")))
_FORGET = Statement(delete(SESSIONS).where(SESSIONS.c.expires_at <= bindparam("at")))


class SqlSessions:
    """`contracts.Sessions` in a database."""

    def __init__(self, database: Database) -> None:
        """Keep sessions in a database that has the tables of `schema.SESSIONS_SCHEMA`."""
        self._database = database
        self._failures = Failures()

    async def open(
        self, record: SessionRecord, most: int, unheld_by: datetime, proved: Marks | None = None
    ) -> int:
        """See `contracts.Sessions`."""
        row = dict(zip(_COLUMNS, _values(record), strict=True))
        sought = {
            "account": record.account_id,
            "new": record.fingerprint,
            "unheld_by": unheld_by,
            "others": most - 1,
        }

        def work(connection: sqlite3.Connection) -> int:
            _OPEN.change(connection, **row)  # first: it locks the others out until the end
            for surplus in _TOO_MANY.rows(connection, **sought):
                _revoke(connection, surplus["fingerprint"], "too-many", record.opened_at)
            if proved is not None:
                self._failures.succeeded(connection, *proved, record.opened_at)
            return _position(connection)

        return await self._database.run(work)

    async def find(self, fingerprint: bytes) -> SessionRecord | None:
        """See `contracts.Sessions`."""
        row = await self._database.run(lambda connection: _FIND.row(connection, sought=fingerprint))
        return SessionRecord(**row) if row else None

    async def held(self, fingerprints: Sequence[bytes], at: datetime) -> None:
        """See `contracts.Sessions`."""
        rows = [{"sought": fingerprint, "at": at} for fingerprint in fingerprints]
        if rows:
            await self._database.run(lambda connection: _SEEN.change_each(connection, rows))

    async def claim(self, fingerprint: bytes, owner: str, address: str, at: datetime) -> Claim | None:
        """See `contracts.Sessions`."""
        values = {"sought": fingerprint, "by": owner, "at": at}

        def work(connection: sqlite3.Connection) -> Claim | None:
            _TAKE_OVER.change(connection, **values)  # before the owner is overwritten
            if not _CLAIM.change(connection, source=address, **values):
                return None
            claimed = _CLAIMED.row(connection, sought=fingerprint)
            return Claim(**claimed) if claimed else None

        return await self._database.run(work)

    async def released(self, fingerprint: bytes, owner: str, at: datetime) -> None:
        """See `contracts.Sessions`."""
        await self._database.run(
            lambda connection: _RELEASE.change(connection, sought=fingerprint, by=owner, at=at)
        )

    async def end(self, fingerprint: bytes, owner: str) -> None:
        """See `contracts.Sessions`."""
        await self._database.run(lambda connection: _END_OWN.change(connection, sought=fingerprint, by=owner))

    async def revoke(self, fingerprint: bytes, reason: str, at: datetime) -> bool:
        """See `contracts.Sessions`."""
        return await self._database.run(lambda connection: _revoke(connection, fingerprint, reason, at))

    async def revoke_account(self, account_id: int, reason: str, at: datetime) -> int:
        """See `contracts.Sessions`."""

        def work(connection: sqlite3.Connection) -> int:
            _REVOKE.change(connection, fingerprint=None, account_id=account_id, reason=reason, at=at)
            return _END_ACCOUNT.change(connection, account=account_id)

        return await self._database.run(work)

    async def revoke_others(self, account_id: int, spared: bytes, epoch: int, reason: str, at: datetime) -> int:
        """See `contracts.Sessions`."""

        def work(connection: sqlite3.Connection) -> int:
            _MOVE_ON.change(connection, sought=spared, begun=epoch)  # first: it locks the others out
            others = _OTHERS.rows(connection, account=account_id, sought=spared)
            return sum(_revoke(connection, other["fingerprint"], reason, at) for other in others)

        return await self._database.run(work)

    async def revocations(self, after: int) -> list[Revocation]:
        """See `contracts.Sessions`."""
        rows = await self._database.run(lambda connection: _REVOCATIONS.rows(connection, after=after))
        return [Revocation(**row) for row in rows]

    async def position(self) -> int:
        """See `contracts.Sessions`."""
        return await self._database.run(_position)

    async def forget(self, expired_by: datetime) -> None:
        """See `contracts.Sessions`."""

        def work(connection: sqlite3.Connection) -> None:
            _FORGET.change(connection, at=expired_by)
            _TRIM.change(connection, before=expired_by - REVOCATIONS_KEPT)

        await self._database.run(work)

    async def all(self) -> list[SessionRecord]:
        """See `contracts.Sessions`."""
        return [SessionRecord(**row) for row in await self._database.run(_LIST.rows)]

    async def keep(self, dialogues: Mapping[bytes, bytes]) -> None:
        """See `contracts.Sessions`."""
        rows = [{"sought": fingerprint, "data": data} for fingerprint, data in dialogues.items()]
        if rows:
            await self._database.run(lambda connection: _KEEP.change_each(connection, rows))

    async def take(self, fingerprint: bytes) -> bytes | None:
        """See `contracts.Sessions`."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            data: bytes | None = _KEPT.value(connection, sought=fingerprint)
            return data if data is not None and _KEEP.change(connection, sought=fingerprint, data=None) else None

        return await self._database.run(work)

    async def attempt(self, name: bytes, source: bytes, at: datetime) -> float:
        """See `contracts.Sessions`."""
        return await self._database.run(lambda connection: self._failures.attempt(connection, name, source, at))

    async def succeeded(self, name: bytes, source: bytes, at: datetime) -> None:
        """See `contracts.Sessions`."""
        await self._database.run(lambda connection: self._failures.succeeded(connection, name, source, at))

    async def forgive(self, name: bytes) -> None:
        """See `contracts.Sessions`."""
        await self._database.run(lambda connection: self._failures.forgive(connection, name))

    async def close(self) -> None:
        """See `contracts.Sessions`."""
        await self._database.close()


def _revoke(connection: sqlite3.Connection, fingerprint: bytes, reason: str, at: datetime) -> bool:
    _REVOKE.change(connection, fingerprint=fingerprint, account_id=None, reason=reason, at=at)
    return _END.change(connection, sought=fingerprint) > 0


def _position(connection: sqlite3.Connection) -> int:
    return int(_POSITION.value(connection))
