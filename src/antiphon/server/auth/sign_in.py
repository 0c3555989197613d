"""Sign-in with a password: access `authenticate`."""

from collections.abc import Callable
from datetime import datetime

from msgspec import UNSET

from antiphon.errors import FrameUnexpected, NameInvalid, SignInRefused
from antiphon.identity.names import Name, prepare, prepare_afresh
from antiphon.language import Translate
from antiphon.server.auth.admission import Admission, Admitter, Outcome, Reply
from antiphon.server.auth.proof import Passwords, Proof
from antiphon.server.auth.registration import Registration
from antiphon.server.session.manager import SessionManager
from antiphon.store.contracts import Account, Accounts
from antiphon.wire.bodies import Authenticate, Challenge, ChallengeAnswer, Identified, Identify, Register
from antiphon.wire.conversation import Control
from antiphon.wire.kinds import Kind


class PasswordSignIn:
    """The sign-in of one connection with a password; a `SignIn`.

    The steps are coroutines, because they ask the store. The connection runs one at a time.
    """

    __slots__ = (
        "_accounts",
        "_admitter",
        "_clock",
        "_passwords",
        "_proof",
        "_registration",
        "_replace",
        "_sessions",
    )

    def __init__(
        self,
        admitter: Admitter,
        *,
        accounts: Accounts,
        sessions: SessionManager,
        passwords: Passwords,
        registration: Registration,
        clock: Callable[[], datetime],
    ) -> None:
        """Sign in the peer that `admitter` admits."""
        self._admitter = admitter
        self._accounts = accounts
        self._sessions = sessions
        self._passwords = passwords
        self._registration = registration
        self._clock = clock
        self._proof: Proof | None = None
        """The proof under way, once its challenge is sent."""
        self._replace = False
        """Whether its sign-in may end a session that a connection holds."""

    @property
    def translate(self) -> Translate:
        """See `SignIn`."""
        return self._admitter.translate

    async def step(self, control: Control) -> Outcome:
        """See `SignIn`."""
        self._admitter.check(control)
        match control.body:
            case Identify() as request:
                return await self._identify(request)
            case Register() as request:
                return await self._register(request)
            case Authenticate() as request:
                return await self._authenticate(request)
            case ChallengeAnswer() as answer:
                return await self._prove(answer)
            case _:
                return await self._admitter.resume(control)

    async def _identify(self, request: Identify) -> Reply:
        if request.name is None:
            raise self._admitter.unsupported("IDENTIFY without a name")
        if request.instead_of is not None:
            raise self._admitter.unsupported("IDENTIFY with instead_of")
        if request.replace is not UNSET:
            raise self._admitter.unsupported("IDENTIFY with replace")
        name = prepare(request.name)
        invitation = request.invitation
        if invitation is not None:
            with self._admitter.refusals.of_registration(request.name):
                await self._registration.check(invitation, name, self._admitter.peer.host)
        free = await self._registration.is_free(name, invited=invitation is not None)
        return Reply(Kind.IDENTIFY, Identified(name=name.display, free=free))

    async def _register(self, request: Register) -> Reply:
        peer, invited = self._admitter.peer, request.invitation is not None
        with self._admitter.refusals.of_registration(request.name):
            account = await self._registration.register(request, peer.host)
        self._admitter.log.info("registered", name=account.display, address=peer.address, invitation=invited)
        return Reply(Kind.REGISTER, Identified(name=account.display, free=False))

    async def _authenticate(self, request: Authenticate) -> Reply:
        admitter = self._admitter
        proof = self._passwords.proof(admitter.peer, request.mechanism, admitter.refusals)
        given_up, self._proof = self._proof, None
        if given_up is not None:
            given_up.give_up()
        with proof.refusals_counted():
            claimed = proof.claim(request.data)
            name = prepared(claimed)
            account = await self._accounts.find(name.key) if name else None
            proof.concern(claimed, name.key if name else claimed, account)
            challenge = proof.challenge()
        self._proof, self._replace = proof, request.replace is True
        return Reply(Kind.CHALLENGE, Challenge(data=challenge))

    async def _prove(self, answer: ChallengeAnswer) -> Admission:
        proof, self._proof = self._proof, None
        if proof is None:
            raise FrameUnexpected(kind=Kind.CHALLENGE.name)
        admitter = self._admitter
        with proof.refusals_counted():
            signature = await proof.verify(answer.data)
            account = allowed(proof.account, self._clock())
            proof.passed()
            host = admitter.peer.host
            with admitter.told_when_full(account.display):
                session, token, visit = await self._sessions.open(
                    account, admitter.holder, host, proof.marks, replace=self._replace
                )
        return admitter.admit(session, token, visit, first=visit is None, data=signature)


def allowed(account: Account | None, at: datetime) -> Account:
    """Return the account whose password is proved.

    Raises:
        SignInRefused: it is disabled or expired, or nobody has it; that looks like a wrong password.
    """
    if account is None or account.disabled:
        raise SignInRefused
    if account.expires_at is not None and account.expires_at <= at:
        raise SignInRefused(why="expired")
    return account


def prepared(claimed: str) -> Name | None:
    """Return the name that a SCRAM message claims; None for one that cannot be a name, which nobody has."""
    try:
        return prepare_afresh(claimed)
    except NameInvalid:
        return None
