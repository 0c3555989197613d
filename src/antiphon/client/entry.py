"""A program's way in, in asyncio: `connect`."""

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from os import PathLike
from typing import Any

from antiphon.address import Address
from antiphon.client.connection import ClientConnection
from antiphon.client.dial import Dialled, dial
from antiphon.client.link import Link
from antiphon.client.session import Session
from antiphon.client.signin import SignIn
from antiphon.client.steps import Steps
from antiphon.client.trust import KnownServers
from antiphon.client.way_in import WayIn, program_settings
from antiphon.identity.invitations import Code
from antiphon.identity.passwords import Password
from antiphon.settings import ClientSettings
from antiphon.wire.bodies import Welcome

ClientSession = Session
"""As the root calls it, where `Session` is the service's."""
Secret = str | Password
AskedFor = Secret | Callable[[], Secret | Awaitable[Secret]]


@contextlib.asynccontextmanager
async def connect(
    address: str | Address | Code,
    *,
    name: str | None = None,
    password: AskedFor | None = None,
    register: bool = False,
    timeout: float = 10.0,  # noqa: ASYNC109 - of each step, not of the whole
    give_up: float | None = None,
    known_servers: str | PathLike[str] | None = None,
    language: str = "en",
) -> AsyncIterator[Session]:
    """Sign in to the server at `address` and yield the session; leaving the block leaves the session.

    The server's key must be in the address, in the file `known_servers`, or vouched for by the system's
    authorities; otherwise nothing is sent. The file is read only. A link that is lost comes back by itself.
    In the place of the address an invitation may stand: then the name is registered with it, if nobody has used
    it yet. No connection is held while the password is asked for.

    Args:
        address: where the server is: `tls://ann@host:7862#sha256:...` or a part of it, down to the host.
        name: whom to sign in as; by default the name in the address.
        password: the password, or a function, plain or `async`, that returns it and is called only where one is
            asked for.
        register: become known under this name, with this password, if it is new.
        timeout: seconds for the connection, and for each step of the sign-in.
        give_up: seconds for which a link that was lost is tried again; by default for as long as the session lives
            without one.
        known_servers: the file of server keys that are known; by default the one that `antiphon connect` keeps.
        language: of greeting and refusals, `en` or `ru`.

    Raises:
        ServerKeyUnknown: nothing speaks for the server's key.
        SignInError: the server did not let us in; this is never tried again.
        PasswordDue: it did, but a new password must be chosen first; that is done at a terminal.
        UsageError: something is missing, or cannot be as it was given.
        AntiphonError: there is no such server, it breaks the protocol, or it does not answer in time.
    """
    settings = program_settings(name, known_servers, timeout, give_up, register=register)
    entry = _Entry(address, settings, password, language)
    dialled, welcome = await entry.enter()
    async with session_on(
        entry.address, entry.known, dialled, welcome, timeout=timeout, give_up=give_up, language=language
    ) as session:
        yield session


@contextlib.asynccontextmanager
async def session_on(
    address: Address,
    known: KnownServers,
    dialled: Dialled,
    welcome: Welcome,
    *,
    timeout: float = 10.0,  # noqa: ASYNC109 - of each step, not of the whole
    give_up: float | None = None,
    language: str = "en",
) -> AsyncIterator[Session]:
    """Yield the session that `dialled` was let into; leaving the block leaves it, in haste after an error."""
    patience = welcome.lifetimes.unheld if give_up is None else give_up
    link = Link(address, known, dialled, give_up=patience, language=language, timeout=timeout)
    session = Session(dialled.connection, welcome, link)
    try:
        yield session
    except BaseException:
        await session.hang_up()
        raise
    await session.leave()


class _Entry(WayIn[ClientConnection]):
    def __init__(
        self, place: str | Address | Code, settings: ClientSettings, password: AskedFor | None, language: str
    ) -> None:
        super().__init__(place, settings, password)
        self._language = language

    async def _dial(self) -> Dialled:
        return await dial(self.address, self.known, self._settings.timeout)

    def _steps(self, reached: Dialled) -> Steps:
        return SignIn(reached.connection, self._language, self._settings.timeout)

    async def _part(self, connection: ClientConnection, *, in_session: bool) -> None:
        await (connection.leave() if in_session else connection.hang_up())

    def _abort(self, connection: ClientConnection) -> None:
        connection.abort()

    async def _ask(self, question: Callable[[], Any]) -> Secret:
        said = question()
        secret: Secret = await said if inspect.isawaitable(said) else said
        return secret
