"""Accounts in SQL."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Integer, bindparam, delete, exists, func, insert, select, union, update

from antiphon.errors import NameTaken, SignInRefused
from antiphon.identity.names import Name
from antiphon.store.contracts import Account, NewAccount, Overview, Resealed, Seal, Visit
from antiphon.store.sql.database import Connection, Database, Lock
from antiphon.store.sql.invitations import use_up
from antiphon.store.sql.processes import sealing_key
from antiphon.store.sql.schema import ACCOUNTS, CREDENTIALS
from antiphon.store.sql.statement import Statement

_ADD_ACCOUNT = Statement(
    lambda insert: (
        insert(ACCOUNTS)
        .values(disabled=False, epoch=0, refusals=0)
        .on_conflict_do_nothing(index_elements=[ACCOUNTS.c.key])
        .returning(ACCOUNTS.c.id, ACCOUNTS.c.disabled, ACCOUNTS.c.epoch)
    ),
    "key",
    "display",
    "registered_at",
    "registered_from",
)

_ADD_CREDENTIAL = Statement(
    insert(CREDENTIALS), "account_id", "type", "data", "must_change", "expires_at", "old_form"
)

_BEFORE = ACCOUNTS.alias()

_FIND = Statement(
    select(
        ACCOUNTS.c.id,
        ACCOUNTS.c.display,
        ACCOUNTS.c.key,
        ACCOUNTS.c.disabled,
        ACCOUNTS.c.epoch,
        ACCOUNTS.c.administrator,
        CREDENTIALS.c.type.label("credential_type"),
        CREDENTIALS.c.data.label("credential"),
        CREDENTIALS.c.must_change,
        CREDENTIALS.c.expires_at,
    )
    .join_from(ACCOUNTS, CREDENTIALS)
    .where(
        ACCOUNTS.c.key
        == func.coalesce(
            select(func.max(_BEFORE.c.key)).where(_BEFORE.c.key <= bindparam("sought")).scalar_subquery(),
            select(func.max(_BEFORE.c.key)).scalar_subquery(),
        )
    )
)
"""The account with the key, or else another one near it: a row is read and built for every name (promise 5)."""

_EPOCH = Statement(select(ACCOUNTS.c.epoch).where(ACCOUNTS.c.id == bindparam("account")))

_VISIT = Statement(
    update(ACCOUNTS)
    .where(ACCOUNTS.c.id == bindparam("account"), ACCOUNTS.c.epoch == bindparam("proved"))
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

_OVERVIEWS = Statement(
    select(
        ACCOUNTS.c.id,
        ACCOUNTS.c.display.label("name"),
        ACCOUNTS.c.key,
        ACCOUNTS.c.disabled,
        ACCOUNTS.c.registered_at,
        ACCOUNTS.c.registered_from,
        ACCOUNTS.c.visited_at,
        ACCOUNTS.c.visited_from,
        ACCOUNTS.c.refusals,
        ACCOUNTS.c.administrator,
        CREDENTIALS.c.must_change,
        CREDENTIALS.c.expires_at,
    )
    .join_from(ACCOUNTS, CREDENTIALS)
    .order_by(ACCOUNTS.c.key)
)

_NEW_EPOCH = update(ACCOUNTS).where(ACCOUNTS.c.id == bindparam("account")).values(epoch=ACCOUNTS.c.epoch + 1)

_NEXT_EPOCH = Statement(
    _NEW_EPOCH.where(ACCOUNTS.c.epoch == func.coalesce(bindparam("proved", type_=Integer), ACCOUNTS.c.epoch))
)
"""In any epoch if none is proved. PostgreSQL finds no type for a bare `:proved IS NULL`."""

_SET_DISABLED = Statement(
    _NEW_EPOCH.where(ACCOUNTS.c.disabled != bindparam("wanted")).values(disabled=bindparam("wanted"))
)

_SET_ADMINISTRATOR = Statement(
    update(ACCOUNTS)
    .where(ACCOUNTS.c.id == bindparam("account"), ACCOUNTS.c.administrator != bindparam("wanted"))
    .values(administrator=bindparam("wanted"))
)

_OTHER = ACCOUNTS.alias()

_RENAME = Statement(
    _NEW_EPOCH.where(
        ~exists().where(_OTHER.c.key == bindparam("new_key"), _OTHER.c.id != bindparam("account"))
    ).values(key=bindparam("new_key"), display=bindparam("new_display"))
)

_REPLACE = Statement(
    update(CREDENTIALS)
    .where(CREDENTIALS.c.account_id == bindparam("account"), CREDENTIALS.c.type == bindparam("credential_type"))
    .values(data=bindparam("credential"), must_change=bindparam("change"), expires_at=None, old_form=None)
)

_NEXT = (
    select(ACCOUNTS.c.id)
    .where(ACCOUNTS.c.id > bindparam("after"))
    .order_by(ACCOUNTS.c.id)
    .limit(bindparam("most", type_=Integer))
)

_SEALED = Statement(
    select(CREDENTIALS.c.account_id, CREDENTIALS.c.type, CREDENTIALS.c.data)
    .where(CREDENTIALS.c.account_id.in_(_NEXT))
    .order_by(CREDENTIALS.c.account_id)
)

_RESEAL = Statement(
    update(CREDENTIALS)
    .where(CREDENTIALS.c.account_id == bindparam("account"), CREDENTIALS.c.type == bindparam("credential_type"))
    .values(data=bindparam("credential"))
)

_BEGINNING = func.substr(CREDENTIALS.c.data, 1, bindparam("size", type_=Integer))

_SPECIMENS = Statement(
    select(CREDENTIALS.c.account_id, CREDENTIALS.c.data).where(
        CREDENTIALS.c.account_id.in_(
            union(
                select(func.min(CREDENTIALS.c.account_id)).group_by(_BEGINNING),
                select(func.max(CREDENTIALS.c.account_id)).group_by(_BEGINNING),
            )
        )
    )
)

_OLD_FORMS = Statement(
    select(CREDENTIALS.c.old_form)
    .where(CREDENTIALS.c.expires_at > bindparam("at"), CREDENTIALS.c.old_form.is_not(None))
    .distinct()
    .order_by(CREDENTIALS.c.old_form)
)

_REMOVE = Statement(delete(ACCOUNTS).where(ACCOUNTS.c.id == bindparam("account")))


class SqlAccounts:
    """`contracts.Accounts` in a database."""

    def __init__(self, database: Database, *, shared: bool = False) -> None:
        """Keep accounts in a database that has the tables of `schema.ACCOUNTS_SCHEMA`.

        With `shared`, it has those of `schema.SHARED_SCHEMA` too, which name the key that seals.
        """
        self._database = database
        self._shared = shared

    async def register(
        self,
        name: Name,
        seal: Seal,
        credential_type: str,
        at: datetime,
        address: str,
        *,
        invitation: bytes | None = None,
    ) -> Account:
        """See `contracts.Accounts`."""
        new = NewAccount(name=name, seal=seal, credential_type=credential_type)

        def work(connection: Connection) -> Account:
            key = self._key(connection)
            if invitation is not None:
                use_up(connection, invitation, name, at, address)
            return _add(connection, new, key, at, address)

        return await self._database.run(work)

    async def add(self, accounts: Sequence[NewAccount], at: datetime, address: str) -> list[Account]:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> list[Account]:
            key = self._key(connection)
            return [_add(connection, new, key, at, address) for new in accounts]

        return await self._database.run(work)

    async def find(self, key: str) -> Account | None:
        """See `contracts.Accounts`."""
        row = await self._database.run(lambda connection: _FIND.row(connection, sought=key))
        nearest = Account(**row) if row else None
        return nearest if nearest is not None and nearest.key == key else None

    async def visited(self, account: Account, at: datetime, address: str) -> Visit | None:
        """See `contracts.Accounts`."""
        row = await self._database.run(
            lambda connection: _VISIT.row(
                connection, account=account.id, proved=account.epoch, at=at, address=address
            )
        )
        if row is None:
            raise SignInRefused
        if row["previous_at"] is None:
            return None
        return Visit(at=row["previous_at"], address=row["previous_from"], refusals=row["previous_refusals"])

    async def overviews(self) -> list[Overview]:
        """See `contracts.Accounts`."""
        return [Overview(**row) for row in await self._database.run(_OVERVIEWS.rows)]

    async def set_disabled(self, account_id: int, *, disabled: bool) -> bool:
        """See `contracts.Accounts`."""
        return await self._database.run(
            lambda connection: _SET_DISABLED.change(connection, account=account_id, wanted=disabled) > 0
        )

    async def set_administrator(self, account_id: int, *, administrator: bool) -> bool:
        """See `contracts.Accounts`."""
        return await self._database.run(
            lambda connection: _SET_ADMINISTRATOR.change(connection, account=account_id, wanted=administrator) > 0
        )

    async def rename(self, account_id: int, name: Name) -> None:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> None:
            renamed = _RENAME.change(connection, account=account_id, new_key=name.key, new_display=name.display)
            if not renamed and _EPOCH.value(connection, account=account_id) is not None:
                raise NameTaken(name=name.display)

        await self._database.run(work)

    async def replace_credential(
        self,
        account_id: int,
        credential_type: str,
        seal: Seal,
        *,
        must_change: bool = False,
        epoch: int | None = None,
    ) -> int | None:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> int | None:
            key = self._key(connection)
            if not _NEXT_EPOCH.change(connection, account=account_id, proved=epoch):
                return None
            _REPLACE.change(
                connection,
                account=account_id,
                credential_type=credential_type,
                credential=seal(account_id, key),
                change=must_change,
            )
            return int(_EPOCH.value(connection, account=account_id))

        return await self._database.run(work)

    async def reseal(self, renew: Callable[[int, bytes], bytes], after: int, most: int) -> Resealed:
        """See `contracts.Accounts`."""

        def work(connection: Connection) -> Resealed:
            connection.lock(Lock.SEALING)
            rows = _SEALED.rows(connection, after=after, most=most)
            renewed = [
                {"account": row["account_id"], "credential_type": row["type"], "credential": credential}
                for row in rows
                if (credential := renew(row["account_id"], row["data"])) != row["data"]
            ]
            _RESEAL.change_each(connection, renewed)
            return Resealed(rows[-1]["account_id"] if rows else None, len(renewed))

        return await self._database.run(work)

    async def specimens(self, size: int) -> list[tuple[int, bytes]]:
        """See `contracts.Accounts`."""
        rows = await self._database.run(lambda connection: _SPECIMENS.rows(connection, size=size))
        return [(row["account_id"], row["data"]) for row in rows]

    async def old_forms(self, at: datetime) -> list[str]:
        """See `contracts.Accounts`."""
        rows = await self._database.run(lambda connection: _OLD_FORMS.rows(connection, at=at))
        return [row["old_form"] for row in rows]

    async def remove(self, account_id: int) -> None:
        """See `contracts.Accounts`."""
        await self._database.run(lambda connection: _REMOVE.change(connection, account=account_id))

    def _key(self, connection: Connection) -> str | None:
        """Have no key be changed until the transaction ends; return the mark of the one that seals."""
        connection.lock(Lock.SEALING, shared=True)
        return sealing_key(connection) if self._shared else None


def _add(connection: Connection, new: NewAccount, key: str | None, at: datetime, address: str) -> Account:
    row = {"key": new.name.key, "display": new.name.display, "registered_at": at, "registered_from": address}
    added = _ADD_ACCOUNT.row(connection, **row)
    if added is None:
        raise NameTaken(name=new.name.display)
    credential = new.seal(added["id"], key)
    _ADD_CREDENTIAL.change(
        connection,
        account_id=added["id"],
        type=new.credential_type,
        data=credential,
        must_change=new.must_change,
        expires_at=new.expires_at,
        old_form=new.old_form,
    )
    return Account(
        id=added["id"],
        display=new.name.display,
        key=new.name.key,
        disabled=added["disabled"],
        epoch=added["epoch"],
        credential_type=new.credential_type,
        credential=credential,
        must_change=new.must_change,
        expires_at=new.expires_at,
    )
