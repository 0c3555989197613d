"""Sessions in SQL.

The first statement of each transaction that changes something writes, so that no other process changes what it
reads.
"""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter

from sqlalchemy import Integer, bindparam, delete, insert, or_, select, update

from antiphon.store.contracts import Claim, Marks, Opened, SessionRecord
from antiphon.store.sql.database import Connection, Database
from antiphon.store.sql.failures import take_refusals
from antiphon.store.sql.revocations import NEWEST, log_account_revoked, log_replaced, log_revoked, position
from antiphon.store.sql.schema import SESSIONS
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
_CLAIMED = Statement(
    select(
        NEWEST.scalar_subquery().label("position"),
        SESSIONS.c.kept.is_not(None).label(
            "has_snapshot"
        ),  # not by RETURNING: SQLite 3.40 takes no column there for NULL
    ).where(_of_one)
)
_FORGET = Statement(delete(SESSIONS).where(SESSIONS.c.expires_at <= bindparam("at")))


class SqlSessions:
    """`contracts.Sessions` in a database."""

    def __init__(self, database: Database) -> None:
        """Keep sessions in a database that has the tables of `schema.SESSIONS_SCHEMA`."""
        self._database = database

    async def open(
        self, record: SessionRecord, most: int, unheld_by: datetime, proved: Marks | None = None
    ) -> Opened:
        """See `contracts.Sessions`."""
        row = dict(zip(_COLUMNS, _values(record), strict=True))
        sought = {
            "account": record.account_id,
            "new": record.fingerprint,
            "unheld_by": unheld_by,
            "others": most - 1,
        }

        def work(connection: Connection) -> Opened:
            _OPEN.change(connection, **row)  # first: it locks the others out until the end
            for surplus in _TOO_MANY.rows(connection, **sought):
                _revoke(connection, surplus["fingerprint"], "too-many", record.opened_at)
            refusals = 0 if proved is None else take_refusals(connection, *proved, record.opened_at)
            return Opened(position(connection), refusals)

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

        def work(connection: Connection) -> Claim | None:
            log_replaced(connection, fingerprint, owner, at)
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

        def work(connection: Connection) -> int:
            log_account_revoked(connection, account_id, reason, at)
            return _END_ACCOUNT.change(connection, account=account_id)

        return await self._database.run(work)

    async def revoke_others(self, account_id: int, spared: bytes, epoch: int, reason: str, at: datetime) -> int:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> int:
            _MOVE_ON.change(connection, sought=spared, begun=epoch)  # first: it locks the others out
            others = _OTHERS.rows(connection, account=account_id, sought=spared)
            return sum(_revoke(connection, other["fingerprint"], reason, at) for other in others)

        return await self._database.run(work)

    async def forget(self, expired_by: datetime) -> None:
        """See `contracts.Sessions`."""
        await self._database.run(lambda connection: _FORGET.change(connection, at=expired_by))

    async def all(self) -> list[SessionRecord]:
        """See `contracts.Sessions`."""
        return [SessionRecord(**row) for row in await self._database.run(_LIST.rows)]


def _revoke(connection: Connection, fingerprint: bytes, reason: str, at: datetime) -> bool:
    log_revoked(connection, fingerprint, reason, at)
    return _END.change(connection, sought=fingerprint) > 0
