"""How the link of a session comes back: dial, the same key, RESUME; again and again, with growing pauses."""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from antiphon.address import Address
from antiphon.client.connection import ClientConnection
from antiphon.client.dial import Dialled, dial_once
from antiphon.client.signin import SignIn
from antiphon.client.trust import KnownServers
from antiphon.errors import AntiphonError, ConnectError, PeerSilent, TimedOut, TooManyRefusals, TryLater
from antiphon.wire.bodies import Welcome

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 15.0
"""Seconds between two tries, varied by half; the first comes at once."""


def lost_for_now(reason: AntiphonError | None) -> bool:
    """Return whether `reason` is one after which the session may be taken up again."""
    return isinstance(reason, ConnectError | PeerSilent | TimedOut | TooManyRefusals | TryLater)


class Link:
    """What is needed to reach the server of a session again."""

    def __init__(
        self,
        address: Address,
        known: KnownServers,
        dialled: Dialled,
        *,
        give_up: float,
        language: str = "en",
        timeout: float = 10.0,
    ) -> None:
        """Go to `address`, where `dialled` was; only the key that it had is taken.

        A lost link is tried for `give_up` seconds, each step for `timeout`.
        """
        self._address = replace(address, fingerprint=dialled.fingerprint)
        self._known = known
        self._token = dialled.connection.token
        self._observe = dialled.connection.observe
        self._language = language
        self._timeout = timeout
        self._give_up = give_up
        self._pauses = _pauses()
        self.used = False
        """Something of the session has come on the newest link; set from outside."""
        self.shown = dialled.connection.address
        """The server's address, for messages."""

    @property
    def patient(self) -> bool:
        """Whether a lost link is tried again at all."""
        return self._give_up > 0

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
        if self.used:  # a link that is lost before anything comes is no reason to hurry
            self.used = False
            self._pauses = _pauses()
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


def _pauses() -> Iterator[float]:
    yield 0.0
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.5)  # noqa: S311 - spreads clients, guards nothing
        pause = min(2 * pause, LONGEST_PAUSE)
