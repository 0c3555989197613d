"""Admission: what a sign-in ends with, and what every access shares on the way to it.

`SignIn` is the contract. `PasswordSignIn`, `AddressSignIn` and `OpenSignIn` fulfil it, one for each access. Each
uses an `Admitter` for the language, the WELCOME and resumed sessions.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from gettext import NullTranslations
from typing import NamedTuple, Protocol

from antiphon.errors import AccessUnsupported, FrameUnexpected, ProtocolError, SessionEnded, SessionsFull, TryLater
from antiphon.identity.tokens import Token
from antiphon.language import Translate, catalogue, choose
from antiphon.observe.log import ServerLog
from antiphon.server.auth.greeting import greeting
from antiphon.server.auth.refusals import Refusals
from antiphon.server.peer import Peer
from antiphon.server.relay.link import RELAY_VERSION, RelayLink
from antiphon.server.relay.opening import Opening
from antiphon.server.session.holder import Holder, Session
from antiphon.settings import Access
from antiphon.store.contracts import ProcessRecord, Visit
from antiphon.wire import bodies
from antiphon.wire.bodies import (
    Authenticate,
    Body,
    ChallengeAnswer,
    FirstRequest,
    Identify,
    Lifetimes,
    Register,
    Resume,
    Welcome,
)
from antiphon.wire.conversation import Control
from antiphon.wire.frames import encode
from antiphon.wire.kinds import Kind

FRAMES: dict[Access, tuple[type[Body], ...]] = {
    "authenticate": (Identify, Register, Authenticate, ChallengeAnswer, Resume),
    "identify": (Identify, Resume),
    "anyone": (Identify, Resume),
}
"""Bodies of the frames that each access takes before a session is open."""

_OF_PASSWORDS = (Register, Authenticate)
"""Bodies that only an access with passwords takes; the error for them names the access."""


class Reply(NamedTuple):
    """Control frame that answers a request."""

    kind: Kind
    body: Body


class Admission(NamedTuple):
    """A sign-in that has succeeded: the session, its token and the WELCOME."""

    session: Session
    token: Token
    welcome: Welcome
    resumed: Resume | None = None
    """The request, if the session is resumed."""


class Relayed(NamedTuple):
    """A resume that another process has taken: the home of the session."""

    link: RelayLink
    home: str
    """Id of that process."""


class Elsewhere(NamedTuple):
    """A resume on a relayed connection whose session has its home not here: whoever relays looks again."""


Outcome = Reply | Admission | Relayed | Elsewhere
"""Outcome of a control frame that is not refused."""


class SignIn(Protocol):
    """The sign-in of one connection, in the access of its server."""

    @property
    def translate(self) -> Translate:
        """Translation into the language that the client asked for last."""

    async def step(self, control: Control) -> Outcome:
        """Answer one control frame.

        Raises:
            AntiphonError: the refusal to send. A `ProtocolError` ends the connection.
        """


STEP_SECONDS = 2.75
"""Time in which a control frame is answered (promise 23), however many questions to the store it takes."""


def time_limit() -> float:
    """Return the time of the event loop at which a step that begins now has to be answered."""
    return asyncio.get_running_loop().time() + STEP_SECONDS


@contextlib.asynccontextmanager
async def in_time(until: float | None = None) -> AsyncIterator[None]:
    """Run a block that asks the store for no longer than `STEP_SECONDS`, or `until` a `time_limit`.

    Raises:
        TryLater: it took longer. The store may have done what it was asked to.
    """
    try:
        async with asyncio.timeout_at(time_limit() if until is None else until):
            yield
    except TimeoutError as error:
        raise TryLater from error


ResumeSession = Callable[[Token, Holder], Awaitable[Session | ProcessRecord | None]]
"""Resumes the session of a token on the connection that is its new holder, or returns the process that is its
home; None if it has no home and cannot have it here.

Raises:
    SessionEnded: the session was left, revoked or expired, or never was.
    TryLater: the store does not answer; the session can be resumed later.
"""
RelayTo = Callable[[ProcessRecord, Opening, Token, Holder], Awaitable[RelayLink | None]]
"""Has another process take up the session of a token; None if it is not its home any more. See `RelayDialer`."""
MOVES_MOST = 3
"""Tries to find a session that moves meanwhile."""


class Admitter:
    """Admits one connection: in the client's language, with a WELCOME; it also resumes sessions."""

    __slots__ = ("_catalogue", "_lifetimes", "_relay", "_resume", "access", "holder", "log", "refusals")

    def __init__(
        self,
        access: Access,
        holder: Holder,
        refusals: Refusals,
        *,
        resume: ResumeSession,
        relay: RelayTo,
        lifetimes: Lifetimes,
        language: str,
        log: ServerLog,
    ) -> None:
        """Admit `holder`.

        Args:
            access: the server's, for errors.
            holder: the connection that will hold the session.
            refusals: of this connection.
            resume: resumes a session.
            relay: has another process do so.
            lifetimes: of sessions, for the WELCOME.
            language: for a client that names none.
            log: where sign-ins are written.
        """
        self.access = access
        self.holder = holder
        self.refusals = refusals
        self.log = log
        self._resume = resume
        self._relay = relay
        self._lifetimes = lifetimes
        self._catalogue: NullTranslations = catalogue(language)

    @property
    def peer(self) -> Peer:
        """The other end of the connection."""
        return self.holder.peer

    @property
    def translate(self) -> Translate:
        """Translation into the client's language."""
        return self._catalogue.gettext

    def check(self, control: Control) -> None:
        """Check that the access takes this frame, and note the language that it asks for.

        Raises:
            ProtocolError: the access does not take it.
        """
        body = control.body
        if isinstance(body, FirstRequest):
            self._catalogue = catalogue(choose(body.language, {}))
        if not isinstance(body, FRAMES[self.access]):
            kind = Kind(control.kind).name
            raise self.unsupported(kind) if isinstance(body, _OF_PASSWORDS) else FrameUnexpected(kind=kind)

    def unsupported(self, form: str) -> ProtocolError:
        """Return the error for a form of request that the access does not have."""
        return AccessUnsupported(kind=form, access=self.access)

    @contextlib.contextmanager
    def told_when_full(self, name: str) -> Iterator[None]:
        """Log that a session is refused which a block opens, because all that there may be are held.

        It is no refusal that counts: nothing was guessed.
        """
        try:
            yield
        except SessionsFull:
            self.log.info("sign-in-full", name=name or None, address=self.peer.address)
            raise

    async def resume(self, control: Control) -> Admission | Relayed | Elsewhere:
        """Resume the session whose token a RESUME carries, here or at its home.

        Raises:
            SessionEnded: it cannot be resumed. This counts as a refusal.
            TryLater: the store or the home does not answer.
        """
        assert isinstance(control.body, Resume)
        token = Token(control.token)
        try:
            for _ in range(MOVES_MOST):
                async with in_time():
                    outcome = await self._resume(token, self.holder)
                if isinstance(outcome, Session):
                    self.log.info("resumed", name=outcome.name, address=self.peer.address)
                    return Admission(outcome, token, self._welcome(outcome), control.body)
                if self.peer.relayed_by is not None:  # a relayed connection is never relayed again
                    return Elsewhere()
                if outcome is None:
                    continue
                link = await self._relay(outcome, self._opening(control), token, self.holder)
                if link is not None:
                    self.log.info("relayed", address=self.peer.address, home=outcome.id)
                    return Relayed(link, outcome.id)
        except SessionEnded as error:
            self.refusals.count(None, code=error.code)
            raise
        raise TryLater(wait=1)

    def _opening(self, control: Control) -> Opening:
        """Return what the home of a session must know of this connection and its RESUME."""
        peer, holder = self.peer, self.holder
        return Opening(
            version=RELAY_VERSION,
            process="",
            address=peer.address,
            host=peer.host,
            binding=peer.binding,
            accepted_at=holder.accepted_at,
            can_half_close=holder.can_half_close,
            resume=encode(Kind.RESUME, control.id, bodies.encode(control.body), token=control.token),
        )

    def admit(
        self, session: Session, token: Token, visit: Visit | None, *, first: bool | None, data: bytes | None = None
    ) -> Admission:
        """Admit the client to a session that has just been opened, and log it.

        Args:
            session: the session.
            token: its token.
            visit: the visit before this one, if any.
            first: whether this is the first visit; None if nothing is known of the client.
            data: the server's signature, which ends a SCRAM exchange.
        """
        self.log.info("signed-in", name=session.name, address=self.peer.address, first=first)
        welcome = self._welcome(session, visit, first=bool(first), token=token, data=data)
        return Admission(session, token, welcome)

    def _welcome(
        self,
        session: Session,
        visit: Visit | None = None,
        *,
        first: bool = False,
        token: Token | None = None,
        data: bytes | None = None,
    ) -> Welcome:
        name = session.name or ""
        return Welcome(
            name=name,
            first=first,
            last_visit=visit.at.isoformat() if visit else None,
            last_address=visit.address if visit else None,
            refusals=visit.refusals if visit else 0,
            token=None if token is None else bytes(token),
            lifetimes=self._lifetimes,
            must_change=session.must_change,
            greeting=greeting(self._catalogue, name, visit) if token else "",
            data=data,
        )
