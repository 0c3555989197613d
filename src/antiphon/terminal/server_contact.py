"""Server of an interactive sign-in: its addresses, its key, which a person confirms, and the connection to it.

No connection is held while a person is typing: it is closed before each question, and made again after it.
"""

import asyncio
import contextlib
import socket
from dataclasses import replace

from antiphon.address import DEFAULT_PORT, Address
from antiphon.client.addresses import Addresses
from antiphon.client.aio.dial import Dialled, dial
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import HostUnknown, InputMissing, ServerKeyUnknown, UsageError
from antiphon.identity.invitations import Code, read_place
from antiphon.settings import DEFAULT_HOST, ClientSettings
from antiphon.terminal.console import Console
from antiphon.terminal.explain import Explainer
from antiphon.terminal.parse import read_port
from antiphon.wire.bodies import Hello


class ServerContact:
    """The server that one person signs in to."""

    def __init__(self, console: Console, settings: ClientSettings) -> None:
        """Reach the server of `addresses`, which is set before anything else; ask at the console."""
        self._console = console
        self._settings = settings
        self.known = KnownServers(settings.known_servers)
        self.addresses: Addresses | None = None
        self._reached = False
        """One of them has answered: the sign-in is with that one only, whose key a person may have confirmed."""
        self.is_new = True
        """This client has not connected to this server before."""
        self.dialled: Dialled | None = None
        """The connection, if there is one."""
        explains = settings.explain != "no"
        self._explainer = Explainer(console, short=settings.explain == "short") if explains else None

    @property
    def address(self) -> Address:
        """The address of the server that is asked, or of the first to be asked."""
        assert self.addresses is not None
        return self.addresses.first

    async def find(self) -> Hello:
        """Connect for the first time and return HELLO; an unknown key is confirmed by the person.

        Raises:
            AntiphonError: it cannot be reached, or the person does not know the key.
        """
        dialled = await self.connect()
        self.is_new = dialled.standing is not Standing.KNOWN
        if dialled.standing is Standing.UNKNOWN:
            await self._confirm_key(dialled)
        return dialled.hello

    async def connect(self) -> Dialled:
        """Return the open connection; connect if there is none."""
        assert self.addresses is not None
        if self.dialled is None or self.dialled.connection.closed.done():
            observe = self._explainer.watch if self._explainer else None
            tried = self.addresses.alone if self._reached else self.addresses
            self.dialled = await dial(tried, self.known, self._settings.timeout, observe)
            self.addresses, self._reached = self.addresses.starting_with(self.dialled.address), True
        return self.dialled

    async def hang_up_to_ask(self) -> None:
        """Close the connection before a question: the person may take longer than the server's deadline."""
        with self._explainer.before_question() if self._explainer else contextlib.nullcontext():
            await self.hang_up()

    async def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if self.dialled is not None:
            await self.dialled.connection.hang_up()
            self.dialled = None

    async def connect_trusted(self) -> SignIn:
        """Return a sign-in on a connection with a trusted key: without SCRAM, nothing proves the server later."""
        dialled = await self.connect()
        if dialled.standing is Standing.UNKNOWN:
            assert dialled.fingerprint is not None
            raise ServerKeyUnknown(host=self.address.host, fingerprint=dialled.fingerprint)
        return SignIn(dialled.connection, self._console.language, self._settings.timeout)

    def abort(self) -> None:
        """Break the connection off, if there is one."""
        if self.dialled is not None:
            self.dialled.connection.abort()

    def remember(self, fingerprint: str) -> None:
        """Remember the key of a trusted server; a failure is only told, because this session can do without."""
        try:
            self.known.remember(self.address.host, fingerprint, self.address.port)
        except UsageError as error:
            self._console.tell_error(error)

    async def _confirm_key(self, dialled: Dialled) -> None:
        """Ask the person whether an unknown key is the right one; without a person, SCRAM has to prove the server.

        A registration proves nothing about the server, so without a person it is refused.
        """
        assert dialled.fingerprint is not None
        console, _ = self._console, self._console.translations.gettext
        unknown = ServerKeyUnknown(host=self.address.host, fingerprint=dialled.fingerprint)
        if not console.can_ask:
            if self._settings.register:
                raise unknown
            return
        await self.hang_up_to_ask()
        console.tell(_("The server {host} is new here. Its key is").format(host=self.address.host))
        console.tell(f"    {dialled.fingerprint}")
        console.tell(_("The operator's console shows the same, if it is the right one."))
        if not await console.confirm(_("Is it the right one?")):
            raise unknown
        self.remember(dialled.fingerprint)
        assert self.addresses is not None
        self.addresses = self.addresses.starting_with(replace(self.address, fingerprint=dialled.fingerprint))


async def ask_destination(console: Console) -> Address | Code:
    """Ask where the server is: host and port, or an invitation.

    Raises:
        InputMissing: nobody can be asked.
    """
    _ = console.translations.gettext
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
