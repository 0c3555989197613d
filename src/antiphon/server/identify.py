"""The way in where nobody has to prove a name: by the address (`identify`), or by nothing at all (`anyone`).

Taking a session up again is the same as with a password, and is left to `signin.py`.
"""

from antiphon.errors import BodyInvalid, RegistrationClosed, SignInError, TryLater
from antiphon.identity.names import Name, prepare
from antiphon.server.context import ServerContext
from antiphon.server.sessions import Holder
from antiphon.server.signin import Admission, Reply, SignIn
from antiphon.store.contracts import Client, Visit
from antiphon.wire.bodies import Authenticate, Identified, Identify, Register
from antiphon.wire.kinds import Kind

NAMES_MOST = 16
"""Names that are known at one address; the one that was used longest ago makes way."""


class Identification(SignIn):
    """The way in of one connection, in access `identify`."""

    async def _identify(self, request: Identify) -> Reply | Admission:
        if request.name is not None:
            return await self._take(request.name, request.instead_of)
        if request.instead_of is not None:
            raise BodyInvalid(kind=Kind.IDENTIFY.name, problem="instead_of needs a name")
        names = [client.display for client in await self._context.clients.at(self._host)]
        return Reply(Kind.IDENTIFY, Identified(name=None, free=None, known=names))

    async def _register(self, request: Register) -> Reply:  # noqa: ARG002 - it has no place here, whatever it says
        raise self._no_way_in(Kind.REGISTER.name)

    async def _authenticate(self, request: Authenticate) -> Reply:  # noqa: ARG002 - likewise
        raise self._no_way_in(Kind.AUTHENTICATE.name)

    async def _take(self, claimed: str, instead_of: str | None) -> Admission:
        """Let in the one who gives a name; a new one is kept."""
        name = prepare(claimed)
        wrong = None if instead_of is None else prepare(instead_of)
        known = {client.key: client for client in await self._context.clients.at(self._host)}
        if name.key not in known:
            self._admit_new(name)
        was = known.get(wrong.key) if wrong else None
        if was is not None:
            await self._rename(was, name)
        display = name.display if was or name.key not in known else known[name.key].display
        return await self._visit(Name(display, name.key))

    def _admit_new(self, name: Name) -> None:
        """Take a name that is new at this address, if new ones are taken; they are counted as registrations are.

        Raises:
            RegistrationClosed: none is.
            TryLater: too many have come.
        """
        context = self._context
        try:
            if not context.registration:
                raise RegistrationClosed
            self._count_new_name()
        except (SignInError, TryLater) as error:
            context.log.warning("refused", name=name.display, address=self._address, code=error.code)
            raise

    async def _rename(self, was: Client, name: Name) -> None:
        context = self._context
        await context.clients.renamed(self._host, was.key, name, context.clock())
        context.log.info("renamed", name=name.display, was=was.display, address=self._address)

    async def _visit(self, name: Name) -> Admission:
        context = self._context
        last = await context.clients.visited(self._host, name, context.clock(), NAMES_MOST)
        visit = None if last is None else Visit(at=last, address=self._host, refusals=0)
        return await self._let_in(name.display, visit)

    async def _let_in(self, name: str, visit: Visit | None) -> Admission:
        context = self._context
        session, token = await context.sessions.open_unproved(name, self._host, self._holder)
        first = visit is None if name else None  # of one whom nobody asks nothing is known
        context.log.info("signed-in", name=name or None, address=self._address, first=first)
        welcome = self._welcome(session, visit, first=bool(first), token=bytes(token), data=None)
        return Admission(session, token, welcome)


class OpenDoor(Identification):
    """The same in access `anyone`: nobody is asked, nothing is kept."""

    async def _identify(self, request: Identify) -> Reply | Admission:
        if request.name is not None or request.instead_of is not None:
            raise self._no_way_in("IDENTIFY with a name")
        return await self._let_in("", None)


def way_in(context: ServerContext, holder: Holder, address: str, host: str, binding: bytes | None) -> SignIn:
    """Return the way in that the server's access asks of whoever connects; the arguments are `SignIn`'s."""
    kind = {"authenticate": SignIn, "identify": Identification, "anyone": OpenDoor}[context.settings.access]
    return kind(context, holder, address, host, binding)
