"""Admission: what a sign-in ends with, and what every access shares on the way to it.

`SignIn` is the contract. `PasswordSignIn`, `AddressSignIn` and `OpenSignIn` fulfil it, one for each access. Each
uses an `Admitter` for the language, the WELCOME and resumed sessions.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from gettext import NullTranslations
from typing import NamedTuple, Protocol

from antiphon.errors import AccessUnsupported, FrameUnexpected, ProtocolError, SessionEnded, SessionsFull
from antiphon.identity.tokens import Token
from antiphon.language import Translate, catalogue, choose
from antiphon.observe.log import ServerLog
from antiphon.server.auth.greeting import greeting
from antiphon.server.auth.refusals import Refusals
from antiphon.server.peer import Peer
from antiphon.server.session.manager import Holder, Session
from antiphon.settings import Access
from antiphon.store.contracts import Visit
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


class SignIn(Protocol):
    """The sign-in of one connection, in the access of its server."""

    @property
    def translate(self) -> Translate:
        """Translation into the language that the client asked for last."""

    async def step(self, control: Control) -> Reply | Admission:
        """Answer one control frame.

        Raises:
            AntiphonError: the refusal to send. A `ProtocolError` ends the connection.
        """


ResumeSession = Callable[[Token, Holder], Awaitable[Session]]
"""Resumes the session of a token on the connection that is its new holder.

Raises:
    SessionEnded: the session was left, revoked or expired, or never was.
    TryLater: the store does not answer; the session can be resumed later.
"""


class Admitter:
    """Admits one connection: in the client's language, with a WELCOME; it also resumes sessions."""

    __slots__ = ("_catalogue", "_lifetimes", "_resume", "access", "holder", "log", "refusals")

    def __init__(
        self,
        access: Access,
        holder: Holder,
        refusals: Refusals,
        *,
        resume: ResumeSession,
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
            lifetimes: of sessions, for the WELCOME.
            language: for a client that names none.
            log: where sign-ins are written.
        """
        self.access = access
        self.holder = holder
        self.refusals = refusals
        self.log = log
        self._resume = resume
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

    async def resume(self, control: Control) -> Admission:
        """Resume the session whose token a RESUME carries.

        Raises:
            SessionEnded: it cannot be resumed. This counts as a refusal.
            TryLater: the store does not answer.
        """
        assert isinstance(control.body, Resume)
        token = Token(control.token)
        try:
            session = await self._resume(token, self.holder)
        except SessionEnded as error:
            self.refusals.count(None, code=error.code)
            raise
        self.log.info("resumed", name=session.name, address=self.peer.address)
        return Admission(session, token, self._welcome(session), control.body)

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
