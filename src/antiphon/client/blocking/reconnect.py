"""Blocking reconnection: dial where the reconnect policy says and resume, within the time of a program's call."""

import time

from antiphon.client.blocking.connection import BlockingConnection, Deadline
from antiphon.client.blocking.dial import dial_once
from antiphon.client.blocking.sign_in import BlockingSignIn
from antiphon.client.protocol.sign_in import at_once
from antiphon.client.reconnect import Reconnector
from antiphon.errors import AntiphonError
from antiphon.wire.bodies import Welcome


class BlockingReconnector(Reconnector):
    """Brings the session of one sign-in back; one call may begin the tries, and a later one succeed."""

    def restore(
        self, reason: AntiphonError, received: int, deadline: Deadline
    ) -> tuple[BlockingConnection, Welcome]:
        """Return a connection that has resumed the session, and its WELCOME; `received` frames have come so far.

        Raises:
            TimeoutError: the time of this call is over; the next call goes on.
            SignInError, TrustError, ProtocolError: the session cannot be resumed; this is not tried again.
            AntiphonError: `reason`, why the connection was lost: it was tried for long enough.
        """
        policy = self.policy
        if not policy.trying:
            policy.lost(reason, time.monotonic())
        while True:
            time.sleep(max(0.0, min(policy.next_try, deadline.at) - time.monotonic()))
            now = time.monotonic()
            policy.check(now)
            if now >= deadline.at:
                raise TimeoutError("timed out")
            try:
                restored = self._resume(received, min(self._timeout, policy.until - now, deadline.at - now))
            except AntiphonError as error:
                policy.failed(error, time.monotonic())
            else:
                policy.restored()
                return restored

    def _resume(self, received: int, seconds: float) -> tuple[BlockingConnection, Welcome]:
        deadline = Deadline(seconds)
        dialled = dial_once(self._next, self._keys, seconds)
        connection = dialled.connection
        try:
            self.check_key(dialled)
            connection.seconds = max(0.0, deadline.at - time.monotonic())
            welcome = at_once(BlockingSignIn(connection, self._language).resume(self._token, received))
        except BaseException:
            connection.abort()
            raise
        connection.seconds = self._timeout
        self._resumed(dialled)
        return connection, welcome
