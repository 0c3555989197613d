"""Interactive sign-in: from the arguments of a command to an open session, asking only for what is missing.

No connection is held while a person is typing: the client learns from HELLO what the server wants, closes the
connection (`server_contact`), asks, and connects again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TypeVar

from antiphon.address import Address
from antiphon.blocklist import common_passwords
from antiphon.client.addresses import Addresses
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.password_forms import prove_any_form
from antiphon.client.trust import Standing
from antiphon.client.unattended import check_name
from antiphon.errors import (
    AntiphonError,
    ConnectError,
    InputMissing,
    InvitationUsed,
    NameTaken,
    NameUnknown,
    PasswordNotAsked,
    RegistrationClosed,
    ServerStopping,
    SessionsFull,
    SignInRefused,
    TooManyFailures,
    TryLater,
    UsageError,
)
from antiphon.identity.invitations import Code, Secret
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password, check
from antiphon.settings import ClientSettings
from antiphon.terminal.console import Console
from antiphon.terminal.invitation import can_register, tell_registration_closed
from antiphon.terminal.last_names import LastNames
from antiphon.terminal.name_sign_in import NameSignIn, ask_name
from antiphon.terminal.password_prompt import ask_new_password
from antiphon.terminal.server_contact import ServerContact, ask_destination
from antiphon.terminal.signed_in import SignedIn
from antiphon.wire.bodies import Hello, Welcome

Result = TypeVar("Result")

ATTEMPTS_MOST = 3
"""Wrong passwords that a person may type before the program gives up."""
PAUSE_MOST = 10.0
"""Longest pause in seconds, asked for by the server, after which the program tries again by itself."""
PAUSES_MOST = 3
"""Pauses in one sign-in: while somebody else goes on guessing, the server asks for one pause after the other."""


class InteractiveSignIn:
    """The sign-in of one person."""

    def __init__(
        self,
        console: Console,
        settings: ClientSettings,
        destination: Address | Addresses | Code | None,
        password: Password | None,
        *,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        """Sign in at `destination` with the given settings; ask at the console for what is missing.

        `on_refused` is called with the name after a refused password, before the next one is asked for.
        """
        self._console = console
        self._settings = settings
        self._server = ServerContact(console, settings)
        self._name = settings.name
        self._invitation: Secret | None = None
        self._password = password
        self._on_refused = on_refused
        self._registering = False
        self._refused_forms: dict[Password, set[Password]] = {}
        """For each password given, its forms that were refused, so that none counts as two failures."""
        self._replace = settings.replace
        """Whether the sign-in may end the oldest session, if there may be no more."""
        self.by_name: NameSignIn | None = None
        """The sign-in by name, if that is how the server lets people in."""
        self._registration_unknown = False
        """A registration was sent, and the server could not tell whether it was stored."""
        if destination is not None:
            self._set_destination(destination)

    async def run(self) -> SignedIn:
        """Sign in and return the open session.

        In a pipe a server that stops meanwhile is tried once more: one of its workers may have been replaced.

        Raises:
            AntiphonError: the sign-in failed; the class says why.
        """
        with self._abort_on_failure():
            try:
                return await self._run()
            except ServerStopping as error:
                if self._console.can_ask:  # the person would be asked again
                    raise
                await self._server.hang_up()
                try:
                    return await self._run()
                except ConnectError:
                    raise error from None

    async def _run(self) -> SignedIn:
        hello = await self._find_server()
        if hello.access in ("identify", "anyone"):
            return await self._sign_in_without_password(hello)
        await self._find_name()
        await self._with_pauses(self._check_name_is_free)
        return await self._sign_in_with_password()

    async def run_with_other_name(self, wrong: str) -> SignedIn:
        """Ask for the right name and sign in again; call it when the session under the `wrong` name has ended.

        Raises:
            AntiphonError: as in `run`.
        """
        assert self.by_name is not None
        with self._abort_on_failure():
            return self._signed_in(await self.by_name.run_with_other_name(wrong))

    @contextlib.contextmanager
    def _abort_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._server.abort()
            raise

    # --- the server -----------------------------------------------------------------------------------------

    def _set_destination(self, destination: Address | Addresses | Code) -> None:
        if isinstance(destination, Code):
            check_name(destination, self._name)
            self._invitation, destination = destination.secret, destination.address
            self._name = destination.name
        self._server.addresses = Addresses.of(destination)
        self._name = self._name or self._server.address.name

    async def _find_server(self) -> Hello:
        if self._server.addresses is None:
            self._set_destination(await ask_destination(self._console))
        return await self._server.find()

    # --- the name and the password --------------------------------------------------------------------------

    async def _find_name(self) -> None:
        if self._name is None:
            if self._console.can_ask:
                await self._server.hang_up_to_ask()
            self._name = await ask_name(self._console, self._last_name())
        self._name = prepare(self._name).display

    def _last_name(self) -> str:
        """Return the name that this person has signed in with last, an empty string if none is known."""
        with contextlib.suppress(UsageError):  # no home folder
            return LastNames(self._server.known.path).find(self._server.address)
        return ""

    async def _check_name_is_free(self) -> None:
        """Find out whether to register: ask the server whether the name is free, if it takes new names."""
        assert self._name is not None
        console, settings = self._console, self._settings
        dialled = await self._server.connect()
        sign_in = SignIn(dialled.connection, console.language, settings.timeout)
        if self._invitation is not None:
            self._registering = await can_register(console, sign_in, self._name, self._invitation)
            return
        if not dialled.hello.registration:
            if settings.register:
                raise RegistrationClosed
            return
        if settings.register or console.can_ask:
            self._registering = bool((await sign_in.identify(self._name)).free)

    async def _ask_password(self) -> Password:
        console, _ = self._console, self._console.translations.gettext
        if not console.can_ask:
            raise InputMissing(what=_("The password"), how=_("--password-file or ANTIPHON_PASSWORD"))
        hello = (await self._server.connect()).hello
        await self._server.hang_up_to_ask()
        if self._registering:
            return await self._ask_new_password(hello)
        if self._server.is_new and self._invitation is None and not hello.registration:
            tell_registration_closed(console)
        return Password(await console.ask_secret(_("Password")))

    async def _ask_new_password(self, hello: Hello) -> Password:
        console, _ = self._console, self._console.translations.gettext
        console.tell(
            _(
                "“{name}” is new here. Think up a password of {minimum} characters or more, "
                "or press Enter for a passphrase made for you."
            ).format(name=self._name, minimum=hello.password_minimum)
        )
        assert self._name is not None
        return await ask_new_password(console, hello.password_minimum, self._name)

    # --- the exchange ---------------------------------------------------------------------------------------

    async def _sign_in_with_password(self) -> SignedIn:
        """Sign in; ask again after a wrong password that a person has typed."""
        attempts = 1
        while True:
            asked = self._password is None
            password = self._password or await self._ask_password()
            try:
                return await self._sign_in_in_any_form(password)
            except TooManyFailures as error:  # the server did not check the password, so this is no attempt
                if not asked:
                    raise
                self._console.tell_error(error)
                await self._server.hang_up()
            except SignInRefused as error:
                if not asked or attempts == ATTEMPTS_MOST:
                    await self._check_name_is_known()
                    raise
                attempts += 1
                self._console.tell_error(error)
                if self._on_refused is not None and self._name is not None:
                    self._on_refused(self._name)
                await self._server.hang_up()

    async def _check_name_is_known(self) -> None:
        """In a pipe, find out whether a refused name is new: then --register helps, and no password does."""
        assert self._name is not None
        console = self._console
        if console.can_ask:  # the person was asked whether to register
            return
        try:
            dialled = await self._server.connect()
            sign_in = SignIn(dialled.connection, console.language, self._settings.timeout)
            free = dialled.hello.registration and (await sign_in.identify(self._name)).free
        except AntiphonError:  # the refusal is what matters
            return
        if free:
            raise NameUnknown(name=self._name)

    async def _sign_in_in_any_form(self, password: Password) -> SignedIn:
        """Sign in; if the password is refused, try the forms in which an imported account may have it."""

        async def prove(form: Password) -> SignedIn:
            return await self._making_room(partial(self._with_pauses, partial(self._sign_in, form)))

        if self._registering:
            return await prove(password)
        refused = self._refused_forms.setdefault(password, set())
        return await prove_any_form(password, refused, self._server.connect, self._server.hang_up, prove)

    async def _making_room(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """Run a step; if all sessions are in use, ask whether to end the oldest one, and run it again."""
        try:
            return await step()
        except SessionsFull as error:
            if self._replace or not self._console.can_ask:
                raise
            _ = self._console.translations.gettext
            await self._server.hang_up()
            self._console.tell(error.text(_))
            if not await self._console.confirm(_("End the oldest one?")):
                raise
        self._replace = True
        return await step()

    async def _with_pauses(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """Run a step; if the server asks for a short pause, tell the person, wait and run it again."""
        for _ in range(PAUSES_MOST):
            try:
                return await step()
            except (TooManyFailures, TryLater) as error:
                if error.wait > PAUSE_MOST:
                    raise
                gettext = self._console.translations.gettext
                self._console.tell(error.text(gettext))
                self._console.tell(gettext("Trying again in {wait} s.").format(wait=f"{error.wait:g}"))
                await self._server.hang_up()
                await asyncio.sleep(error.wait)
        return await step()

    async def _sign_in(self, password: Password) -> SignedIn:
        assert self._name is not None
        console, _ = self._console, self._console.translations.gettext
        dialled = await self._server.connect()
        sign_in = SignIn(dialled.connection, console.language, self._settings.timeout)
        if self._registering:
            check(password.text, dialled.hello.password_minimum, name=self._name, common=common_passwords())
            await self._register(sign_in, self._name, password)
            self._registering = False
            console.tell(_("The password is kept. Now you sign in with it."))
            self._password = password
        return self._signed_in(await sign_in.authenticate(self._name, password, replace=self._replace), password)

    # --- without a password ---------------------------------------------------------------------------------

    async def _sign_in_without_password(self, hello: Hello) -> SignedIn:
        """Sign in by name, or without one, as the server's access mode says.

        A given password is refused: the person expects to be protected by it, and the server would not ask for it.
        """
        if self._password is not None:
            raise PasswordNotAsked(address=self._server.address.host)
        if hello.access == "anyone":
            return self._signed_in(
                await (await self._server.connect_trusted()).introduce(None, replace=self._replace)
            )
        self.by_name = NameSignIn(
            self._console,
            self._server.connect_trusted,
            self._server.hang_up_to_ask,
            takes_names=hello.registration,
            last=self._last_name(),
            replace=self._replace,
        )
        return self._signed_in(await self.by_name.run(self._name))

    def _signed_in(self, welcome: Welcome, password: Password | None = None) -> SignedIn:
        server, dialled = self._server, self._server.dialled
        assert dialled is not None
        if dialled.fingerprint is not None and dialled.standing is not Standing.VOUCHED:
            server.remember(server.address.fingerprint or dialled.fingerprint)
        if self._console.can_ask and welcome.name:
            with contextlib.suppress(UsageError):  # no home folder
                LastNames(server.known.path).remember(server.address, welcome.name)
        assert server.addresses is not None
        return SignedIn(server.addresses, server.known, dialled, welcome, password)

    async def _register(self, sign_in: SignIn, name: str, password: Password) -> None:
        try:
            await sign_in.register(name, password, self._invitation)
        except TryLater:
            self._registration_unknown = True
            raise
        except (NameTaken, InvitationUsed):
            if not self._registration_unknown:
                raise  # otherwise our earlier request may have succeeded: the sign-in with the password shows it
