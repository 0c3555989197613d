"""Registration: whether a server takes new names, how many, and with which invitation."""

import math
from collections.abc import Callable
from datetime import datetime

from antiphon.errors import RegistrationClosed, TryLater
from antiphon.identity.names import Name, prepare
from antiphon.server.auth.invitations import InvitationCheck
from antiphon.server.auth.proof import Passwords
from antiphon.server.listen.limits import HourlyLimit
from antiphon.store.contracts import Account, Accounts
from antiphon.wire.bodies import Register


class Registration:
    """New names of one server."""

    def __init__(
        self,
        accounts: Accounts,
        passwords: Passwords,
        invitations: InvitationCheck,
        limits: HourlyLimit,
        clock: Callable[[], datetime],
        *,
        is_open: bool,
    ) -> None:
        """Keep new accounts in `accounts`.

        Args:
            accounts: where accounts are kept.
            passwords: seals their verifiers.
            invitations: checks invitations; one is enough where registration is closed.
            limits: how many names are taken without an invitation.
            clock: wall time, UTC.
            is_open: whether names are taken without an invitation.
        """
        self._accounts = accounts
        self._passwords = passwords
        self._invitations = invitations
        self._limits = limits
        self._clock = clock
        self._is_open = is_open

    async def check(self, invitation: bytes, name: Name, host: str) -> None:
        """Check that an invitation shown from `host` lets `name` register now.

        Raises:
            InvitationRefused: it does not.
            TryLater: the store does not answer, or `host` has shown too many wrong invitations.
        """
        await self._invitations.check(invitation, name, host)

    async def is_free(self, name: Name, *, invited: bool) -> bool | None:
        """Return whether nobody has `name`; None if registration is closed to the client that asks (promise 5).

        Raises:
            TryLater: the store does not answer.
        """
        if not (self._is_open or invited):
            return None
        return await self._accounts.find(name.key) is None

    async def register(self, request: Register, host: str) -> Account:
        """Keep a new account.

        Raises:
            RegistrationClosed: new names are not taken without an invitation.
            NameInvalid, NameTaken: the name cannot be had.
            CredentialRefused: the verifier has other parameters than this server's.
            InvitationRefused: the invitation does not let this name register.
            TryLater: the store does not answer, or there are too many registrations.
        """
        invitation = request.invitation
        if not self._is_open and invitation is None:
            raise RegistrationClosed
        name = prepare(request.name)
        seal = self._passwords.sealer(request.credential)

        async def keep(mark: bytes | None = None) -> Account:
            kind, now = request.credential.type, self._clock()
            return await self._accounts.register(name, seal, kind, now, host, invitation=mark)

        if invitation is not None:
            async with self._invitations.looking(invitation, host) as mark:
                return await keep(mark)
        await self._count(host)
        return await keep()

    async def admit_new(self, host: str) -> None:
        """Count a name that needs no account, and is new at `host`, as one registration.

        Raises:
            RegistrationClosed: new names are not taken.
            TryLater: there are too many.
        """
        if not self._is_open:
            raise RegistrationClosed
        await self._count(host)

    async def _count(self, host: str) -> None:
        wait = await self._limits.count(host)
        if wait:
            raise TryLater(wait=math.ceil(wait))
