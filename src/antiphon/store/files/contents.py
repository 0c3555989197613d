"""Contents of a store of files, for a database."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from antiphon.store.contents import Contents, Row
from antiphon.store.files.account_rows import ACCOUNTS, AccountRow
from antiphon.store.files.accounts import ACCOUNTS_FILE
from antiphon.store.files.clients import CLIENTS, CLIENTS_FILE
from antiphon.store.files.invitations import INVITATIONS, INVITATIONS_FILE
from antiphon.store.files.layout import Layout
from antiphon.store.files.numbers import NUMBERS, NUMBERS_FILE

Line = TypeVar("Line")
_TABLES = {ACCOUNTS_FILE: "accounts", INVITATIONS_FILE: "invitations"}
"""Tables whose rows have numbers, by the file that they stand in."""


def contents_of_files(folder: Path) -> Contents:
    """Return the contents of the files of a store in `folder`, of which nobody else knows.

    Raises:
        RowInvalid: a row cannot be read.
        OSError: a file cannot be read.
    """
    accounts = _rows(folder / ACCOUNTS_FILE, ACCOUNTS)
    invitations = _rows(folder / INVITATIONS_FILE, INVITATIONS)
    clients = _rows(folder / CLIENTS_FILE, CLIENTS)
    numbers = {
        "accounts": [each.number for each in accounts],
        "invitations": [each.number for each in invitations],
    }
    for given in _rows(folder / NUMBERS_FILE, NUMBERS):
        if given.file in _TABLES:
            numbers[_TABLES[given.file]].append(given.highest)

    def rows() -> Iterator[tuple[str, Row]]:
        yield from (("accounts", _account(each)) for each in accounts)
        yield from (("credentials", _credential(each)) for each in accounts)
        yield from (("clients", asdict(each.client())) for each in clients)
        yield from (("invitations", asdict(each.invitation())) for each in invitations)

    return Contents(
        rows=rows(),
        size=2 * len(accounts) + len(clients) + len(invitations),
        numbers={name: max(given, default=0) for name, given in numbers.items()},
    )


def _rows(path: Path, layout: Layout[Line]) -> list[Line]:
    return layout.parse(path, path.read_bytes())


def _account(row: AccountRow) -> Row:
    return {
        "id": row.number,
        "key": row.name.key,
        "display": row.name.display,
        "disabled": row.disabled,
        "epoch": row.epoch,
        "registered_at": row.registered_at,
        "registered_from": row.registered_from,
        "visited_at": row.visited_at,
        "visited_from": row.visited_from,
        "refusals": row.refusals,
        "previous_at": None,
        "previous_from": None,
        "previous_refusals": None,
        "administrator": row.administrator,
    }


def _credential(row: AccountRow) -> Row:
    return {
        "account_id": row.number,
        "type": row.credential_type,
        "data": row.credential,
        "must_change": row.must_change,
        "expires_at": row.expires_at,
        "old_form": row.old_form,
    }
