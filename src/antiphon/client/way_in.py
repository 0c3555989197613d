"""A program's way in: with what it was given, and nothing that anybody would have to be asked for.

Both clients walk it: `entry.py` in asyncio, `blocking_entry.py` without.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from antiphon.address import Address
from antiphon.blocklist import common_passwords
from antiphon.client.reach import Reached
from antiphon.client.steps import Steps
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import (
    InputMissing,
    InvitationUsed,
    NameAmbiguous,
    PasswordDue,
    PasswordInvalid,
    PasswordNotAsked,
    Problem,
    RegistrationClosed,
    ServerKeyUnknown,
    SignInRefused,
    UsageError,
)
from antiphon.identity.invitations import Code, Secret, read_place
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password, check
from antiphon.language import N_
from antiphon.settings import ClientSettings
from antiphon.wire.bodies import Welcome

_NAME = Problem(N_("The name"))
_HOW_NAME = Problem(N_("name=, or name@host in the address"))
_PASSWORD = Problem(N_("The password"))
_HOW_PASSWORD = Problem(N_("password="))
_ANOTHER_NAME = Problem(N_("The invitation is for “{invited}”, and not for “{name}”."))

Result = TypeVar("Result")
Line = TypeVar("Line")


class WayIn(ABC, Generic[Line]):
    """One program's way in; `enter` walks it."""

    def __init__(
        self,
        place: str | Address | Code,
        settings: ClientSettings,
        password: str | Password | Callable[[], Any] | None,
    ) -> None:
        """Go to `place` with what is given.

        Raises:
            UsageError: the place or the name cannot be used.
        """
        if isinstance(place, str):
            place = read_place(place)
        self._invitation: Secret | None = None
        if isinstance(place, Code):
            check_name(place, settings.name)
            self._invitation, place = place.secret, place.address
        self.address = place
        self.known = KnownServers(settings.known_servers)
        self._settings = settings
        name = settings.name or place.name
        self._name = None if name is None else prepare(name).display
        self._password = password
        self._reached: Reached[Line] | None = None
        self._used: InvitationUsed | None = None

    @abstractmethod
    async def _dial(self) -> Reached[Line]:
        """Return a new connection."""

    @abstractmethod
    def _steps(self, reached: Reached[Line]) -> Steps:
        """Return the way in on a connection."""

    @abstractmethod
    async def _part(self, connection: Line, *, in_session: bool) -> None:
        """Say goodbye on a connection; where it is in session, the session is to end."""

    @abstractmethod
    def _abort(self, connection: Line) -> None:
        """Close a connection at once."""

    @abstractmethod
    async def _ask(self, question: Callable[[], Any]) -> str | Password:
        """Return what `question` says."""

    async def enter(self) -> tuple[Reached[Line], Welcome]:
        """Return a connection with an open session, and what the server said at the door.

        Raises:
            AntiphonError: whatever stands in the way, said by its class.
        """
        try:
            hello = (await self._reach()).hello
            welcome = await (self._prove() if hello.access == "authenticate" else self._introduce())
            reached = await self._reach()
            await self._check_not_due(reached, welcome)
        except BaseException:
            if self._reached is not None:
                self._abort(self._reached.connection)
            raise
        return reached, welcome

    async def _reach(self) -> Reached[Line]:
        """Return the connection; dial if there is none."""
        if self._reached is None:
            reached = await self._dial()
            if reached.standing is Standing.UNKNOWN:
                self._abort(reached.connection)
                raise ServerKeyUnknown(host=self.address.host, fingerprint=reached.fingerprint)
            self._reached = reached
        return self._reached

    async def _check_not_due(self, reached: Reached[Line], welcome: Welcome) -> None:
        """Leave a session in which nothing can be said before a new password is chosen: here nobody chooses."""
        if welcome.must_change:
            await self._part(reached.connection, in_session=True)
            raise PasswordDue

    async def _hang_up(self) -> None:
        if self._reached is not None:
            await self._part(self._reached.connection, in_session=False)
            self._reached = None

    # --- with a proof -----------------------------------------------------------------------------------------

    async def _prove(self) -> Welcome:
        name = self._name
        if name is None:
            raise InputMissing(what=_NAME, how=_HOW_NAME)
        if self._password is None:
            raise InputMissing(what=_PASSWORD, how=_HOW_PASSWORD)
        new = await self._is_new(name)
        password = await self._secret(self._password)
        if new:
            reached = await self._reach()
            check(password.text, reached.hello.password_minimum, name=name, common=common_passwords())
            await self._steps(reached).register(name, password, self._invitation)
            return await self._authenticate(name, password)
        from antiphon.identity.legacy import old_forms  # noqa: PLC0415 - it holds the readers of old files, too

        try:
            forms = [password, *old_forms(password)]
            prove = partial(self._authenticate, name)
            return await in_any_form(password, forms, self._reach, self._hang_up, prove)
        except SignInRefused as error:
            raise error from self._used

    async def _is_new(self, name: str) -> bool:
        """Return whether the name is to be registered."""
        reached = await self._reach()
        if self._invitation is not None:
            try:
                return bool((await self._steps(reached).identify(name, self._invitation)).free)
            except InvitationUsed as error:  # perhaps by this program, at its last run
                self._used = error
                return False
        if not self._settings.register:
            return False
        if not reached.hello.registration:
            raise RegistrationClosed
        return bool((await self._steps(reached).identify(name)).free)

    async def _secret(self, password: str | Password | Callable[[], Any]) -> Password:
        """Return the password; no connection is held while somebody is asked for it."""
        if not isinstance(password, str | Password):
            await self._hang_up()
            password = await self._ask(password)
        return password if isinstance(password, Password) else Password(password)

    async def _authenticate(self, name: str, password: Password) -> Welcome:
        return await self._steps(await self._reach()).authenticate(name, password)

    # --- without one ------------------------------------------------------------------------------------------

    async def _introduce(self) -> Welcome:
        """Come in by name, or by nothing. A password means that somebody counts on a proof: there is none."""
        if isinstance(self._password, str | Password):
            raise PasswordNotAsked(address=self.address.host)
        reached = await self._reach()
        steps = self._steps(reached)
        if reached.hello.access == "anyone":
            return await steps.introduce(None)
        if self._name is not None:
            return await steps.introduce(self._name)
        known = await steps.known()
        if len(known) > 1:
            raise NameAmbiguous(names=", ".join(known))
        if not known:
            raise InputMissing(what=_NAME, how=_HOW_NAME)
        return await steps.introduce(prepare(known[0]).display)


def program_settings(
    name: str | None, known_servers: Any, timeout: float, give_up: float | None, *, register: bool
) -> ClientSettings:
    """Return what a program wants, checked.

    Raises:
        SettingInvalid: a number cannot be what it is.
    """
    path = Path(known_servers) if known_servers else None
    settings = ClientSettings(name=name, register=register, timeout=timeout, known_servers=path)
    return settings if give_up is None else replace(settings, give_up=give_up)


def check_name(code: Code, name: str | None) -> None:
    """Refuse an invitation that is for somebody else than the `name` that was given, if one was.

    Raises:
        UsageError: the names differ.
        NameInvalid: one of them is none.
    """
    invited = prepare(code.address.name or "")
    if name is not None and prepare(name).key != invited.key:
        raise UsageError(problem=_ANOTHER_NAME, invited=invited.display, name=name)


async def in_any_form(
    password: Password,
    forms: list[Password],
    reach: Callable[[], Awaitable[Reached[Line]]],
    hang_up: Callable[[], Awaitable[None]],
    prove: Callable[[Password], Awaitable[Result]],
) -> Result:
    """Return what `prove` returns for the first of `forms` that is not refused; those that are, are dropped.

    They are the `password` as it was given and its `legacy.old_forms`, which are tried where an old system's
    passwords remain. Each form takes a connection of its own: the third refusal would be the end of
    one that they share. Where nothing speaks for the server's key but the proof to come, no old form is tried:
    whoever has the old system's file could give that proof.

    Raises:
        SignInRefused, PasswordInvalid: no form is right.
    """
    while True:
        reached = await reach()
        takes_old = reached.hello.imports and reached.standing is not Standing.UNKNOWN
        if forms[0] != password and not takes_old:
            raise SignInRefused
        try:
            return await prove(forms[0])
        except (SignInRefused, PasswordInvalid):  # what SCRAM cannot use as a password may have a digest
            if not takes_old or len(forms) == 1:
                raise
            del forms[0]
            await hang_up()
