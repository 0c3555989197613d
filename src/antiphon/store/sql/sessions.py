"""Sessions in SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter

from sqlalchemy import Connection, bindparam, delete, func, insert, literal, or_, select, update

from antiphon.store.contracts import REVOCATIONS_KEPT, Revocation, SessionRecord
from antiphon.store.sql.engine import Database
from antiphon.store.sql.failures import Failures
from antiphon.store.sql.schema import REVOCATIONS, SESSIONS

_COLUMNS = [field.name for field in fields(SessionRecord)]
"""A record's fields and a row's columns have the same names."""
_values = attrgetter(*_COLUMNS)

_OPEN = insert(SESSIONS)
_FIND = select(*(SESSIONS.c[name] for name in _COLUMNS)).where(SESSIONS.c.fingerprint == bindparam("sought"))
_LIST = select(*(SESSIONS.c[name] for name in _COLUMNS)).order_by(SESSIONS.c.opened_at, SESSIONS.c.fingerprint)
_TOO_MANY = (
    select(SESSIONS.c.fingerprint)
    .where(SESSIONS.c.account_id == bindparam("account"), SESSIONS.c.fingerprint != bindparam("new"))
    .order_by((SESSIONS.c.seen_at > bindparam("unheld_by")).desc(), SESSIONS.c.opened_at.desc())
    .offset(bindparam("others"))
)
_SEEN = update(SESSIONS).where(SESSIONS.c.fingerprint == bindparam("sought")).values(seen_at=bindparam("at"))
_CLAIM = _SEEN.values(owner=bindparam("by"), address=bindparam("source"))
_TAKE_OVER = insert(REVOCATIONS).from_select(
    ["fingerprint", "owner", "reason", "at"],
    select(
        SESSIONS.c.fingerprint,
        bindparam("by", type_=SESSIONS.c.owner.type),
        literal("replaced"),
        bindparam("at", type_=REVOCATIONS.c.at.type),
    ).where(SESSIONS.c.fingerprint == bindparam("sought"), SESSIONS.c.owner != bindparam("by")),
)
_RELEASE = _SEEN.where(SESSIONS.c.owner == bindparam("by")).values(owner=None)
_END = delete(SESSIONS).where(SESSIONS.c.fingerprint == bindparam("sought"))
_END_OWN = _END.where(or_(SESSIONS.c.owner == bindparam("by"), SESSIONS.c.owner.is_(None)))
_END_ACCOUNT = delete(SESSIONS).where(SESSIONS.c.account_id == bindparam("account"))
_OTHERS = select(SESSIONS.c.fingerprint).where(
    SESSIONS.c.account_id == bindparam("account"), SESSIONS.c.fingerprint != bindparam("sought")
)
_MOVE_ON = update(SESSIONS).where(SESSIONS.c.fingerprint == bindparam("sought")).values(epoch=bindparam("begun"))
_KEEP = update(SESSIONS).where(SESSIONS.c.fingerprint == bindparam("sought")).values(kept=bindparam("data"))
_KEPT = select(SESSIONS.c.kept).where(SESSIONS.c.fingerprint == bindparam("sought"), SESSIONS.c.kept.is_not(None))
_REVOKE = insert(REVOCATIONS)
_REVOCATIONS = (
    select(*(REVOCATIONS.c[field.name] for field in fields(Revocation)))
    .where(REVOCATIONS.c.id > bindparam("after"))
    .order_by(REVOCATIONS.c.id)
)
_POSITION = select(func.coalesce(func.max(REVOCATIONS.c.id), 0))
_TRIM = delete(REVOCATIONS).where(REVOCATIONS.c.at <= bindparam("before"))
_FORGET = delete(SESSIONS).where(SESSIONS.c.expires_at <= bindparam("at"))


class SqlSessions:
    """`contracts.Sessions` in a database."""

    def __init__(self, database: Database) -> None:
        """Keep sessions in a database that has the tables of `schema.SESSIONS_SCHEMA`."""
        self._database = database
        self._failures = Failures()

    async def open(self, record: SessionRecord, most: int, unheld_by: datetime) -> int:
        """See `contracts.Sessions`."""
        row = dict(zip(_COLUMNS, _values(record), strict=True))
        sought = {
            "account": record.account_id,
            "new": record.fingerprint,
            "unheld_by": unheld_by,
            "others": most - 1,
        }

        def work(connection: Connection) -> int:
            connection.execute(_OPEN, row)  # first: it locks the others out until the end
            for fingerprint in connection.scalars(_TOO_MANY, sought).all():
                _revoke(connection, fingerprint, "too-many", record.opened_at)
            return _position(connection)

        return await self._database.run(work)

    async def find(self, fingerprint: bytes) -> SessionRecord | None:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> SessionRecord | None:
            row = connection.execute(_FIND, {"sought": fingerprint}).mappings().one_or_none()
            return SessionRecord(**row) if row else None

        return await self._database.run(work)

    async def held(self, fingerprints: Sequence[bytes], at: datetime) -> None:
        """See `contracts.Sessions`."""
        rows = [{"sought": fingerprint, "at": at} for fingerprint in fingerprints]
        if rows:
            await self._database.execute(_SEEN, rows)

    async def claim(self, fingerprint: bytes, owner: str, address: str, at: datetime) -> int | None:
        """See `contracts.Sessions`."""
        values = {"sought": fingerprint, "by": owner, "source": address, "at": at}

        def work(connection: Connection) -> int | None:
            connection.execute(_TAKE_OVER, values)  # before the owner is overwritten
            return _position(connection) if connection.execute(_CLAIM, values).rowcount else None

        return await self._database.run(work)

    async def released(self, fingerprint: bytes, owner: str, at: datetime) -> None:
        """See `contracts.Sessions`."""
        await self._database.execute(_RELEASE, {"sought": fingerprint, "by": owner, "at": at})

    async def end(self, fingerprint: bytes, owner: str) -> None:
        """See `contracts.Sessions`."""
        await self._database.execute(_END_OWN, {"sought": fingerprint, "by": owner})

    async def revoke(self, fingerprint: bytes, reason: str, at: datetime) -> bool:
        """See `contracts.Sessions`."""
        return await self._database.run(lambda connection: _revoke(connection, fingerprint, reason, at))

    async def revoke_account(self, account_id: int, reason: str, at: datetime) -> int:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> int:
            connection.execute(_REVOKE, {"account_id": account_id, "reason": reason, "at": at})
            return connection.execute(_END_ACCOUNT, {"account": account_id}).rowcount

        return await self._database.run(work)

    async def revoke_others(self, account_id: int, spared: bytes, epoch: int, reason: str, at: datetime) -> int:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> int:
            connection.execute(_MOVE_ON, {"sought": spared, "begun": epoch})  # first: it locks the others out
            others = connection.scalars(_OTHERS, {"account": account_id, "sought": spared}).all()
            return sum(_revoke(connection, fingerprint, reason, at) for fingerprint in others)

        return await self._database.run(work)

    async def revocations(self, after: int) -> list[Revocation]:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> list[Revocation]:
            return [Revocation(**row) for row in connection.execute(_REVOCATIONS, {"after": after}).mappings()]

        return await self._database.run(work)

    async def position(self) -> int:
        """See `contracts.Sessions`."""
        return await self._database.run(_position)

    async def forget(self, expired_by: datetime) -> None:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> None:
            connection.execute(_FORGET, {"at": expired_by})
            connection.execute(_TRIM, {"before": expired_by - REVOCATIONS_KEPT})

        await self._database.run(work)

    async def all(self) -> list[SessionRecord]:
        """See `contracts.Sessions`."""
        return await self._database.run(
            lambda connection: [SessionRecord(**row) for row in connection.execute(_LIST).mappings()]
        )

    async def keep(self, dialogues: Mapping[bytes, bytes]) -> None:
        """See `contracts.Sessions`."""
        rows = [{"sought": fingerprint, "data": data} for fingerprint, data in dialogues.items()]
        if rows:
            await self._database.execute(_KEEP, rows)

    async def take(self, fingerprint: bytes) -> bytes | None:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> bytes | None:
            data = connection.scalar(_KEPT, {"sought": fingerprint})
            if data is not None and connection.execute(_KEEP, {"sought": fingerprint, "data": None}).rowcount:
                return bytes(data)
            return None

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


def _revoke(connection: Connection, fingerprint: bytes, reason: str, at: datetime) -> bool:
    connection.execute(_REVOKE, {"fingerprint": fingerprint, "reason": reason, "at": at})
    return connection.execute(_END, {"sought": fingerprint}).rowcount > 0


def _position(connection: Connection) -> int:
    return int(connection.execute(_POSITION).scalar_one())
