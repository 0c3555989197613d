"""A program's way in: what it was given, and nothing that anybody would have to be asked for."""

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from antiphon.address import Address, parse
from antiphon.blocklist import common_passwords
from antiphon.client.dial import Dialled, dial
from antiphon.client.link import Link
from antiphon.client.session import Session
from antiphon.client.signin import SignIn
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import (
    InputMissing,
    NameAmbiguous,
    PasswordNotAsked,
    RegistrationClosed,
    ServerKeyUnknown,
)
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password, check
from antiphon.wire.bodies import Welcome

ClientSession = Session
"""As the root calls it, where `Session` is the service's."""
Secret = str | Password
AskedFor = Secret | Callable[[], Secret | Awaitable[Secret]]


@contextlib.asynccontextmanager
async def connect(
    address: str | Address,
    *,
    name: str | None = None,
    password: AskedFor | None = None,
    register: bool = False,
    timeout: float = 10.0,  # noqa: ASYNC109 - of each step, not of the whole
    give_up: float | None = None,
    known_servers: Path | None = None,
    language: str = "en",
) -> AsyncIterator[Session]:
    """Sign in to the server at `address` and yield the session; leaving the block leaves the session.

    The server's key must be in the address, in the file `known_servers`, or vouched for by the system's
    authorities; otherwise nothing is sent. The file is read only. A link that is lost comes back by itself.

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
        UsageError: something is missing, or cannot be as it was given.
        AntiphonError: there is no such server, it breaks the protocol, or it does not answer in time.
    """
    place = parse(address) if isinstance(address, str) else address
    known = KnownServers(known_servers)
    dialled = await dial(place, known, timeout)
    try:
        entry = SignIn(dialled.connection, language, timeout)
        welcome = await _enter(place, dialled, entry, name or place.name, password, register=register)
    except BaseException:
        dialled.connection.abort()
        raise
    async with session_on(
        place, known, dialled, welcome, timeout=timeout, give_up=give_up, language=language
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


async def _enter(
    place: Address, dialled: Dialled, entry: SignIn, name: str | None, password: AskedFor | None, *, register: bool
) -> Welcome:
    if dialled.standing is Standing.UNKNOWN:
        raise ServerKeyUnknown(host=place.host, fingerprint=dialled.fingerprint)
    if dialled.hello.access == "authenticate":
        return await _prove(dialled, entry, name, password, register=register)
    return await _introduce(dialled, entry, place, name, password)


async def _prove(
    dialled: Dialled, entry: SignIn, name: str | None, password: AskedFor | None, *, register: bool
) -> Welcome:
    if name is None:
        raise InputMissing(what="The name", how="name= or name@host")
    name = prepare(name).display
    if password is None:
        raise InputMissing(what="The password", how="password=")
    new = False
    if register:
        if not dialled.hello.registration:
            raise RegistrationClosed
        new = bool((await entry.identify(name)).free)
    secret = await _given(password)
    if new:
        check(secret.text, dialled.hello.password_minimum, name=name, common=common_passwords())
        await entry.register(name, secret)
    return await entry.authenticate(name, secret)


async def _introduce(
    dialled: Dialled, entry: SignIn, address: Address, name: str | None, password: AskedFor | None
) -> Welcome:
    if password is not None and not callable(password):
        raise PasswordNotAsked(address=address.host)
    if dialled.hello.access == "anyone":
        return await entry.introduce(None)
    if name is None:
        known = await entry.known()
        if len(known) > 1:
            raise NameAmbiguous(names=", ".join(known))
        if not known:
            raise InputMissing(what="The name", how="name= or name@host")
        name = known[0]
    return await entry.introduce(prepare(name).display)


async def _given(password: AskedFor) -> Password:
    given = password() if callable(password) else password
    if inspect.isawaitable(given):
        given = await given
    return given if isinstance(given, Password) else Password(given)
