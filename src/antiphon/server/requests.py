"""What a connection is asked by control frames: the way in at first, changes of the password inside a session."""

from antiphon.errors import AntiphonError, ServerError, TryLater
from antiphon.language import Translate
from antiphon.server.context import ServerContext
from antiphon.server.identify import way_in
from antiphon.server.password import PasswordChange
from antiphon.server.sessions import Holder, Session
from antiphon.server.signin import Admission, Reply, SignIn
from antiphon.wire.bodies import ChangePassword
from antiphon.wire.conversation import Control


class Requests:
    """The requests of one connection; the gate lets each in only when it may come."""

    def __init__(
        self, context: ServerContext, holder: Holder, address: str, host: str, binding: bytes | None
    ) -> None:
        """Answer the one who connected from `address`, a port of `host`; `binding` is TLS's, if any."""
        self._context = context
        self._address = address
        self._host = host
        self._binding = binding
        self._sign_in: SignIn | None = way_in(context, holder, address, host, binding)
        self._password: PasswordChange | None = None
        self.translate: Translate = self._sign_in.catalogue.gettext
        """Into the language of the one at the other end."""

    def admitted(self, session: Session) -> None:
        """Go on inside a session."""
        self._sign_in = None
        self._password = PasswordChange(self._context, session, self._address, self._host, self._binding)

    async def answer(self, control: Control) -> Reply | Admission:
        """Do what is asked.

        Raises:
            AntiphonError: the refusal to send. A `ProtocolError` ends the connection.
        """
        try:
            return await self._outcome_of(control)
        except AntiphonError as error:
            limit = isinstance(error, TryLater) and error.__cause__ is None  # a limit of ours, and logged as such
            if isinstance(error, ServerError) and not limit:  # the peer is told only that it was our fault
                problem = error.fields.get("problem")
                self._context.log.exception(
                    "sign-in-failed", address=self._address, code=error.code, problem=problem
                )
            raise

    async def _outcome_of(self, control: Control) -> Reply | Admission:
        if isinstance(control.body, ChangePassword):
            assert self._password is not None, "the gate lets this kind in inside a session only"
            return await self._password.step(control.body)
        sign_in = self._sign_in
        assert sign_in is not None, "the gate lets these kinds in before a session only"
        try:
            return await sign_in.step(control)
        finally:
            self.translate = sign_in.catalogue.gettext
