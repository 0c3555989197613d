"""How the link of a session comes back: dial, the same key, RESUME; again and again, with growing pauses."""

import asyncio
from collections.abc import Callable

from antiphon.address import Address
from antiphon.client.connection import ClientConnection
from antiphon.client.dial import Dialled, dial_once
from antiphon.client.signin import SignIn
from antiphon.client.trust import KnownServers
from antiphon.client.way_back import WayBack, lost_for_now
from antiphon.errors import AntiphonError
from antiphon.wire.bodies import Welcome


class Link(WayBack):
    """The way back to the server of a session, in asyncio."""

    def __init__(
        self,
        address: Address,
        known: KnownServers,
        reached: Dialled,
        *,
        give_up: float,
        language: str = "en",
        timeout: float = 10.0,
    ) -> None:
        """See `WayBack`; whoever watches the first connection watches the others too."""
        super().__init__(address, known, reached, give_up=give_up, language=language, timeout=timeout)
        self._observe = reached.connection.observe

    async def restore(
        self, reason: AntiphonError, received: Callable[[], int]
    ) -> tuple[ClientConnection, Welcome]:
        """Return a connection that has resumed the session, and its WELCOME; `received` frames have come so far.

        Raises:
            SignInError, TrustError, ProtocolError: the session cannot be taken up; not tried again.
            AntiphonError: `reason`, why the link was lost: it has been tried for long enough.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._give_up
        self._lost()
        wait = 0.0
        while True:
            pause = max(next(self._pauses), wait)
            if loop.time() + pause >= until:
                await asyncio.sleep(max(0.0, until - loop.time()))
                raise reason
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout_at(until):
                    return await self._resume(received())
            except TimeoutError:
                raise reason from None
            except AntiphonError as error:
                if not lost_for_now(error):
                    raise
                wait = error.wait

    async def _resume(self, received: int) -> tuple[ClientConnection, Welcome]:
        connection = (await dial_once(self._address, self._known, self._timeout, self._observe)).connection
        try:
            return connection, await SignIn(connection, self._language, self._timeout).resume(
                self._token, received
            )
        except BaseException:
            connection.abort()
            raise
