"""Invitations in a file, `invitations.csv`, which holds only the keyed hash of a code."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from antiphon.identity.names import Name
from antiphon.store.contracts import Invitation, check_invitation
from antiphon.store.files.layout import BYTES, MOMENT, MOMENT_OR_NONE, NAME, NUMBER, TEXT, TEXT_OR_NONE, Layout
from antiphon.store.files.numbers import Numbers
from antiphon.store.files.sheet import Sheet, WriteLock
from antiphon.store.thread import StoreThread

INVITATIONS_FILE = "invitations.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class InvitationRow:
    """A row of the file."""

    name: Name
    number: int
    made_at: datetime
    made_by: str
    expires_at: datetime
    used_at: datetime | None = None
    used_from: str | None = None
    fingerprint: bytes = field(repr=False)

    def invitation(self) -> Invitation:
        """Return the invitation as the contract gives it."""
        return Invitation(
            id=self.number,
            fingerprint=self.fingerprint,
            display=self.name.display,
            key=self.name.key,
            made_at=self.made_at,
            made_by=self.made_by,
            expires_at=self.expires_at,
            used_at=self.used_at,
            used_from=self.used_from,
        )


INVITATIONS = Layout(
    row=InvitationRow,
    columns={
        "name": NAME,
        "number": NUMBER,
        "made_at": MOMENT,
        "made_by": TEXT,
        "expires_at": MOMENT,
        "used_at": MOMENT_OR_NONE,
        "used_from": TEXT_OR_NONE,
        "fingerprint": BYTES,
    },
    unique={"number": lambda row: row.number, "fingerprint": lambda row: row.fingerprint},
)


class FilesInvitations:
    """`contracts.Invitations` in a file."""

    def __init__(self, thread: StoreThread, lock: WriteLock, path: Path, numbers: Numbers) -> None:
        """Keep invitations in the file `path`."""
        self._thread = thread
        self._lock = lock
        self._sheet = Sheet(path, INVITATIONS, lock)
        self._numbers = numbers

    def make(self) -> None:
        """Make the file ready; see `Sheet.make`."""
        self._sheet.make()

    def check(self, fingerprint: bytes, name: Name, at: datetime) -> None:
        """Check that an invitation lets `name` register; the caller holds the lock.

        Raises:
            InvitationRefused: it does not.
        """
        found = [row.invitation() for row in self._sheet.rows() if row.fingerprint == fingerprint]
        check_invitation(found[0] if found else None, name, at)

    def use_up(self, fingerprint: bytes, at: datetime, address: str) -> None:
        """Record that an invitation was used; the caller holds the lock.

        Call it after the account is written: a crash between the two leaves an invitation for a name that is
        taken, not a user without account and invitation.
        """

        def noted(row: InvitationRow) -> InvitationRow:
            return replace(row, used_at=at, used_from=address) if row.fingerprint == fingerprint else row

        self._sheet.write([noted(row) for row in self._sheet.rows()])

    async def invite(
        self, fingerprint: bytes, name: Name, at: datetime, expires_at: datetime, by: str
    ) -> Invitation:
        """See `contracts.Invitations`."""

        def work() -> Invitation:
            with self._lock.held():
                rows = self._sheet.rows()
                number = self._numbers.highest(INVITATIONS_FILE, (row.number for row in rows)) + 1
                new = InvitationRow(
                    name=name,
                    number=number,
                    made_at=at,
                    made_by=by,
                    expires_at=expires_at,
                    fingerprint=fingerprint,
                )
                self._numbers.keep(INVITATIONS_FILE, number)
                self._sheet.write([*(row for row in rows if not _unused(row, name.key)), new])
                return new.invitation()

        return await self._thread.run(work)

    async def find(self, fingerprint: bytes) -> Invitation | None:
        """See `contracts.Invitations`."""
        return next((each for each in await self.all() if each.fingerprint == fingerprint), None)

    async def withdraw(self, key: str) -> bool:
        """See `contracts.Invitations`."""
        return await self._thread.run(lambda: self._keep(lambda row: not _unused(row, key)))

    async def all(self) -> list[Invitation]:
        """See `contracts.Invitations`."""
        rows = await self._thread.run(self._sheet.rows)
        return [row.invitation() for row in sorted(rows, key=lambda row: row.number)]

    async def forget(self, expired_by: datetime) -> None:
        """See `contracts.Invitations`."""
        await self._thread.run(lambda: self._keep(lambda row: row.expires_at > expired_by))

    def _keep(self, stays: Callable[[InvitationRow], bool]) -> bool:
        """Delete the rows that do not stay; return whether there were any."""
        with self._lock.held():
            before = self._sheet.rows()
            rows = [row for row in before if stays(row)]
            if rows != before:
                self._sheet.write(rows)
            return rows != before


def _unused(row: InvitationRow, key: str) -> bool:
    return row.name.key == key and row.used_at is None
