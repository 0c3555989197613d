"""Sign-in without a password: by the address (access `identify`), or by nothing (access `anyone`)."""

from collections.abc import Callable
from datetime import datetime

from antiphon.errors import BodyInvalid, SignInError, TryLater
from antiphon.identity.names import Name, prepare
from antiphon.language import Translate
from antiphon.server.auth.admission import Admission, Admitter, Outcome, Reply
from antiphon.server.auth.registration import Registration
from antiphon.server.session.manager import SessionManager
from antiphon.store.contracts import Client, Clients, Visit
from antiphon.wire.bodies import Identified, Identify
from antiphon.wire.conversation import Control
from antiphon.wire.kinds import Kind

NAMES_MOST = 16
"""Most names that are known at one address; a new one replaces the one that was used longest ago."""


class AddressSignIn:
    """The sign-in of one connection in access `identify`; a `SignIn`."""

    __slots__ = ("_admitter", "_clients", "_clock", "_registration", "_sessions")

    def __init__(
        self,
        admitter: Admitter,
        *,
        clients: Clients,
        sessions: SessionManager,
        registration: Registration,
        clock: Callable[[], datetime],
    ) -> None:
        """Sign in the peer that `admitter` admits."""
        self._admitter = admitter
        self._clients = clients
        self._sessions = sessions
        self._registration = registration
        self._clock = clock

    @property
    def translate(self) -> Translate:
        """See `SignIn`."""
        return self._admitter.translate

    async def step(self, control: Control) -> Outcome:
        """See `SignIn`."""
        self._admitter.check(control)
        request = control.body
        if not isinstance(request, Identify):
            return await self._admitter.resume(control)
        if request.name is not None:
            return await self._enter(request.name, request.instead_of, replace=request.replace is True)
        if request.instead_of is not None:
            raise BodyInvalid(kind=Kind.IDENTIFY.name, problem="instead_of needs a name")
        names = [client.display for client in await self._clients.at(self._admitter.peer.host)]
        return Reply(Kind.IDENTIFY, Identified(name=None, free=None, known=names))

    async def _enter(self, claimed: str, instead_of: str | None, *, replace: bool) -> Admission:
        """Admit the client by the name that it gives; a new name is kept."""
        name = prepare(claimed)
        wrong = None if instead_of is None else prepare(instead_of)
        known = {client.key: client for client in await self._clients.at(self._admitter.peer.host)}
        if name.key not in known:
            await self._admit_new(name)
        was = known.get(wrong.key) if wrong else None
        if was is not None:
            await self._rename(was, name)
        display = name.display if was or name.key not in known else known[name.key].display
        return await self._visit(Name(display, name.key), replace=replace)

    async def _admit_new(self, name: Name) -> None:
        """Count a name that is new at this address.

        Raises:
            RegistrationClosed: new names are not taken.
            TryLater: there are too many.
        """
        try:
            await self._registration.admit_new(self._admitter.peer.host)
        except (SignInError, TryLater) as error:
            self._admitter.refusals.log(name.display, error.code)
            raise

    async def _rename(self, was: Client, name: Name) -> None:
        peer = self._admitter.peer
        await self._clients.renamed(peer.host, was.key, name, self._clock())
        self._admitter.log.info("renamed", name=name.display, was=was.display, address=peer.address)

    async def _visit(self, name: Name, *, replace: bool) -> Admission:
        admitter, host = self._admitter, self._admitter.peer.host
        last = await self._clients.visited(host, name, self._clock(), NAMES_MOST)
        visit = None if last is None else Visit(at=last, address=host, refusals=0)
        with admitter.told_when_full(name.display):
            session, token = await self._sessions.open_unproved(
                name.display, host, admitter.holder, replace=replace
            )
        return admitter.admit(session, token, visit, first=visit is None)


class OpenSignIn:
    """The sign-in of one connection in access `anyone`, a `SignIn`: nobody gives a name, nothing is kept."""

    __slots__ = ("_admitter", "_sessions")

    def __init__(self, admitter: Admitter, *, sessions: SessionManager) -> None:
        """Sign in the peer that `admitter` admits."""
        self._admitter = admitter
        self._sessions = sessions

    @property
    def translate(self) -> Translate:
        """See `SignIn`."""
        return self._admitter.translate

    async def step(self, control: Control) -> Outcome:
        """See `SignIn`."""
        self._admitter.check(control)
        request = control.body
        if not isinstance(request, Identify):
            return await self._admitter.resume(control)
        if request.name is not None or request.instead_of is not None:
            raise self._admitter.unsupported("IDENTIFY with a name")
        admitter = self._admitter
        with admitter.told_when_full(""):
            session, token = await self._sessions.open_unproved(
                "", admitter.peer.host, admitter.holder, replace=request.replace is True
            )
        return admitter.admit(session, token, None, first=None)
