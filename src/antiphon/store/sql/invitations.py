"""Invitations in SQL."""

from dataclasses import fields, replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from antiphon.identity.names import Name
from antiphon.store.contracts import Invitation, check_invitation
from antiphon.store.sql.engine import Database
from antiphon.store.sql.schema import INVITATIONS

_COLUMNS = [INVITATIONS.c[field.name] for field in fields(Invitation)]
"""A record's fields and a row's columns have the same names."""

_WITHDRAW = delete(INVITATIONS).where(INVITATIONS.c.key == bindparam("of"), INVITATIONS.c.used_at.is_(None))
_INVITE = insert(INVITATIONS).returning(*_COLUMNS)
_FIND = select(*_COLUMNS).where(INVITATIONS.c.fingerprint == bindparam("sought"))
_LIST = select(*_COLUMNS).order_by(INVITATIONS.c.id)
_FORGET = delete(INVITATIONS).where(INVITATIONS.c.expires_at <= bindparam("at"))
_USE_UP = (
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
            connection.execute(_WITHDRAW, {"of": name.key})
            return Invitation(**connection.execute(_INVITE, row).mappings().one())

        return await self._database.run(work)

    async def find(self, fingerprint: bytes) -> Invitation | None:
        """See `contracts.Invitations`."""
        return await self._database.run(lambda connection: _found(connection, fingerprint))

    async def withdraw(self, key: str) -> bool:
        """See `contracts.Invitations`."""
        return await self._database.run(lambda connection: connection.execute(_WITHDRAW, {"of": key}).rowcount > 0)

    async def all(self) -> list[Invitation]:
        """See `contracts.Invitations`."""
        return await self._database.run(
            lambda connection: [Invitation(**row) for row in connection.execute(_LIST).mappings()]
        )

    async def forget(self, expired_by: datetime) -> None:
        """See `contracts.Invitations`."""
        await self._database.execute(_FORGET, {"at": expired_by})

    async def close(self) -> None:
        """See `contracts.Invitations`."""
        await self._database.close()


def use_up(connection: Connection, fingerprint: bytes, name: Name, at: datetime, address: str) -> None:
    """Use an invitation up for `name`; inside the transaction in which its account is made.

    The write comes first, so that no other process has the invitation between the look and the use.

    Raises:
        InvitationRefused: it does not let the name register.
    """
    taken = connection.execute(_USE_UP, {"sought": fingerprint, "at": at, "address": address}).rowcount > 0
    found = _found(connection, fingerprint)
    if found is not None and taken:
        found = replace(found, used_at=None)  # by nobody before us
    check_invitation(found, name, at)


def _found(connection: Connection, fingerprint: bytes) -> Invitation | None:
    row = connection.execute(_FIND, {"sought": fingerprint}).mappings().one_or_none()
    return Invitation(**row) if row else None
