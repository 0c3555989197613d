"""The way in: what the server does with each control frame before a session is open.

Steps are coroutines because they ask the store; the connection runs one at a time. Whatever goes wrong in a
proof is one refusal, the same for a name that nobody has (promise 5).
"""

import asyncio
import contextlib
import math
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime
from gettext import NullTranslations
from typing import NamedTuple

import scramp  # noqa: F401 - what `identity` imports when it is needed: here before anybody waits for it

from antiphon.data.credentials import seal, unseal, verifier_of
from antiphon.errors import (
    AccessUnsupported,
    AntiphonError,
    FrameUnexpected,
    InvitationRefused,
    MechanismUnsupported,
    NameInvalid,
    NameLocked,
    RegistrationClosed,
    SessionEnded,
    SignInError,
    SignInRefused,
    TooManyFailures,
    TooManyRefusals,
    TryLater,
)
from antiphon.identity.names import Name, prepare
from antiphon.identity.scram import ServerExchange, mock_verifier
from antiphon.identity.tokens import Token
from antiphon.language import catalogue, choose
from antiphon.server.context import ServerContext
from antiphon.server.greeting import greeting
from antiphon.server.sessions import Holder, Session
from antiphon.store.contracts import Account, Visit
from antiphon.wire import bodies
from antiphon.wire.bodies import (
    Authenticate,
    Challenge,
    ChallengeAnswer,
    FirstRequest,
    Identified,
    Identify,
    Lifetimes,
    Register,
    Resume,
    Welcome,
)
from antiphon.wire.conversation import REFUSAL_LIMIT, Control
from antiphon.wire.kinds import Kind

NONCE_SIZE = 24
"""Bytes of the server's nonce: 192 bits, 32 characters."""


class Reply(NamedTuple):
    """A control frame that answers."""

    kind: Kind
    body: bodies.Body


class Admission(NamedTuple):
    """The way in has been found: the session, its token and the WELCOME that tells of it."""

    session: Session
    token: Token
    welcome: Welcome
    resumed: Resume | None = None
    """What was asked for, where the session is one that is taken up again."""


class _Proof(NamedTuple):
    """A SASL exchange under way."""

    exchange: ServerExchange
    claimed: str
    """The name, as it came."""
    key: str
    """The name's key; what was claimed where it is no name."""
    account: Account | None
    """None for a name that nobody has."""


class SignIn:
    """The way in of one connection."""

    def __init__(
        self, context: ServerContext, holder: Holder, address: str, host: str, binding: bytes | None
    ) -> None:
        """Sign in the one who connected from `address`, a port of `host`; `binding` is TLS's, if any."""
        self._context = context
        self._holder = holder
        self._address = address
        self._host = host
        self._binding = binding
        self._proof: _Proof | None = None
        self._refusals = 0
        self.catalogue: NullTranslations = catalogue(context.language)

    async def step(self, control: Control) -> Reply | Admission:
        """Do what a control frame asks for.

        Raises:
            AntiphonError: the refusal to send. A `ProtocolError` ends the connection.
        """
        body = control.body
        if isinstance(body, FirstRequest):
            self.catalogue = catalogue(choose(body.language, {}))
        match body:
            case Identify():
                return await self._identify(body)
            case Register():
                return await self._register(body)
            case Authenticate():
                return await self._authenticate(body)
            case ChallengeAnswer():
                return await self._prove(body)
            case Resume():
                return await self._resume(body, Token(control.token))
            case _:
                raise FrameUnexpected(kind=Kind(control.kind).name)

    async def _identify(self, request: Identify) -> Reply | Admission:
        if request.name is None:
            raise self._no_way_in("IDENTIFY without a name")
        if request.instead_of is not None:
            raise self._no_way_in("IDENTIFY with instead_of")
        name = prepare(request.name)
        invitation, free = request.invitation, None
        if invitation is not None:
            with self._refusals_told(request.name):
                await self._context.invited.check(invitation, name, self._host)
        if self._context.registration or invitation is not None:
            free = await self._context.accounts.find(name.key) is None
        return Reply(Kind.IDENTIFY, Identified(name=name.display, free=free))

    async def _register(self, request: Register) -> Reply:
        with self._refusals_told(request.name):
            account = await self._keep(request)
        invited = request.invitation is not None
        self._context.log.info("registered", name=account.display, address=self._address, invitation=invited)
        return Reply(Kind.REGISTER, Identified(name=account.display, free=False))

    async def _keep(self, request: Register) -> Account:
        context, invitation = self._context, request.invitation
        if not context.registration and invitation is None:
            raise RegistrationClosed
        name = prepare(request.name)
        verifier = verifier_of(request.credential)

        async def keep(mark: bytes | None = None) -> Account:
            return await context.accounts.register(
                name,
                lambda number: seal(context.ring, verifier, number, context.random),
                request.credential.type,
                context.clock(),
                self._host,
                invitation=mark,
            )

        if invitation is not None:
            with context.invited.looking(invitation, self._host) as mark:
                return await keep(mark)
        self._count_new_name()
        return await keep()

    @contextlib.contextmanager
    def _refusals_told(self, claimed: str) -> Iterator[None]:
        """Tell the log of a name that was not let in; a wrong invitation counts as a wrong password does."""
        try:
            yield
        except InvitationRefused as error:
            self._refuse(claimed, None, error.code)
            raise
        except (SignInError, NameInvalid, TryLater) as error:
            self._context.log.warning("refused", name=claimed, address=self._address, code=error.code)
            raise

    def _count_new_name(self) -> None:
        wait = self._context.registrations.admit(self._host, asyncio.get_running_loop().time())
        if wait:
            raise TryLater(wait=math.ceil(wait))

    async def _authenticate(self, request: Authenticate) -> Reply:
        context = self._context
        if request.mechanism != context.mechanism:
            raise MechanismUnsupported(mechanism=request.mechanism, mechanisms=context.mechanism)
        nonce = b64encode(context.random(NONCE_SIZE)).decode()
        exchange = ServerExchange(request.mechanism, self._binding, nonce)
        claimed, account = "", None
        try:
            claimed = exchange.name_in(request.data)
            name = _prepared(claimed)
            key = name.key if name else claimed
            account = await context.accounts.find(name.key) if name else None
            if account is None:
                verifier = mock_verifier(key, context.ring.mock_key)
            else:
                verifier = unseal(context.ring, account)
            challenge = exchange.challenge(verifier)
        except SignInRefused:
            self._refuse(claimed, account)
            raise
        self._proof = _Proof(exchange, claimed, key, account)
        return Reply(Kind.CHALLENGE, Challenge(data=challenge))

    async def _prove(self, answer: ChallengeAnswer) -> Admission:
        proof, self._proof = self._proof, None
        if proof is None:
            raise FrameUnexpected(kind=Kind.CHALLENGE.name)
        try:
            # Counted before it is looked at: of guesses that come at once, none is free.
            await self._context.throttle.attempt(proof.key, self._host)
            signature = proof.exchange.verify(answer.data)
            account = _allowed_in(proof.account, self._context.clock())
            return await self._admit(account, signature)
        except (SignInRefused, TooManyFailures, NameLocked) as error:
            self._refuse(proof.claimed, proof.account, error.code)
            raise

    def _refuse(self, claimed: str, account: Account | None, code: str = SignInRefused.code) -> None:
        """Count a refusal; nobody waits for the store, so that a known name takes no longer (promise 5)."""
        context = self._context
        context.log.warning("refused", name=claimed or None, address=self._address, code=code)
        if account is not None:
            context.start(count_refusal(context, account))
        self._refusals += 1
        if self._refusals >= REFUSAL_LIMIT:
            raise TooManyRefusals

    async def _admit(self, account: Account, signature: bytes) -> Admission:
        context = self._context
        proved = context.throttle.marks(account.key, self._host)
        session, token, visit = await context.sessions.open(account, self._holder, self._host, proved)
        context.log.info("signed-in", name=account.display, address=self._address, first=visit is None)
        welcome = self._welcome(session, visit, first=visit is None, token=bytes(token), data=signature)
        return Admission(session, token, welcome)

    async def _resume(self, request: Resume, token: Token) -> Admission:
        context = self._context
        try:
            session = await context.sessions.resume(token, self._holder)
        except SessionEnded as error:
            self._refuse("", None, error.code)
            raise
        try:
            await self._take_over(session)
        except BaseException:  # else it would count as held for as long as the server runs
            with contextlib.suppress(AntiphonError):
                await context.sessions.release(session)
            raise
        context.log.info("resumed", name=session.name, address=self._address)
        welcome = self._welcome(session, None, first=False, token=None, data=None)
        return Admission(session, token, welcome, request)

    async def _take_over(self, session: Session) -> None:
        """Go on with a dialogue that a server which has stopped kept: the store gives it only once."""
        dialogues = self._context.dialogues
        if dialogues.find(session) is None:
            kept = await self._context.sessions.kept(session)
            dialogue = dialogues.find(session) or dialogues.begin(self._context, session)
            if kept is not None or not dialogue.restored:
                dialogue.restore(kept)

    def _no_way_in(self, kind: str) -> AccessUnsupported:
        return AccessUnsupported(kind=kind, access=self._context.settings.access)

    def _welcome(
        self, session: Session, visit: Visit | None, *, first: bool, token: bytes | None, data: bytes | None
    ) -> Welcome:
        settings = self._context.settings
        return Welcome(
            name=session.name or "",
            first=first,
            last_visit=visit.at.isoformat() if visit else None,
            last_address=visit.address if visit else None,
            refusals=visit.refusals if visit else 0,
            token=token,
            lifetimes=Lifetimes(unheld=settings.session_unheld, total=settings.session_total),
            must_change=session.must_change,
            greeting=greeting(self.catalogue, session.name or "", visit) if token else "",
            data=data,
        )


async def count_refusal(context: ServerContext, account: Account) -> None:
    """Count a refused proof for the account; a store that cannot do it is no news for the peer."""
    try:
        await context.accounts.refused(account.id)
    except AntiphonError as error:
        context.log.exception("store-failed", code=error.code, name=account.display)


def _allowed_in(account: Account | None, at: datetime) -> Account:
    """Return the account, now that its password is proved; one disabled or expired looks like a wrong password."""
    if account is None or account.disabled or (account.expires_at is not None and account.expires_at <= at):
        raise SignInRefused
    return account


def _prepared(claimed: str) -> Name | None:
    """Return the name that a SCRAM message claims; one that cannot be a name is one that nobody has."""
    try:
        return prepare(claimed)
    except NameInvalid:
        return None
