"""A change of password inside a session: the old one is proved as at the sign-in, then a new one takes its place.

The new epoch comes first and the end of the other sessions second, so that a sign-in under way with the old
password is refused.
"""

import asyncio
from base64 import b64encode
from typing import NamedTuple

from antiphon.data.credentials import seal, unseal, verifier_of
from antiphon.errors import (
    AntiphonError,
    FrameUnexpected,
    MechanismUnsupported,
    NameInvalid,
    NameLocked,
    SessionEnded,
    SignInRefused,
    TooManyFailures,
)
from antiphon.identity.names import prepare
from antiphon.identity.scram import ServerExchange
from antiphon.server.context import ServerContext
from antiphon.server.sessions import Session
from antiphon.server.signin import NONCE_SIZE, Reply, count_refusal
from antiphon.store.contracts import Account
from antiphon.wire.bodies import ChangePassword, Credential, PasswordAnswer
from antiphon.wire.kinds import Kind

AGAIN_SECONDS = 0.25
"""Pause before the other sessions are ended again, where the store could not do it."""


class _Proof(NamedTuple):
    """A SASL exchange under way, or one that has proved the password of the account as it was then."""

    exchange: ServerExchange
    account: Account


class PasswordChange:
    """The changes of password in one session, on one connection."""

    def __init__(
        self, context: ServerContext, session: Session, address: str, host: str, binding: bytes | None
    ) -> None:
        """Change the password of the account of `session`, and of no other.

        It is held by the one who connected from `address`, a port of `host`; `binding` is TLS's, if any.
        """
        self._context = context
        self._session = session
        self._address = address
        self._host = host
        self._binding = binding
        self._begun: _Proof | None = None
        self._proved: _Proof | None = None

    async def step(self, request: ChangePassword) -> Reply:
        """Do what a PASSWORD asks for; each step can be done once, and a new exchange forgets the one before.

        Raises:
            AntiphonError: the refusal to send. A `ProtocolError` ends the connection.
        """
        begun, proved = self._begun, self._proved
        self._begun = self._proved = None
        if request.credential is not None:
            return await self._replace(proved, request.credential)
        assert request.data is not None, "the body has one of three forms"
        if request.mechanism is not None:
            return await self._begin(request.mechanism, request.data)
        return await self._prove(begun, request.data)

    async def _begin(self, mechanism: str, data: bytes) -> Reply:
        context = self._context
        if mechanism != context.mechanism:
            raise MechanismUnsupported(mechanism=mechanism, mechanisms=context.mechanism)
        own = prepare(self._session.name or "").key
        exchange = ServerExchange(mechanism, self._binding, b64encode(context.random(NONCE_SIZE)).decode())
        account = await context.accounts.find(own)
        if account is None or account.id != self._session.account_id:
            raise SessionEnded  # removed or renamed a moment ago
        try:
            _check_own(exchange.name_in(data), own)
            challenge = exchange.challenge(unseal(context.ring, account))
        except SignInRefused:
            self._refuse(account, SignInRefused.code)
            raise
        self._begun = _Proof(exchange, account)
        return Reply(Kind.PASSWORD, PasswordAnswer(data=challenge))

    async def _prove(self, begun: _Proof | None, data: bytes) -> Reply:
        if begun is None:
            raise FrameUnexpected(kind=Kind.PASSWORD.name)
        throttle, account = self._context.throttle, begun.account
        try:
            # Counted before it is looked at, as at the sign-in: else an open session would be a place to guess in.
            await throttle.attempt(account.key, self._host)
            signature = begun.exchange.verify(data)
        except (SignInRefused, TooManyFailures, NameLocked) as error:
            self._refuse(account, error.code)
            raise
        await throttle.succeeded(account.key, self._host)
        self._proved = begun
        return Reply(Kind.PASSWORD, PasswordAnswer(data=signature))

    async def _replace(self, proved: _Proof | None, credential: Credential) -> Reply:
        if proved is None:
            raise FrameUnexpected(kind=Kind.PASSWORD.name)
        context, session = self._context, self._session
        account = proved.account
        verifier = verifier_of(credential)
        epoch = await context.accounts.replace_credential(
            account.id,
            credential.type,
            lambda number: seal(context.ring, verifier, number, context.random),
            epoch=account.epoch,
        )
        if epoch is None:  # disabled, or given another password, since the proof
            raise SessionEnded
        session.must_change = False
        try:
            ended = await context.sessions.end_others(session, epoch, "password")
        except AntiphonError as error:  # the password is changed, whatever becomes of the sessions now
            context.log.exception("store-failed", code=error.code, name=session.name)
            context.start(self._end_others_later(epoch))
            ended = None
        context.log.info("password-changed", name=session.name, address=self._address, sessions=ended)
        return Reply(Kind.PASSWORD, PasswordAnswer(data=None))

    async def _end_others_later(self, epoch: int) -> None:
        """End the other sessions as soon as the store can; until then they cannot be taken up again."""
        while not self._context.stopping:
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                await self._context.sessions.end_others(self._session, epoch, "password")
            except AntiphonError:
                continue
            return

    def _refuse(self, account: Account, code: str) -> None:
        self._context.log.warning("refused", name=self._session.name, address=self._address, code=code)
        self._context.start(count_refusal(self._context, account))


def _check_own(claimed: str, own: str) -> None:
    """Refuse every name but the session's own: whoever holds a session is nobody else in it."""
    try:
        if prepare(claimed).key == own:
            return
    except NameInvalid:
        pass
    raise SignInRefused
