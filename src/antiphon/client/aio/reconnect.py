"""Reconnection for asyncio: dial the address that the reconnect policy names, at its moments, and resume."""

import asyncio
from collections.abc import Callable

from antiphon.address import Address
from antiphon.client.addresses import Addresses, Keys
from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.dial import Dialled, dial_once
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.reconnect import Reconnector
from antiphon.errors import AntiphonError
from antiphon.wire.bodies import Welcome


class AsyncReconnector(Reconnector):
    """Brings the session of one sign-in back, in asyncio."""

    def __init__(
        self,
        addresses: Address | Addresses,
        known: Keys,
        dialled: Dialled,
        *,
        give_up: float,
        language: str = "en",
        timeout: float = 10.0,
    ) -> None:
        """See `Reconnector`. The later connections get observers as the first one did."""
        super().__init__(addresses, known, dialled, give_up=give_up, language=language, timeout=timeout)
        self._observe = dialled.connection.observe

    async def restore(
        self, reason: AntiphonError, received: Callable[[], int]
    ) -> tuple[ClientConnection, Welcome]:
        """Return a connection that has resumed the session, and its WELCOME; `received` frames have come so far.

        Raises:
            SignInError, TrustError, ProtocolError: the session cannot be resumed; this is not tried again.
            AntiphonError: `reason`, why the connection was lost: it was tried for long enough.
        """
        loop, policy = asyncio.get_running_loop(), self.policy
        policy.lost(reason, loop.time())
        while True:
            await asyncio.sleep(max(0.0, policy.next_try - loop.time()))
            policy.check(loop.time())
            try:
                async with asyncio.timeout_at(policy.until):
                    restored = await self._resume(received())
            except TimeoutError:
                raise reason from None
            except AntiphonError as error:
                policy.failed(error, loop.time())
            else:
                policy.restored()
                return restored

    async def _resume(self, received: int) -> tuple[ClientConnection, Welcome]:
        dialled = await dial_once(self._next, self._keys, self._timeout, self._observe)
        connection = dialled.connection
        try:
            self.check_key(dialled)
            sign_in = SignIn(connection, self._language, self._timeout)
            welcome = await sign_in.resume(self._token, received)
        except BaseException:
            connection.abort()
            raise
        self._resumed(dialled)
        return connection, welcome
