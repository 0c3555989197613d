"""Rows of `accounts.csv`: their columns, and how an account becomes a row."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from antiphon.identity.names import Name
from antiphon.identity.old_forms import read_form
from antiphon.store.contracts import Account, NewAccount, Overview
from antiphon.store.files.layout import (
    BYTES,
    FLAG,
    MOMENT,
    MOMENT_OR_NONE,
    NAME,
    NUMBER,
    TEXT,
    TEXT_OR_NONE,
    Kind,
    Layout,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountRow:
    """A row of the file."""

    name: Name
    number: int
    disabled: bool = False
    administrator: bool = False
    must_change: bool
    expires_at: datetime | None
    old_form: str | None = None
    registered_at: datetime
    registered_from: str
    visited_at: datetime | None = None
    visited_from: str | None = None
    refusals: int = 0
    epoch: int
    credential_type: str
    credential: bytes = field(repr=False)

    def account(self) -> Account:
        """Return the account as the contract gives it."""
        return Account(
            id=self.number,
            display=self.name.display,
            key=self.name.key,
            disabled=self.disabled,
            epoch=self.epoch,
            credential_type=self.credential_type,
            credential=self.credential,
            must_change=self.must_change,
            expires_at=self.expires_at,
            administrator=self.administrator,
        )

    def overview(self) -> Overview:
        """Return the account as operators see it."""
        return Overview(
            id=self.number,
            name=self.name.display,
            key=self.name.key,
            disabled=self.disabled,
            registered_at=self.registered_at,
            registered_from=self.registered_from,
            visited_at=self.visited_at,
            visited_from=self.visited_from,
            refusals=self.refusals,
            must_change=self.must_change,
            expires_at=self.expires_at,
            administrator=self.administrator,
        )


def _old_form(text: str) -> str | None:
    if text and read_form(text) is None:
        raise ValueError
    return text or None


_OLD_FORM = Kind(lambda form: form or "", _old_form)

ACCOUNTS = Layout(
    row=AccountRow,
    columns={
        "name": NAME,
        "number": NUMBER,
        "disabled": FLAG,
        "administrator": FLAG,
        "must_change": FLAG,
        "expires_at": MOMENT_OR_NONE,
        "old_form": _OLD_FORM,
        "registered_at": MOMENT,
        "registered_from": TEXT,
        "visited_at": MOMENT_OR_NONE,
        "visited_from": TEXT_OR_NONE,
        "refusals": NUMBER,
        "epoch": NUMBER,
        "credential_type": TEXT,
        "credential": BYTES,
    },
    unique={"name": lambda row: row.name.key, "number": lambda row: row.number},
    later={
        "old_form": lambda values: "md5" if values["expires_at"] else None,  # there was no other form before
        "administrator": lambda _: False,
    },
)


def new_row(new: NewAccount, number: int, at: datetime, address: str) -> AccountRow:
    """Return the row of a new account, with a sealed credential."""
    return AccountRow(
        name=new.name,
        number=number,
        must_change=new.must_change,
        expires_at=new.expires_at,
        old_form=new.old_form,
        registered_at=at,
        registered_from=address,
        # Random, so that no session fits that was opened for another account with this number: an account of
        # SQLite in the same data folder, or of a file that was thrown away.
        epoch=secrets.randbelow(2**31),
        credential_type=new.credential_type,
        credential=new.seal(number, None),
    )
