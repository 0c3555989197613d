"""Accounts in SQL."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, Integer, bindparam, delete, exists, func, insert, or_, select, union, update
from sqlalchemy.exc import IntegrityError

from antiphon.errors import NameTaken
from antiphon.identity.names import Name
from antiphon.store.contracts import Account, NewAccount, Overview, Visit
from antiphon.store.sql.engine import Database
from antiphon.store.sql.invitations import use_up
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
        CREDENTIALS.c.must_change,
        CREDENTIALS.c.expires_at,
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

_OVERVIEWS = (
    select(
        ACCOUNTS.c.id,
        ACCOUNTS.c.display.label("name"),
        ACCOUNTS.c.disabled,
        ACCOUNTS.c.registered_at,
        ACCOUNTS.c.registered_from,
        ACCOUNTS.c.visited_at,
        ACCOUNTS.c.visited_from,
        ACCOUNTS.c.refusals,
        CREDENTIALS.c.must_change,
        CREDENTIALS.c.expires_at,
    )
    .join_from(ACCOUNTS, CREDENTIALS)
    .order_by(ACCOUNTS.c.key)
)

_NEW_EPOCH = update(ACCOUNTS).where(ACCOUNTS.c.id == bindparam("account")).values(epoch=ACCOUNTS.c.epoch + 1)

_NEXT_EPOCH = _NEW_EPOCH.where(
    or_(bindparam("proved", type_=Integer).is_(None), ACCOUNTS.c.epoch == bindparam("proved"))
)

_SET_DISABLED = _NEW_EPOCH.where(ACCOUNTS.c.disabled != bindparam("wanted")).values(disabled=bindparam("wanted"))

_RENAME = _NEW_EPOCH.values(key=bindparam("new_key"), display=bindparam("new_display"))

_REPLACE = (
    update(CREDENTIALS)
    .where(CREDENTIALS.c.account_id == bindparam("account"), CREDENTIALS.c.type == bindparam("credential_type"))
    .values(data=bindparam("credential"), must_change=bindparam("change"), expires_at=None)
)

_NEXT = (
    select(ACCOUNTS.c.id)
    .where(ACCOUNTS.c.id > bindparam("after"))
    .order_by(ACCOUNTS.c.id)
    .limit(bindparam("most"))
)

_SEALED = (
    select(CREDENTIALS.c.account_id, CREDENTIALS.c.type, CREDENTIALS.c.data)
    .where(CREDENTIALS.c.account_id.in_(_NEXT))
    .order_by(CREDENTIALS.c.account_id)
)

_RESEAL = (
    update(CREDENTIALS)
    .where(CREDENTIALS.c.account_id == bindparam("account"), CREDENTIALS.c.type == bindparam("credential_type"))
    .values(data=bindparam("credential"))
)

_LOCK = update(ACCOUNTS).where(ACCOUNTS.c.id == 0).values(id=0)
"""Changes nothing and locks other writers out: what is read behind it is what is overwritten."""

_BEGINNING = func.substr(CREDENTIALS.c.data, 1, bindparam("size"))

_SPECIMENS = select(CREDENTIALS.c.account_id, CREDENTIALS.c.data).where(
    CREDENTIALS.c.account_id.in_(
        union(
            select(func.min(CREDENTIALS.c.account_id)).group_by(_BEGINNING),
            select(func.max(CREDENTIALS.c.account_id)).group_by(_BEGINNING),
        )
    )
)

_IMPORTS = select(exists().where(CREDENTIALS.c.expires_at > bindparam("at")))

_REMOVE = delete(ACCOUNTS).where(ACCOUNTS.c.id == bindparam("account"))


class SqlAccounts:
    """`contracts.Accounts` in a database."""

    def __init__(self, database: Database) -> None:
        """Keep accounts in a database that has the tables of `schema.ACCOUNTS_SCHEMA`."""
        self._database = database

    async def register(
        self,
        name: Name,
        seal: Callable[[int], bytes],
        credential_type: str,
        at: datetime,
        address: str,
        *,
        invitation: bytes | None = None,
    ) -> Account:
        """See `contracts.Accounts`."""
        new = NewAccount(name=name, seal=seal, credential_type=credential_type)

        def work(connection: Connection) -> Account:
            if invitation is not None:
                use_up(connection, invitation, name, at, address)
            return _add(connection, new, at, address)

        return await self._database.run(work)

    async def add(self, accounts: Sequence[NewAccount], at: datetime, address: str) -> list[Account]:
        """See `contracts.Accounts`."""
        return await self._database.run(
            lambda connection: [_add(connection, new, at, address) for new in accounts]
        )

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

    async def replace_credential(
        self,
        account_id: int,
        credential_type: str,
        seal: Callable[[int], bytes],
        *,
        must_change: bool = False,
        epoch: int | None = None,
    ) -> int | None:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> int | None:
            if not connection.execute(_NEXT_EPOCH, {"account": account_id, "proved": epoch}).rowcount:
                return None
            values = {
                "account": account_id,
                "credential_type": credential_type,
                "credential": seal(account_id),
                "change": must_change,
            }
            connection.execute(_REPLACE, values)
            return int(connection.execute(_EPOCH, {"account": account_id}).scalar_one())

        return await self._database.run(work)

    async def reseal(self, renew: Callable[[int, bytes], bytes], after: int, most: int) -> int | None:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> int | None:
            connection.execute(_LOCK)
            rows = connection.execute(_SEALED, {"after": after, "most": most}).all()
            renewed = [
                {"account": row.account_id, "credential_type": row.type, "credential": credential}
                for row in rows
                if (credential := renew(row.account_id, row.data)) != row.data
            ]
            if renewed:
                connection.execute(_RESEAL, renewed)
            return int(rows[-1].account_id) if rows else None

        return await self._database.run(work)

    async def specimens(self, size: int) -> list[tuple[int, bytes]]:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> list[tuple[int, bytes]]:
            return [(row.account_id, row.data) for row in connection.execute(_SPECIMENS, {"size": size})]

        return await self._database.run(work)

    async def imports(self, at: datetime) -> bool:
        """See `contracts.Accounts`."""
        return await self._database.run(lambda connection: bool(connection.scalar(_IMPORTS, {"at": at})))

    async def remove(self, account_id: int) -> None:
        """See `contracts.Accounts`."""
        await self._database.execute(_REMOVE, {"account": account_id})

    async def close(self) -> None:
        """See `contracts.Accounts`."""
        await self._database.close()


def _add(connection: Connection, new: NewAccount, at: datetime, address: str) -> Account:
    row = {"key": new.name.key, "display": new.name.display, "registered_at": at, "registered_from": address}
    try:
        added = connection.execute(_ADD_ACCOUNT, row).one()
    except IntegrityError:  # the key is all that must be unique
        raise NameTaken(name=new.name.display) from None
    credential = new.seal(added.id)
    row = {
        "account_id": added.id,
        "type": new.credential_type,
        "data": credential,
        "must_change": new.must_change,
        "expires_at": new.expires_at,
    }
    connection.execute(_ADD_CREDENTIAL, row)
    return Account(
        id=added.id,
        display=new.name.display,
        key=new.name.key,
        disabled=added.disabled,
        epoch=added.epoch,
        credential_type=new.credential_type,
        credential=credential,
        must_change=new.must_change,
        expires_at=new.expires_at,
    )
