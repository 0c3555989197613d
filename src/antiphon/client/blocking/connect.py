"""`connect` of the blocking client: sign in without asking anyone, and return the session."""

from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any

from antiphon.address import Address
from antiphon.client.addresses import Given
from antiphon.client.blocking.connection import BlockingConnection
from antiphon.client.blocking.dial import BlockingDialled, dial
from antiphon.client.blocking.reconnect import BlockingReconnector
from antiphon.client.blocking.session import Session
from antiphon.client.blocking.sign_in import BlockingSignIn
from antiphon.client.protocol.sign_in import SignInSteps, at_once
from antiphon.client.unattended import UnattendedSignIn, program_settings
from antiphon.identity.invitations import Code
from antiphon.identity.passwords import Password
from antiphon.settings import ClientSettings

Secret = str | Password
"""A password; as `Password` it does not print."""
AskedFor = Secret | Callable[[], Secret]


def connect(
    address: str | Address | Code | Iterable[str | Address],
    *,
    name: str | None = None,
    password: AskedFor | None = None,
    register: bool = False,
    replace: bool = False,
    timeout: float = 10.0,
    give_up: float | None = None,
    known_servers: str | PathLike[str] | None = None,
    language: str = "en",
) -> Session:
    """Sign in at `address` (`tls://ann@host:7862#sha256:...`, or a part of it) and return the open session.

    The server is trusted if the address carries its key's fingerprint, if `known_servers` has its key (by default
    the file that `antiphon connect` keeps), or if the system's authorities vouch for it; otherwise nothing is
    sent. The file is only read.

    Args:
        address: the server's address; or an invitation: then the name is registered if nobody has used it yet. A
            list of addresses, or text with commas between them, names nodes of one server: the first that answers
            is used, and the next one when it stops, is lost or does not answer. Each is trusted by itself, and
            none less than another.
        name: the name to sign in with; by default the name in the address.
        password: the password, or a function that returns it, such as `getpass.getpass`. The function is called
            only if the server is trusted and asks for a password, and no connection is held meanwhile.
        register: register this name with this password if the name is new.
        replace: if there may be no more sessions of this account and connections hold them all, end the oldest.
        timeout: seconds for the connection, for each step of the sign-in, for sending a message, and by default
            for each answer. The system's resolver keeps a time of its own.
        give_up: seconds for which a lost connection is tried again; by default as long as the session lives
            without a connection.
        known_servers: the file of known server keys.
        language: the language of greeting and refusals: `en` or `ru`.

    Raises:
        UsageError: the address, the name, the password or an argument cannot be used, or one is missing.
        ConnectError: the server could not be reached.
        SignInError: the server refused the sign-in; it is never tried again. `SessionsFull`: see `replace`.
        PasswordDue: a new password must be chosen first; run `antiphon connect` to choose it.
        ProtocolError: the server broke the protocol, or it could not be trusted (`TrustError`).
        ServerError: the server or its store failed.
        TimedOut: something took longer than `timeout`.
    """
    settings = program_settings(name, known_servers, timeout, give_up, register=register, replace=replace)
    sign_in = _SignIn(address, settings, password, language)
    dialled, welcome = at_once(sign_in.run())
    patience = welcome.lifetimes.unheld if give_up is None else give_up
    reconnector = BlockingReconnector(
        sign_in.addresses, sign_in.known, dialled, give_up=patience, language=language, timeout=timeout
    )
    return Session(dialled.connection, welcome, reconnector, timeout)


class _SignIn(UnattendedSignIn[BlockingConnection]):
    def __init__(self, place: Given, settings: ClientSettings, password: AskedFor | None, language: str) -> None:
        super().__init__(place, settings, password)
        self._language = language

    async def _dial(self) -> BlockingDialled:
        return dial(self.tried, self.known, self._settings.timeout)

    def _steps(self, dialled: BlockingDialled) -> SignInSteps:
        return BlockingSignIn(dialled.connection, self._language)

    async def _leave(self, connection: BlockingConnection) -> None:
        connection.leave(self._settings.timeout)

    async def _close(self, connection: BlockingConnection) -> None:
        connection.hang_up()

    def _abort(self, connection: BlockingConnection) -> None:
        connection.abort()

    async def _ask(self, question: Callable[[], Any]) -> Secret:
        secret: Secret = question()
        return secret
