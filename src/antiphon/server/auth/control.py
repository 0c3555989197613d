"""Control frames of one connection: the sign-in first; inside the session what concerns its account."""

from collections.abc import Awaitable, Callable

from antiphon.errors import AntiphonError, ServerError, TryLater
from antiphon.language import Translate
from antiphon.observe.log import ServerLog
from antiphon.server.auth.admission import Outcome, Reply, SignIn, in_time
from antiphon.server.auth.password_change import PasswordChange
from antiphon.server.peer import Peer
from antiphon.server.session.holder import Session
from antiphon.wire.bodies import ChangePassword, EndOthers, Resume
from antiphon.wire.conversation import Control

Change = Callable[[Session, Peer], PasswordChange]
"""Begins the password changes in a session that a peer holds."""
OthersEnd = Callable[[Session, Peer], Awaitable[Reply]]
"""Ends all other sessions of the account of a session that a peer holds."""


class ControlHandler:
    """Answers the control frames of one connection. The gate lets each kind pass only when it may come."""

    __slots__ = ("_change", "_end_others", "_log", "_password_change", "_peer", "_sign_in", "session", "translate")

    def __init__(self, peer: Peer, sign_in: SignIn, change: Change, end_others: OthersEnd, log: ServerLog) -> None:
        """Begin with the sign-in of `peer`; `change` and `end_others` are for the session, once it is open."""
        self._peer = peer
        self._log = log
        self._sign_in: SignIn | None = sign_in
        self._change = change
        self._end_others = end_others
        self.session: Session | None = None
        """The session, once one is open; the connection may have lost it since."""
        self._password_change: PasswordChange | None = None
        self.translate: Translate = sign_in.translate
        """Translation into the language of the client."""

    def admitted(self, session: Session) -> None:
        """Go on inside a session."""
        self._sign_in = None
        self.session = session

    async def answer(self, control: Control) -> Outcome:
        """Answer one control frame.

        Raises:
            AntiphonError: the refusal to send. A `ProtocolError` ends the connection.
        """
        try:
            return await self._outcome_of(control)
        except AntiphonError as error:
            limit = isinstance(error, TryLater) and error.__cause__ is None  # a limit of ours, and logged as such
            if isinstance(error, ServerError) and not limit:  # the peer is told only that it was our fault
                address, problem = self._peer.address, error.fields.get("problem")
                self._log.exception("sign-in-failed", address=address, code=error.code, problem=problem)
            raise

    async def _outcome_of(self, control: Control) -> Outcome:
        if isinstance(control.body, ChangePassword):
            if self._password_change is None:
                assert self.session is not None, "the gate lets this kind pass inside a session only"
                self._password_change = self._change(self.session, self._peer)
            return await self._password_change.step(control.body)
        if isinstance(control.body, EndOthers):
            assert self.session is not None, "as above"
            async with in_time():  # to do it twice is harmless
                return await self._end_others(self.session, self._peer)
        sign_in = self._sign_in
        assert sign_in is not None, "the gate lets these kinds pass before a session only"
        try:
            if isinstance(control.body, Resume):  # another process may answer, in a time of its own
                return await sign_in.step(control)
            async with in_time():
                return await sign_in.step(control)
        finally:
            self.translate = sign_in.translate
