"""`connect` for asyncio: sign in without asking anyone, and hold the session open for a block."""

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from os import PathLike
from typing import Any, TypeVar

from antiphon.address import Address
from antiphon.client.addresses import Addresses, Given
from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.dial import Dialled, dial
from antiphon.client.aio.reconnect import AsyncReconnector
from antiphon.client.aio.session import ClientSession
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.protocol.sign_in import SignInSteps
from antiphon.client.trust import KnownServers
from antiphon.client.unattended import UnattendedSignIn, program_settings
from antiphon.identity.invitations import Code
from antiphon.identity.passwords import Password
from antiphon.settings import ClientSettings
from antiphon.wire.bodies import Welcome

Opened = TypeVar("Opened", bound=ClientSession)

Secret = str | Password
AskedFor = Secret | Callable[[], Secret | Awaitable[Secret]]


@contextlib.asynccontextmanager
async def connect(
    address: str | Address | Code | Iterable[str | Address],
    *,
    name: str | None = None,
    password: AskedFor | None = None,
    register: bool = False,
    replace: bool = False,
    timeout: float = 10.0,  # noqa: ASYNC109 - of each step, not of the whole
    give_up: float | None = None,
    known_servers: str | PathLike[str] | None = None,
    language: str = "en",
) -> AsyncIterator[ClientSession]:
    """Sign in to the server at `address` and yield the session; the end of the block leaves the session.

    The server's key must be in the address or in the file `known_servers`, or its certificate must be valid for
    the system's authorities; otherwise nothing is sent. The file is only read. A lost connection is restored
    automatically. With an invitation in place of the address, the name is registered if nobody has used the
    invitation yet. No connection is held while the password is asked for.

    Args:
        address: the server's address: `tls://ann@host:7862#sha256:...` or a part of it, down to the host. A list
            of addresses, or text with commas between them, names nodes of one server: the first that answers is
            used, and the next one when it stops, is lost or does not answer. Each is trusted by itself, and none
            less than another.
        name: the name to sign in with; by default the name in the address.
        password: the password, or a function, plain or `async`, that returns it. The function is called only if
            the server asks for a password.
        register: register this name with this password if the name is new.
        replace: if there may be no more sessions of this account and connections hold them all, end the oldest.
        timeout: seconds for the connection, and for each step of the sign-in.
        give_up: seconds for which a lost connection is tried again; by default as long as the session lives
            without a connection.
        known_servers: the file of known server keys; by default the one that `antiphon connect` keeps.
        language: the language of greeting and refusals, `en` or `ru`.

    Raises:
        ServerKeyUnknown: nothing speaks for the server's key.
        SignInError: the server refused the sign-in; it is never tried again. `SessionsFull`: see `replace`.
        PasswordDue: a new password must be chosen first; run `antiphon connect` to choose it.
        UsageError: something is missing, or a value is impossible.
        AntiphonError: there is no such server, it breaks the protocol, or it does not answer in time.
    """
    settings = program_settings(name, known_servers, timeout, give_up, register=register, replace=replace)
    sign_in = _SignIn(address, settings, password, language)
    dialled, welcome = await sign_in.run()
    async with session_on(
        sign_in.addresses, sign_in.known, dialled, welcome, timeout=timeout, give_up=give_up, language=language
    ) as session:
        yield session


@contextlib.asynccontextmanager
async def session_on(
    addresses: Address | Addresses,
    known: KnownServers,
    dialled: Dialled,
    welcome: Welcome,
    *,
    timeout: float = 10.0,  # noqa: ASYNC109 - of each step, not of the whole
    give_up: float | None = None,
    language: str = "en",
) -> AsyncIterator[ClientSession]:
    """Yield the session that `welcome` opened; the end of the block leaves it, at once after an error."""
    patience = welcome.lifetimes.unheld if give_up is None else give_up
    reconnector = AsyncReconnector(addresses, known, dialled, give_up=patience, language=language, timeout=timeout)
    async with leaving(ClientSession(dialled.connection, welcome, reconnector)) as session:
        yield session


@contextlib.asynccontextmanager
async def leaving(session: Opened) -> AsyncIterator[Opened]:
    """Yield `session`; the end of the block leaves it, at once after an error."""
    try:
        yield session
    except BaseException:
        await session.hang_up()
        raise
    await session.leave()


class _SignIn(UnattendedSignIn[ClientConnection]):
    def __init__(self, place: Given, settings: ClientSettings, password: AskedFor | None, language: str) -> None:
        super().__init__(place, settings, password)
        self._language = language

    async def _dial(self) -> Dialled:
        return await dial(self.tried, self.known, self._settings.timeout)

    def _steps(self, dialled: Dialled) -> SignInSteps:
        return SignIn(dialled.connection, self._language, self._settings.timeout)

    async def _leave(self, connection: ClientConnection) -> None:
        await connection.leave()

    async def _close(self, connection: ClientConnection) -> None:
        await connection.hang_up()

    def _abort(self, connection: ClientConnection) -> None:
        connection.abort()

    async def _ask(self, question: Callable[[], Any]) -> Secret:
        said = question()
        secret: Secret = await said if inspect.isawaitable(said) else said
        return secret
