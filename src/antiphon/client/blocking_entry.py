"""The blocking client's way in: `connect`."""

from collections.abc import Callable
from os import PathLike
from typing import Any

from antiphon.address import Address
from antiphon.client.blocking_connection import BlockingConnection
from antiphon.client.blocking_dial import BlockingDialled, dial
from antiphon.client.blocking_link import BlockingLink, BlockingSignIn
from antiphon.client.blocking_session import Session
from antiphon.client.steps import Steps, at_once
from antiphon.client.way_in import WayIn, program_settings
from antiphon.identity.invitations import Code
from antiphon.identity.passwords import Password
from antiphon.settings import ClientSettings

Secret = str | Password
"""A password; as `Password` it does not print."""
AskedFor = Secret | Callable[[], Secret]


def connect(
    address: str | Address | Code,
    *,
    name: str | None = None,
    password: AskedFor | None = None,
    register: bool = False,
    timeout: float = 10.0,
    give_up: float | None = None,
    known_servers: str | PathLike[str] | None = None,
    language: str = "en",
) -> Session:
    """Sign in at `address` (`tls://ann@host:7862#sha256:...`, or a part of it) and return the open session.

    The server is trusted if the address carries its key's fingerprint, if `known_servers` has its key (by default
    the file that `antiphon connect` keeps), or if the system's authorities vouch for it; otherwise nothing is
    sent. The file is read only.

    Args:
        address: where the server is; or an invitation, with which the name is registered if nobody has used it.
        name: whom to sign in as; by default the name in the address.
        password: the password, or a function that returns it, such as `getpass.getpass`: it is called once the
            server is trusted and asks for one, and no connection is held meanwhile.
        register: become known under this name if it is new.
        timeout: seconds for the connection, for each step of the sign-in, for sending a message, and by default
            for each answer. The system's resolver keeps a time of its own.
        give_up: seconds for which a link that is lost is tried again; by default for as long as the session
            lives without one.
        known_servers: the file of server keys that are known.
        language: of greeting and refusals: `en` or `ru`.

    Raises:
        UsageError: the address, the name, the password or an argument cannot be used, or one is missing.
        ConnectError: no connection came about.
        SignInError: the server said no. A refused sign-in is not tried again.
        PasswordDue: it said yes, but a new password must be chosen first; that is done at a terminal.
        ProtocolError: the server broke the protocol, or it could not be trusted (`TrustError`).
        ServerError: the server or its store failed.
        TimedOut: something took longer than `timeout`.
    """
    settings = program_settings(name, known_servers, timeout, give_up, register=register)
    entry = _Entry(address, settings, password, language)
    dialled, welcome = at_once(entry.enter())
    patience = welcome.lifetimes.unheld if give_up is None else give_up
    link = BlockingLink(entry.address, entry.known, dialled, give_up=patience, language=language, timeout=timeout)
    return Session(dialled.connection, welcome, link, timeout)


class _Entry(WayIn[BlockingConnection]):
    def __init__(
        self, place: str | Address | Code, settings: ClientSettings, password: AskedFor | None, language: str
    ) -> None:
        super().__init__(place, settings, password)
        self._language = language

    async def _dial(self) -> BlockingDialled:
        return dial(self.address, self.known, self._settings.timeout)

    def _steps(self, reached: BlockingDialled) -> Steps:
        return BlockingSignIn(reached.connection, self._language)

    async def _part(self, connection: BlockingConnection, *, in_session: bool) -> None:
        if in_session:
            connection.leave(self._settings.timeout)
        else:
            connection.hang_up()

    def _abort(self, connection: BlockingConnection) -> None:
        connection.abort()

    async def _ask(self, question: Callable[[], Any]) -> Secret:
        secret: Secret = question()
        return secret
