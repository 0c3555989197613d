"""Invitations in SQL."""

from dataclasses import fields, replace
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select, update

from antiphon.identity.names import Name
from antiphon.store.contracts import Invitation, check_invitation
from antiphon.store.sql.database import Connection, Database, Lock
from antiphon.store.sql.schema import INVITATIONS
from antiphon.store.sql.statement import Statement

_COLUMNS = [INVITATIONS.c[field.name] for field in fields(Invitation)]
"""A record's fields and a row's columns have the same names."""

_WITHDRAW = Statement(
    delete(INVITATIONS).where(INVITATIONS.c.key == bindparam("of"), INVITATIONS.c.used_at.is_(None))
)
_INVITE = Statement(
    insert(INVITATIONS).returning(*_COLUMNS), "fingerprint", "display", "key", "made_at", "made_by", "expires_at"
)
_FIND = Statement(select(*_COLUMNS).where(INVITATIONS.c.fingerprint == bindparam("sought")))
_LIST = Statement(select(*_COLUMNS).order_by(INVITATIONS.c.id))
_FORGET = Statement(delete(INVITATIONS).where(INVITATIONS.c.expires_at <= bindparam("at")))
_USE_UP = Statement(
    update(INVITATIONS)
    .where(INVITATIONS.c.fingerprint == bindparam("sought"), INVITATIONS.c.used_at.is_(None))
    .values(used_at=bindparam("at"), used_from=bindparam("address"))
)


class SqlInvitations:
    """`contracts.Invitations` in the database of the accounts."""

    def __init__(self, database: Database) -> None:
        """Keep invitations in a database that has the tables of `schema.ACCOUNTS_SCHEMA`."""
        self._database = database

    async def invite(
        self, fingerprint: bytes, name: Name, at: datetime, expires_at: datetime, by: str
    ) -> Invitation:
        """See `contracts.Invitations`."""
        row = {
            "fingerprint": fingerprint,
            "display": name.display,
            "key": name.key,
            "made_at": at,
            "made_by": by,
            "expires_at": expires_at,
        }

        def work(connection: Connection) -> Invitation:
            connection.lock(Lock.INVITATIONS, name.key)  # of two for one name, the later one stays
            _WITHDRAW.change(connection, of=name.key)
            (made,) = _INVITE.rows(connection, **row)
            return Invitation(**made)

        return await self._database.run(work)

    async def find(self, fingerprint: bytes) -> Invitation | None:
        """See `contracts.Invitations`."""
        return await self._database.run(lambda connection: _found(connection, fingerprint))

    async def withdraw(self, key: str) -> bool:
        """See `contracts.Invitations`."""
        return await self._database.run(lambda connection: _WITHDRAW.change(connection, of=key) > 0)

    async def all(self) -> list[Invitation]:
        """See `contracts.Invitations`."""
        return [Invitation(**row) for row in await self._database.run(_LIST.rows)]

    async def forget(self, expired_by: datetime) -> None:
        """See `contracts.Invitations`."""
        await self._database.run(lambda connection: _FORGET.change(connection, at=expired_by))


def use_up(connection: Connection, fingerprint: bytes, name: Name, at: datetime, address: str) -> None:
    """Use an invitation up for `name`, in the transaction that adds the account.

    The write comes first, and locks the invitation: nobody else can use it before this transaction ends.

    Raises:
        InvitationRefused: it does not let the name register.
    """
    taken = _USE_UP.change(connection, sought=fingerprint, at=at, address=address) > 0
    found = _found(connection, fingerprint)
    if found is not None and taken:
        found = replace(found, used_at=None)  # not before this transaction
    elif found is not None and found.used_at is None:
        found = None  # made since the write, which did not lock it
    check_invitation(found, name, at)


def _found(connection: Connection, fingerprint: bytes) -> Invitation | None:
    row = _FIND.row(connection, sought=fingerprint)
    return Invitation(**row) if row else None
