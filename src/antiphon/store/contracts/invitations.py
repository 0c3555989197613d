"""Contract of the invitations store: rights to register one name, once, where registration is closed.

A store reads no clock: the caller passes times, which have a time zone, and decides what has expired.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from antiphon.errors import InvitationExpired, InvitationForAnother, InvitationRefused, InvitationUsed
from antiphon.identity.names import Name


@dataclass(frozen=True, kw_only=True, slots=True)
class Invitation:
    """A right to register a name, once."""

    id: int
    """at least 1, never given again"""
    fingerprint: bytes = field(repr=False)
    """keyed hash of the code, by which the invitation is found"""
    display: str
    """the name that it invites, as typed"""
    key: str
    """the name, case-mapped"""
    made_at: datetime
    made_by: str
    """the operator, for the log"""
    expires_at: datetime
    used_at: datetime | None
    used_from: str | None


def check_invitation(invitation: Invitation | None, name: Name, at: datetime) -> None:
    """Check that an invitation lets `name` register at the time `at`; None stands for an unknown invitation.

    Raises:
        InvitationRefused: it does not; the subclass says why.
    """
    if invitation is None:
        raise InvitationRefused
    if invitation.key != name.key:
        raise InvitationForAnother(name=name.display)
    if invitation.used_at is not None:
        raise InvitationUsed
    if invitation.expires_at <= at:
        raise InvitationExpired


class Invitations(Protocol):
    """Invitations by the fingerprint of their code. What a method has done survives a crash once it has returned.

    `Accounts.register` uses an invitation up, in the transaction that adds the account. Every method raises
    `TryLater` when the store cannot do its work.
    """

    async def invite(
        self, fingerprint: bytes, name: Name, at: datetime, expires_at: datetime, by: str
    ) -> Invitation:
        """Add an invitation, and delete an earlier unused one for the same name."""

    async def find(self, fingerprint: bytes) -> Invitation | None:
        """Return an invitation, also if it is used or expired."""

    async def withdraw(self, key: str) -> bool:
        """Delete the unused invitation of the name with this key; return whether there was one."""

    async def all(self) -> list[Invitation]:
        """Return all invitations, the oldest first."""

    async def forget(self, expired_by: datetime) -> None:
        """Delete the invitations that had expired by then, used ones too."""
