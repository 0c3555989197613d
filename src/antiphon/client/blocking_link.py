"""How the link of a blocking session comes back: inside the calls of its program, and within their time."""

import time
from collections.abc import Callable
from typing import Unpack

from antiphon.client.blocking_connection import BlockingConnection, Deadline
from antiphon.client.blocking_dial import dial_once
from antiphon.client.steps import Given, Result, Steps, at_once
from antiphon.client.way_back import WayBack, lost_for_now
from antiphon.errors import AntiphonError
from antiphon.wire.bodies import Body, Welcome
from antiphon.wire.kinds import Kind


class BlockingSignIn(Steps):
    """The way in on one connection, whose key is trusted by now."""

    def __init__(self, connection: BlockingConnection, language: str = "en") -> None:
        """Speak on `connection`, each step within its time."""
        super().__init__(connection.hello, connection.binding, connection.address, language)
        self._connection = connection

    async def ask(self, kind: Kind, body: Body, *, token: bytes = b"") -> Body:
        """Send a control frame and return the body of its answer; RESUME takes a token."""
        return self._connection.request(kind, body, token=token)

    async def work(self, task: Callable[[Unpack[Given]], Result], *given: *Given) -> Result:
        """Return what `task` returns."""
        return task(*given)


class BlockingLink(WayBack):
    """The way back to the server of a session; one call may begin it, and another one arrive."""

    _next = 0.0
    """When it is tried again, by the monotonic clock."""
    _until: float | None = None
    """When it is given up, None where no link is lost."""

    def restore(
        self, reason: AntiphonError, received: int, deadline: Deadline
    ) -> tuple[BlockingConnection, Welcome]:
        """Return a connection that has resumed the session, and its WELCOME; `received` frames have come so far.

        Raises:
            TimeoutError: the time of this call is over; the next one goes on.
            SignInError, TrustError, ProtocolError: the session cannot be taken up; not tried again.
            AntiphonError: `reason`, why the link was lost: it has been tried for long enough.
        """
        if self._until is None:
            self._until = time.monotonic() + self._give_up
            self._lost()
            self._next = time.monotonic() + next(self._pauses)
        while True:
            _sleep_until(min(self._next, self._until, deadline.at))
            now = time.monotonic()
            if now >= self._until:
                raise reason
            if now >= deadline.at:
                raise TimeoutError("timed out")
            try:
                found = self._resume(received, min(self._timeout, self._until - now, deadline.at - now))
            except AntiphonError as error:
                if not lost_for_now(error):
                    raise
                self._next = time.monotonic() + max(next(self._pauses), error.wait)
            else:
                self._until = None
                return found

    def _resume(self, received: int, seconds: float) -> tuple[BlockingConnection, Welcome]:
        deadline = Deadline(seconds)
        connection = dial_once(self._address, self._known, seconds).connection
        try:
            connection.seconds = max(0.0, deadline.at - time.monotonic())
            welcome = at_once(BlockingSignIn(connection, self._language).resume(self._token, received))
        except BaseException:
            connection.abort()
            raise
        connection.seconds = self._timeout
        return connection, welcome


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
