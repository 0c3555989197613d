"""Authenticator: begins the sign-in of each connection of one server."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from antiphon.observe.log import ServerLog
from antiphon.server.auth.admission import Admitter, RelayTo, Reply, ResumeSession, SignIn
from antiphon.server.auth.by_address import AddressSignIn, OpenSignIn
from antiphon.server.auth.control import ControlHandler
from antiphon.server.auth.other_sessions import end_others
from antiphon.server.auth.password_change import PasswordChange
from antiphon.server.auth.proof import Passwords
from antiphon.server.auth.refusals import Refusals
from antiphon.server.auth.registration import Registration
from antiphon.server.auth.sign_in import PasswordSignIn
from antiphon.server.auth.throttle import Throttle
from antiphon.server.peer import Peer
from antiphon.server.session.holder import Holder, Session
from antiphon.server.session.manager import SessionManager
from antiphon.server.tasks import BackgroundTasks
from antiphon.settings import Access
from antiphon.store.contracts import Accounts, Clients
from antiphon.wire.bodies import Lifetimes


@dataclass(frozen=True, kw_only=True, eq=False)
class Authenticator:
    """The parts that the sign-ins of one server use; made once."""

    access: Access
    """How clients get in."""
    accounts: Accounts
    clients: Clients
    sessions: SessionManager
    resume: ResumeSession
    """Resumes a session; what else goes on with it is not this folder's."""
    relay: RelayTo
    """Has another process resume one."""
    throttle: Throttle
    passwords: Passwords
    registration: Registration
    lifetimes: Lifetimes
    """Of sessions, for the WELCOME."""
    language: str
    """For clients that name none."""
    clock: Callable[[], datetime]
    """Wall time, UTC."""
    tasks: BackgroundTasks
    log: ServerLog

    def begin(self, holder: Holder) -> ControlHandler:
        """Begin the sign-in of one connection."""
        return ControlHandler(
            holder.peer, self._sign_in(holder), self._password_change, self._end_others, self.log
        )

    def _sign_in(self, holder: Holder) -> SignIn:
        admitter = Admitter(
            self.access,
            holder,
            Refusals(holder.peer, self.throttle, self.tasks, self.log),
            resume=self.resume,
            relay=self.relay,
            lifetimes=self.lifetimes,
            language=self.language,
            log=self.log,
        )
        if self.access == "anyone":
            return OpenSignIn(admitter, sessions=self.sessions)
        if self.access == "identify":
            return AddressSignIn(
                admitter,
                clients=self.clients,
                sessions=self.sessions,
                registration=self.registration,
                clock=self.clock,
            )
        return PasswordSignIn(
            admitter,
            accounts=self.accounts,
            sessions=self.sessions,
            passwords=self.passwords,
            registration=self.registration,
            clock=self.clock,
        )

    def _password_change(self, session: Session, peer: Peer) -> PasswordChange:
        return PasswordChange(
            session,
            peer,
            accounts=self.accounts,
            sessions=self.sessions,
            passwords=self.passwords,
            tasks=self.tasks,
            log=self.log,
        )

    async def _end_others(self, session: Session, peer: Peer) -> Reply:
        return await end_others(session, peer, self.sessions, self.log)
