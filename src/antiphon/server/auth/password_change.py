"""Change of the password inside a session: the old one is proved as at the sign-in, then the new one is kept.

The new epoch begins first and the other sessions end second, so that a sign-in with the old password that is under
way is refused.

Each step is answered in time. If the store does not say in time whether it has kept the new password, the client
is told so (`ChangeUnknown`); the server finds out later, and ends the other sessions if it was kept.
"""

import asyncio
import contextlib

from antiphon.errors import (
    AntiphonError,
    ChangeUnknown,
    FrameUnexpected,
    NameInvalid,
    SessionEnded,
    SignInRefused,
    TryLater,
)
from antiphon.identity.names import prepare
from antiphon.observe.log import ServerLog
from antiphon.server.auth.admission import Reply, in_time, time_limit
from antiphon.server.auth.proof import Passwords, Proof
from antiphon.server.auth.refusals import UNLIMITED, Refusals
from antiphon.server.peer import Peer
from antiphon.server.session.holder import Session
from antiphon.server.session.manager import SessionManager
from antiphon.server.tasks import BackgroundTasks
from antiphon.store.contracts import STORE_SECONDS, Accounts
from antiphon.wire.bodies import ChangePassword, Credential, PasswordAnswer
from antiphon.wire.kinds import Kind

AGAIN_SECONDS = 0.25
"""Pause before the other sessions are ended again, if the store could not do it."""


class PasswordChange:
    """The password changes in one session, on one connection."""

    __slots__ = ("_accounts", "_begun", "_log", "_passwords", "_peer", "_proved", "_refusals", "_session",
                 "_sessions", "_tasks")  # fmt: skip

    def __init__(
        self,
        session: Session,
        peer: Peer,
        *,
        accounts: Accounts,
        sessions: SessionManager,
        passwords: Passwords,
        tasks: BackgroundTasks,
        log: ServerLog,
    ) -> None:
        """Change the password of the account of `session`, which `peer` holds, and of no other."""
        self._session = session
        self._peer = peer
        self._accounts = accounts
        self._sessions = sessions
        self._passwords = passwords
        self._tasks = tasks
        self._log = log
        self._refusals = Refusals(peer, passwords.throttle, tasks, log, most=UNLIMITED)
        self._begun: Proof | None = None
        """The proof under way, once its challenge is sent."""
        self._proved: Proof | None = None
        """The proof of the old password, with the account as it was then."""

    async def step(self, request: ChangePassword) -> Reply:
        """Answer one PASSWORD. Each step can be done once; a new proof replaces the one before.

        Raises:
            AntiphonError: the refusal to send. A `ProtocolError` ends the connection.
        """
        begun, proved = self._begun, self._proved
        self._begun = self._proved = None
        if request.credential is not None:
            return await self._replace(proved, request.credential)
        assert request.data is not None, "the body has one of three forms"
        async with in_time():
            if request.mechanism is not None:
                return await self._begin(request.mechanism, request.data)
            return await self._prove(begun, request.data)

    async def _begin(self, mechanism: str, data: bytes) -> Reply:
        session = self._session
        proof = self._passwords.proof(self._peer, mechanism, self._refusals)
        own = prepare(session.name or "").key
        account = await self._accounts.find(own)
        if account is None or account.id != session.account_id:
            raise SessionEnded  # removed or renamed a moment ago
        proof.concern(session.name, own, account)
        with proof.refusals_counted():
            _check_own(proof.claim(data), own)
            challenge = proof.challenge()
        self._begun = proof
        return Reply(Kind.PASSWORD, PasswordAnswer(data=challenge))

    async def _prove(self, begun: Proof | None, data: bytes) -> Reply:
        if begun is None:
            raise FrameUnexpected(kind=Kind.PASSWORD.name)
        with begun.refusals_counted():
            signature = await begun.verify(data)
        await begun.forgive()
        self._proved = begun
        return Reply(Kind.PASSWORD, PasswordAnswer(data=signature))

    async def _replace(self, proved: Proof | None, credential: Credential) -> Reply:
        if proved is None:
            raise FrameUnexpected(kind=Kind.PASSWORD.name)
        session, account = self._session, proved.account
        assert account is not None, "only an account's own password is proved here"
        sealer, until, sealed = self._passwords.sealer(credential), time_limit(), list[bytes]()

        def seal(number: int, key: str | None) -> bytes:
            sealed.append(sealer(number, key))
            return sealed[-1]

        async with contextlib.AsyncExitStack() as stack:
            async with in_time(until):
                await stack.enter_async_context(self._sessions.changing_password())
                if not await self._sessions.is_home_of(session):  # another process has it: this one was frozen
                    raise SessionEnded
            try:
                async with in_time(until):
                    epoch = await self._accounts.replace_credential(
                        account.id, credential.type, seal, epoch=account.epoch
                    )
            except TryLater as error:
                self._tasks.start(self._find_out(account.key, sealed))
                raise ChangeUnknown from error
            if epoch is None:  # disabled, or given another password, since the proof
                raise SessionEnded
            session.must_change = False
            try:
                async with in_time(until):
                    ended = await self._sessions.begin_epoch(session, epoch, "password")
            except AntiphonError as error:  # it is changed, whether or not the sessions can be ended now
                self._log.exception("store-failed", code=error.code, name=session.name)
                self._tasks.start(self._end_others_later(epoch))
                ended = None
        self._log.info("password-changed", name=session.name, address=self._peer.address, sessions=ended)
        return Reply(Kind.PASSWORD, PasswordAnswer(data=None))

    async def _find_out(self, key: str, sealed: list[bytes]) -> None:
        """End the other sessions if the store turns out to have kept one of the credentials `sealed`."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not self._tasks.stopping:
            await asyncio.sleep(AGAIN_SECONDS)
            asked = loop.time()
            with contextlib.suppress(AntiphonError):
                account = await self._accounts.find(key)
                if account is not None and account.credential in sealed:
                    self._session.must_change = False
                    self._log.info(
                        "password-changed", name=self._session.name, address=self._peer.address, sessions=None
                    )
                    await self._end_others_later(account.epoch)
                    return
                if account is None or asked - begun > STORE_SECONDS:  # what was not begun by then never is
                    return

    async def _end_others_later(self, epoch: int) -> None:
        """End the other sessions as soon as the store can; until then they cannot be resumed."""
        while not self._tasks.stopping:
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                await self._sessions.begin_epoch(self._session, epoch, "password")
            except AntiphonError:
                continue
            return


def _check_own(claimed: str, own: str) -> None:
    """Check that the claimed name is the session's own.

    Raises:
        SignInRefused: it is another name; a session is of one account only.
    """
    try:
        if prepare(claimed).key == own:
            return
    except NameInvalid:
        pass
    raise SignInRefused(why="another-name")
