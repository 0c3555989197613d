"""Accounts in SQL."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from antiphon.errors import NameTaken
from antiphon.identity.names import Name
from antiphon.store.contracts import Account, Overview, Visit
from antiphon.store.sql.engine import Database
from antiphon.store.sql.schema import ACCOUNTS, CREDENTIALS

_ADD_ACCOUNT = insert(ACCOUNTS).returning(ACCOUNTS.c.id, ACCOUNTS.c.disabled, ACCOUNTS.c.epoch)

_ADD_CREDENTIAL = insert(CREDENTIALS)

_FIND = (
    select(
        ACCOUNTS.c.id,
        ACCOUNTS.c.display,
        ACCOUNTS.c.key,
        ACCOUNTS.c.disabled,
        ACCOUNTS.c.epoch,
        CREDENTIALS.c.type.label("credential_type"),
        CREDENTIALS.c.data.label("credential"),
    )
    .join_from(ACCOUNTS, CREDENTIALS)
    .where(ACCOUNTS.c.key == bindparam("sought"))
)

_EPOCH = select(ACCOUNTS.c.epoch).where(ACCOUNTS.c.id == bindparam("account"))

_VISIT = (
    update(ACCOUNTS)
    .where(ACCOUNTS.c.id == bindparam("account"))
    .values(
        visited_at=bindparam("at"),
        visited_from=bindparam("address"),
        refusals=0,
        previous_at=ACCOUNTS.c.visited_at,
        previous_from=ACCOUNTS.c.visited_from,
        previous_refusals=ACCOUNTS.c.refusals,
    )
    .returning(ACCOUNTS.c.previous_at, ACCOUNTS.c.previous_from, ACCOUNTS.c.previous_refusals)
)

_REFUSE = update(ACCOUNTS).where(ACCOUNTS.c.id == bindparam("account")).values(refusals=ACCOUNTS.c.refusals + 1)

_OVERVIEWS = select(
    ACCOUNTS.c.id,
    ACCOUNTS.c.display.label("name"),
    ACCOUNTS.c.disabled,
    ACCOUNTS.c.registered_at,
    ACCOUNTS.c.registered_from,
    ACCOUNTS.c.visited_at,
    ACCOUNTS.c.visited_from,
    ACCOUNTS.c.refusals,
).order_by(ACCOUNTS.c.key)

_NEW_EPOCH = update(ACCOUNTS).where(ACCOUNTS.c.id == bindparam("account")).values(epoch=ACCOUNTS.c.epoch + 1)

_SET_DISABLED = _NEW_EPOCH.where(ACCOUNTS.c.disabled != bindparam("wanted")).values(disabled=bindparam("wanted"))

_RENAME = _NEW_EPOCH.values(key=bindparam("new_key"), display=bindparam("new_display"))

_REPLACE = (
    update(CREDENTIALS)
    .where(CREDENTIALS.c.account_id == bindparam("account"), CREDENTIALS.c.type == bindparam("credential_type"))
    .values(data=bindparam("credential"))
)

_REMOVE = delete(ACCOUNTS).where(ACCOUNTS.c.id == bindparam("account"))


class SqlAccounts:
    """`contracts.Accounts` in a database."""

    def __init__(self, database: Database) -> None:
        """Keep accounts in a database that has the tables of `schema.ACCOUNTS_SCHEMA`."""
        self._database = database

    async def register(
        self, name: Name, seal: Callable[[int], bytes], credential_type: str, at: datetime, address: str
    ) -> Account:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> Account:
            row = {"key": name.key, "display": name.display, "registered_at": at, "registered_from": address}
            try:
                added = connection.execute(_ADD_ACCOUNT, row).one()
            except IntegrityError:  # the key is all that must be unique
                raise NameTaken(name=name.display) from None
            credential = seal(added.id)
            row = {"account_id": added.id, "type": credential_type, "data": credential}
            connection.execute(_ADD_CREDENTIAL, row)
            return Account(
                id=added.id,
                display=name.display,
                key=name.key,
                disabled=added.disabled,
                epoch=added.epoch,
                credential_type=credential_type,
                credential=credential,
            )

        return await self._database.run(work)

    async def find(self, key: str) -> Account | None:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> Account | None:
            row = connection.execute(_FIND, {"sought": key}).mappings().one_or_none()
            return Account(**row) if row else None

        return await self._database.run(work)

    async def epoch(self, account_id: int) -> int | None:
        """See `contracts.Accounts`."""
        return await self._database.run(lambda connection: connection.scalar(_EPOCH, {"account": account_id}))

    async def visited(self, account_id: int, at: datetime, address: str) -> Visit | None:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> Visit | None:
            values = {"account": account_id, "at": at, "address": address}
            row = connection.execute(_VISIT, values).one()  # an account that is gone signs nobody in
            if row.previous_at is None:
                return None
            return Visit(at=row.previous_at, address=row.previous_from, refusals=row.previous_refusals)

        return await self._database.run(work)

    async def refused(self, account_id: int) -> None:
        """See `contracts.Accounts`."""
        await self._database.execute(_REFUSE, {"account": account_id})

    async def overviews(self) -> list[Overview]:
        """See `contracts.Accounts`."""
        return await self._database.run(
            lambda connection: [Overview(**row) for row in connection.execute(_OVERVIEWS).mappings()]
        )

    async def set_disabled(self, account_id: int, *, disabled: bool) -> bool:
        """See `contracts.Accounts`."""
        values = {"account": account_id, "wanted": disabled}
        return await self._database.run(lambda connection: connection.execute(_SET_DISABLED, values).rowcount > 0)

    async def rename(self, account_id: int, name: Name) -> None:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> None:
            values = {"account": account_id, "new_key": name.key, "new_display": name.display}
            try:
                connection.execute(_RENAME, values)
            except IntegrityError:  # the key is all that must be unique
                raise NameTaken(name=name.display) from None

        await self._database.run(work)

    async def replace_credential(self, account_id: int, credential_type: str, credential: bytes) -> None:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> None:
            connection.execute(_NEW_EPOCH, {"account": account_id})
            values = {"account": account_id, "credential_type": credential_type, "credential": credential}
            connection.execute(_REPLACE, values)

        await self._database.run(work)

    async def remove(self, account_id: int) -> None:
        """See `contracts.Accounts`."""
        await self._database.execute(_REMOVE, {"account": account_id})

    async def close(self) -> None:
        """See `contracts.Accounts`."""
        await self._database.close()
