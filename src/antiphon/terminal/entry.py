"""From what a person gave on the command line to an open session: asks what is missing, and only that.

No connection is held while a person is typing: what the server wants is learnt first, the connection closed,
the question asked, and the server dialled again.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from antiphon.address import Address
from antiphon.blocklist import common_passwords
from antiphon.client.aio.dial import Dialled, dial
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.password_forms import prove_any_form
from antiphon.client.trust import KnownServers, Standing
from antiphon.client.unattended import check_name
from antiphon.errors import (
    HostUnknown,
    InputMissing,
    InvitationUsed,
    KnownServersUnusable,
    NameTaken,
    NameUnknown,
    PasswordNotAsked,
    PortInvalid,
    Problem,
    RegistrationClosed,
    ServerKeyUnknown,
    SignInRefused,
    TooManyFailures,
    TryLater,
    UsageError,
)
from antiphon.identity.invitations import Code, Secret, read_place
from antiphon.identity.legacy import old_forms
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password, check
from antiphon.language import N_
from antiphon.settings import DEFAULT_HOST, DEFAULT_PORT, ClientSettings
from antiphon.terminal.console import Console
from antiphon.terminal.explain import Explainer
from antiphon.terminal.invited import lets_in, tell_closed
from antiphon.terminal.naming import Naming, ask_name
from antiphon.terminal.newpassword import new_password
from antiphon.wire.bodies import Hello, Welcome

Result = TypeVar("Result")

TRIES = 3
"""How often a person may mistype the password before the program gives up."""
LONGEST_PAUSE = 10.0
"""Seconds that are waited out, where the server asks for a pause, with the password that was given."""
PAUSES = 3
"""How often that is done: others may go on guessing."""


@dataclass(frozen=True)
class Entered:
    """The way in has been found: where, on which connection, and what the server said at the door."""

    address: Address
    known: KnownServers
    dialled: Dialled
    welcome: Welcome
    password: Password | None
    """The one that was proved, if any, in the form in which the server knows it: an old system's by its digest."""


class Entry:
    """One person's way in."""

    def __init__(
        self, console: Console, settings: ClientSettings, place: Address | Code | None, password: Password | None
    ) -> None:
        """Go to `place` with what is known already; the console is asked for the rest."""
        self._console = console
        self._settings = settings
        self._known = KnownServers(settings.known_servers)
        self._address: Address | None = None
        self._name = settings.name
        self._invitation: Secret | None = None
        self._password = password
        self._dialled: Dialled | None = None
        self._observe = Explainer(console).watch if settings.explain else None
        self._new = False
        self._forms: dict[Password, list[Password]] = {}
        """Of each password given, the forms that were not refused yet: none is counted twice."""
        self.naming: Naming | None = None
        """Where the server goes by the name that is given: the dialogue about it."""
        self._uncertain = False
        """The server was asked to keep the name, and does not know whether it has."""
        self._stranger = True
        """The server is one that this client has not met."""
        if place is not None:
            self._head_for(place)

    async def enter(self) -> Entered:
        """Return the open session.

        Raises:
            AntiphonError: whatever stands in the way, said by its class.
        """
        with self._aborted_on_failure():
            hello = await self._find_server()
            if hello.access in ("identify", "anyone"):
                return await self._enter_unproved(hello)
            await self._find_name()
            await self._patiently(self._find_out_whether_new)
            return await self._prove()

    async def enter_anew(self, wrong: str) -> Entered:
        """Return a new session, under the right name, when the one that had the `wrong` one was left.

        Raises:
            AntiphonError: as `enter`.
        """
        assert self.naming is not None
        with self._aborted_on_failure():
            return self._entered(await self.naming.enter_anew(wrong))

    @contextlib.contextmanager
    def _aborted_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if self._dialled is not None:
                self._dialled.connection.abort()
            raise

    # --- where ----------------------------------------------------------------------------------------------

    def _head_for(self, place: Address | Code) -> None:
        if isinstance(place, Code):
            check_name(place, self._name)
            self._invitation, place = place.secret, place.address
            self._name = place.name
        self._address = place
        self._name = self._name or place.name

    async def _find_server(self) -> Hello:
        if self._address is None:
            self._head_for(await self._ask_place())
        dialled = await self._reach()
        self._stranger = dialled.standing is not Standing.KNOWN
        if dialled.standing is Standing.UNKNOWN:
            await self._settle_trust(dialled)
        return dialled.hello

    async def _ask_place(self) -> Address | Code:
        console, _ = self._console, self._console.translations.gettext
        if not console.can_ask:
            raise InputMissing(what=_("The address"), how=_("an argument or ANTIPHON_ADDRESS"))
        loop = asyncio.get_running_loop()
        while True:
            address = await console.ask(_("Host"), read_place, DEFAULT_HOST)
            if isinstance(address, Code):
                return address
            try:
                await loop.getaddrinfo(address.host, None)
                break
            except (socket.gaierror, UnicodeError):
                console.tell_error(HostUnknown(host=address.host))
        if address.fingerprint is None and address.port == DEFAULT_PORT:
            address = replace(address, port=await console.ask(_("Port"), read_port, str(DEFAULT_PORT)))
        return address

    async def _settle_trust(self, dialled: Dialled) -> None:
        """Decide about a key that nothing speaks for: a person is asked, a pipe has to wait for the proof."""
        assert self._address is not None
        assert dialled.fingerprint is not None
        console, _ = self._console, self._console.translations.gettext
        unknown = ServerKeyUnknown(host=self._address.host, fingerprint=dialled.fingerprint)
        if not console.can_ask:
            if self._settings.register:
                raise unknown
            return
        await self._hang_up()
        console.tell(_("The server {host} is new here. Its key is").format(host=self._address.host))
        console.tell(f"    {dialled.fingerprint}")
        console.tell(_("The operator's console shows the same, if it is the right one."))
        if not await console.confirm(_("Is it the right one?")):
            raise unknown
        self._remember(dialled.fingerprint)
        self._address = replace(self._address, fingerprint=dialled.fingerprint)

    def _remember(self, fingerprint: str) -> None:
        """Remember the key of a server that we trust; where that fails, only the next visit will notice."""
        assert self._address is not None
        try:
            self._known.remember(self._address.host, fingerprint)
        except KnownServersUnusable as error:
            self._console.tell_error(error)

    async def _reach(self) -> Dialled:
        """Return the connection; dial if there is none."""
        assert self._address is not None
        if self._dialled is None or self._dialled.connection.closed.done():
            self._dialled = await dial(self._address, self._known, self._settings.timeout, self._observe)
        return self._dialled

    async def _hang_up(self) -> None:
        """Let the connection go while a person thinks."""
        if self._dialled is not None:
            await self._dialled.connection.hang_up()
            self._dialled = None

    # --- who ------------------------------------------------------------------------------------------------

    async def _find_name(self) -> None:
        if self._name is None:
            if self._console.can_ask:
                await self._hang_up()
            self._name = await ask_name(self._console)
        self._name = prepare(self._name).display

    async def _find_out_whether_new(self) -> None:
        """Ask the server whether the name is free, where new names are taken."""
        assert self._name is not None
        console, settings = self._console, self._settings
        dialled = await self._reach()
        sign_in = SignIn(dialled.connection, console.language, settings.timeout)
        if self._invitation is not None:
            self._new = await lets_in(console, sign_in, self._name, self._invitation)
            return
        if not dialled.hello.registration:
            if settings.register:
                raise RegistrationClosed
            return
        if settings.register or console.can_ask:
            self._new = bool((await sign_in.identify(self._name)).free)
        if self._new and not settings.register and not console.can_ask:
            raise NameUnknown(name=self._name)

    async def _ask_password(self) -> Password:
        console, _ = self._console, self._console.translations.gettext
        if not console.can_ask:
            raise InputMissing(what=_("The password"), how=_("--password-file or ANTIPHON_PASSWORD"))
        hello = (await self._reach()).hello
        await self._hang_up()
        if self._new:
            return await self._think_up_password(hello)
        if self._stranger and self._invitation is None and not hello.registration:
            tell_closed(console)
        return Password(await console.ask_secret(_("Password")))

    async def _think_up_password(self, hello: Hello) -> Password:
        console, _ = self._console, self._console.translations.gettext
        console.tell(
            _(
                "“{name}” is new here. Think up a password of {minimum} characters or more, "
                "or press Enter for a passphrase made for you."
            ).format(name=self._name, minimum=hello.password_minimum)
        )
        assert self._name is not None
        return await new_password(console, hello.password_minimum, self._name)

    # --- in -------------------------------------------------------------------------------------------------

    async def _prove(self) -> Entered:
        """Sign in; a person who mistypes the password is asked again."""
        tries = 1
        while True:
            asked = self._password is None
            password = self._password or await self._ask_password()
            try:
                return await self._sign_in_somehow(password)
            except TooManyFailures as error:  # the password was not tried: no try is lost
                if not asked:
                    raise
                self._console.tell_error(error)
                await self._hang_up()
            except SignInRefused as error:
                if not asked or tries == TRIES:
                    raise
                tries += 1
                self._console.tell_error(error)
                await self._hang_up()

    async def _sign_in_somehow(self, password: Password) -> Entered:
        """Sign in; a password that is refused may be an old system's: then its other forms are tried too."""
        forms = [password] if self._new else self._forms.setdefault(password, [password, *old_forms(password)])

        async def prove(form: Password) -> Entered:
            return await self._patiently(partial(self._sign_in, form))

        return await prove_any_form(password, forms, self._reach, self._hang_up, prove)

    async def _patiently(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """Do a step; where the server asks for a short pause, say so, wait and try again."""
        for _ in range(PAUSES):
            try:
                return await step()
            except (TooManyFailures, TryLater) as error:
                if error.wait > LONGEST_PAUSE:
                    raise
                gettext = self._console.translations.gettext
                self._console.tell(error.text(gettext))
                self._console.tell(gettext("Trying again by itself in {wait} s.").format(wait=f"{error.wait:g}"))
                await self._hang_up()
                await asyncio.sleep(error.wait)
        return await step()

    async def _sign_in(self, password: Password) -> Entered:
        assert self._address is not None
        assert self._name is not None
        console, _ = self._console, self._console.translations.gettext
        dialled = await self._reach()
        sign_in = SignIn(dialled.connection, console.language, self._settings.timeout)
        if self._new:
            check(password.text, dialled.hello.password_minimum, name=self._name, common=common_passwords())
            await self._register(sign_in, self._name, password)
            self._new = False
            console.tell(_("The password is kept. Now you sign in with it."))
            self._password = password
        return self._entered(await sign_in.authenticate(self._name, password), password)

    # --- in, where nobody proves anything -------------------------------------------------------------------

    async def _enter_unproved(self, hello: Hello) -> Entered:
        """Come in by name, or by nothing. A password means that somebody counts on a proof: there is none."""
        assert self._address is not None
        if self._password is not None:
            raise PasswordNotAsked(address=self._address.host)
        if hello.access == "anyone":
            return self._entered(await (await self._reach_trusted()).introduce(None))
        self.naming = Naming(self._console, self._reach_trusted, self._hang_up, takes_names=hello.registration)
        return self._entered(await self.naming.enter(self._name))

    async def _reach_trusted(self) -> SignIn:
        """Return the way in on a connection whose key something speaks for: no proof will do so later."""
        assert self._address is not None
        dialled = await self._reach()
        if dialled.standing is Standing.UNKNOWN:
            assert dialled.fingerprint is not None
            raise ServerKeyUnknown(host=self._address.host, fingerprint=dialled.fingerprint)
        return SignIn(dialled.connection, self._console.language, self._settings.timeout)

    def _entered(self, welcome: Welcome, password: Password | None = None) -> Entered:
        assert self._dialled is not None
        assert self._address is not None
        dialled = self._dialled
        if dialled.fingerprint is not None and dialled.standing is not Standing.VOUCHED:
            self._remember(dialled.fingerprint)
        return Entered(self._address, self._known, dialled, welcome, password)

    async def _register(self, sign_in: SignIn, name: str, password: Password) -> None:
        try:
            await sign_in.register(name, password, self._invitation)
        except TryLater:
            self._uncertain = True
            raise
        except (NameTaken, InvitationUsed):
            if not self._uncertain:
                raise  # else it may have been we: the password will show


def read_port(text: str, lowest: int = 1) -> int:
    """Return the port that `text` names, from `lowest` to 65535.

    Raises:
        PortInvalid: it names none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and lowest <= int(text) <= 65535):
        raise PortInvalid(port=text, lowest=lowest)
    return int(text)


def read_password(text: str) -> Password:
    """Return a password that a file or a variable holds.

    Raises:
        UsageError: it is empty.
    """
    if not text:
        raise UsageError(problem=Problem(N_("The password given is empty.")))
    return Password(text)
