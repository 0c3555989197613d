"""Unattended sign-in: the sign-in of a program, from what it was given and without asking anyone.

Both clients' `connect` is made of it: `aio/connect.py` and `blocking/connect.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Any, Generic, TypeVar

from antiphon.blocklist import common_passwords
from antiphon.client.addresses import Addresses, Given, read_places
from antiphon.client.dialling import DialResult
from antiphon.client.password_forms import prove_any_form
from antiphon.client.protocol.sign_in import SignInSteps
from antiphon.client.seconds import LEAST_TIMEOUT, check_seconds
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import (
    ConnectError,
    InputMissing,
    InvitationUsed,
    NameAmbiguous,
    PasswordDue,
    PasswordNotAsked,
    Problem,
    RegistrationClosed,
    ServerKeyUnknown,
    ServerStopping,
    SignInRefused,
    TryLater,
    UsageError,
)
from antiphon.identity.invitations import Code, Secret
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password, check
from antiphon.language import N_
from antiphon.setting_checks import SECONDS_MOST
from antiphon.settings import ClientSettings, changed
from antiphon.wire.bodies import Welcome

_NAME = Problem(N_("The name"))
_HOW_NAME = Problem(N_("name=, or name@host in the address"))
_PASSWORD = Problem(N_("The password"))
_HOW_PASSWORD = Problem(N_("password="))
_ANOTHER_NAME = Problem(N_("The invitation is for “{invited}”, and not for “{name}”."))

Connection = TypeVar("Connection")


class UnattendedSignIn(ABC, Generic[Connection]):
    """One sign-in of a program; call `run` once."""

    def __init__(
        self,
        place: Given,
        settings: ClientSettings,
        password: str | Password | Callable[[], Any] | None,
    ) -> None:
        """Sign in at `place`: an address, addresses or an invitation.

        Raises:
            UsageError: the place or the name cannot be used.
        """
        place = read_places(place)
        self._invitation: Secret | None = None
        if isinstance(place, Code):
            check_name(place, settings.name)
            self._invitation, place = place.secret, Addresses.of(place.address)
        self.addresses = place
        """Addresses of the server, first that of the connection."""
        self._reached = False
        """Whether one of them has answered: this sign-in is then with that one only."""
        self.known = KnownServers(settings.known_servers)
        self._settings = settings
        name = settings.name or place.first.name
        self._name = None if name is None else prepare(name).display
        self._password = password
        self._dialled: DialResult[Connection] | None = None
        self._used: InvitationUsed | None = None

    @property
    def tried(self) -> Addresses:
        """The addresses to dial."""
        return self.addresses.alone if self._reached else self.addresses

    @abstractmethod
    async def _dial(self) -> DialResult[Connection]:
        """Return a new connection."""

    @abstractmethod
    def _steps(self, dialled: DialResult[Connection]) -> SignInSteps:
        """Return the steps of a sign-in on a connection."""

    @abstractmethod
    async def _leave(self, connection: Connection) -> None:
        """End the session that a connection holds, and close the connection."""

    @abstractmethod
    async def _close(self, connection: Connection) -> None:
        """Say BYE and close a connection that holds no session."""

    @abstractmethod
    def _abort(self, connection: Connection) -> None:
        """Close a connection at once."""

    @abstractmethod
    async def _ask(self, question: Callable[[], Any]) -> str | Password:
        """Return the answer of `question`, a function of the program."""

    async def run(self) -> tuple[DialResult[Connection], Welcome]:
        """Return a connection with an open session, and the WELCOME that opened it.

        If a server is lost, stops or is overloaded meanwhile, the next one is tried from the beginning. If there
        is no other and it stops, it is tried once more: one of its workers may have been replaced.

        Raises:
            AntiphonError: as `connect`.
        """
        left = len(self.addresses)
        stops: ServerStopping | None = None
        while True:
            try:
                return await self._run()
            except (ConnectError, TryLater) as error:
                left -= 1
                if isinstance(error, ServerStopping) and len(self.addresses) == 1 and stops is None:
                    stops = error
                elif left <= 0 or not self._reached:
                    if stops is not None and isinstance(error, ConnectError):
                        raise stops from None
                    raise
                self.addresses, self._reached, self._dialled = self.addresses.turned, False, None

    async def _run(self) -> tuple[DialResult[Connection], Welcome]:
        try:
            hello = (await self._dial_trusted()).hello
            welcome = await (self._authenticate() if hello.access == "authenticate" else self._introduce())
            dialled = await self._dial_trusted()
            await self._check_not_due(dialled, welcome)
        except BaseException:
            if self._dialled is not None:
                self._abort(self._dialled.connection)
            raise
        return dialled, welcome

    async def _dial_trusted(self) -> DialResult[Connection]:
        """Return the connection to a server whose key is trusted; dial if there is none."""
        if self._dialled is None:
            dialled = await self._dial()
            if dialled.standing is Standing.UNKNOWN:
                self._abort(dialled.connection)
                raise ServerKeyUnknown(host=dialled.address.host, fingerprint=dialled.fingerprint)
            self._dialled, self._reached = dialled, True
            self.addresses = self.addresses.starting_with(dialled.address)
        return self._dialled

    async def _check_not_due(self, dialled: DialResult[Connection], welcome: Welcome) -> None:
        """Leave a session that is of no use until a new password is chosen: a program cannot choose one."""
        if welcome.must_change:
            await self._leave(dialled.connection)
            raise PasswordDue

    async def _hang_up(self) -> None:
        if self._dialled is not None:
            await self._close(self._dialled.connection)
            self._dialled = None

    # --- with a password ----------------------------------------------------------------------------------------

    async def _authenticate(self) -> Welcome:
        name = self._name
        if name is None:
            raise InputMissing(what=_NAME, how=_HOW_NAME)
        if self._password is None:
            raise InputMissing(what=_PASSWORD, how=_HOW_PASSWORD)
        new = await self._is_new(name)
        password = await self._secret(self._password)
        if new:
            dialled = await self._dial_trusted()
            check(password.text, dialled.hello.password_minimum, name=name, common=common_passwords())
            await self._steps(dialled).register(name, password, self._invitation)
            return await self._prove(name, password)
        try:
            prove = partial(self._prove, name)
            return await prove_any_form(password, set(), self._dial_trusted, self._hang_up, prove)
        except SignInRefused as error:
            raise error from self._used

    async def _is_new(self, name: str) -> bool:
        """Return whether the name must be registered first."""
        dialled = await self._dial_trusted()
        if self._invitation is not None:
            try:
                return bool((await self._steps(dialled).identify(name, self._invitation)).free)
            except InvitationUsed as error:  # perhaps by this program, in an earlier run
                self._used = error
                return False
        if not self._settings.register:
            return False
        if not dialled.hello.registration:
            raise RegistrationClosed
        return bool((await self._steps(dialled).identify(name)).free)

    async def _secret(self, password: str | Password | Callable[[], Any]) -> Password:
        """Return the password; no connection is held while the program's function is called for it."""
        if not isinstance(password, str | Password):
            await self._hang_up()
            self._password = password = await self._ask(password)
        return password if isinstance(password, Password) else Password(password)

    async def _prove(self, name: str, password: Password) -> Welcome:
        return await self._steps(await self._dial_trusted()).authenticate(
            name, password, replace=self._settings.replace
        )

    # --- without a password ------------------------------------------------------------------------------------

    async def _introduce(self) -> Welcome:
        """Sign in with a name, or with nothing.

        A program that gives a password relies on a proof of the server's; here is none, so that is refused.
        """
        if isinstance(self._password, str | Password):
            raise PasswordNotAsked(address=self.addresses.first.host)
        dialled = await self._dial_trusted()
        steps = self._steps(dialled)
        if dialled.hello.access == "anyone":
            return await steps.introduce(None, replace=self._settings.replace)
        if self._name is not None:
            return await steps.introduce(self._name, replace=self._settings.replace)
        known = await steps.known()
        if len(known) > 1:
            raise NameAmbiguous(names=", ".join(known))
        if not known:
            raise InputMissing(what=_NAME, how=_HOW_NAME)
        return await steps.introduce(prepare(known[0]).display, replace=self._settings.replace)


def program_settings(
    name: str | None,
    known_servers: str | PathLike[str] | None,
    timeout: float,
    give_up: float | None,
    *,
    register: bool,
    replace: bool,
) -> ClientSettings:
    """Return the settings of a program, checked.

    Raises:
        SettingInvalid: a value has the wrong type or is out of its range.
    """
    check_seconds("timeout", timeout, lowest=LEAST_TIMEOUT, highest=SECONDS_MOST)
    if give_up is not None:
        check_seconds("give_up", give_up, highest=SECONDS_MOST)
    options: dict[str, Any] = {"known_servers": known_servers or None} | (
        {} if give_up is None else {"give_up": give_up}
    )
    settings = ClientSettings(name=name, register=register, replace=replace, timeout=timeout)
    return changed(settings, options)


def check_name(code: Code, name: str | None) -> None:
    """Check that an invitation is for the `name` that was given, if one was.

    Raises:
        UsageError: the names differ.
        NameInvalid: nobody can have one of them.
    """
    invited = prepare(code.address.name or "")
    if name is not None and prepare(name).key != invited.key:
        raise UsageError(problem=_ANOTHER_NAME, invited=invited.display, name=name)
