"""What is needed to take a session up again after its link was lost, and when that is tried."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from antiphon.address import Address
from antiphon.client.reach import Reached
from antiphon.client.trust import KnownServers
from antiphon.errors import AntiphonError, ConnectError, PeerSilent, TimedOut, TooManyRefusals, TryLater

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 15.0
"""Seconds between two tries, varied by half; the first comes at once."""


def lost_for_now(reason: AntiphonError | None) -> bool:
    """Return whether `reason` is one after which the session may be taken up again."""
    return isinstance(reason, ConnectError | PeerSilent | TimedOut | TooManyRefusals | TryLater)


class WayBack:
    """To the server of one session: `link.py` goes it in asyncio, `blocking_link.py` without."""

    def __init__(
        self,
        address: Address,
        known: KnownServers,
        reached: Reached[Any],
        *,
        give_up: float,
        language: str = "en",
        timeout: float = 10.0,
    ) -> None:
        """Go to `address`, which was `reached`; only the key that it had is taken.

        A lost link is tried for `give_up` seconds, each step for `timeout`.
        """
        self._address = replace(address, fingerprint=reached.fingerprint)
        self._known = known
        self._token: bytes = reached.connection.token
        self._language = language
        self._timeout = timeout
        self._give_up = give_up
        self._pauses = _pauses()
        self.used = False
        """Something of the session has come on the newest link; set from outside."""
        self.shown: str = reached.connection.address
        """The server's address, for messages."""

    @property
    def patient(self) -> bool:
        """Whether a lost link is tried again at all."""
        return self._give_up > 0

    def _lost(self) -> None:
        """Begin with short pauses, unless the link was lost before anything came: no reason to hurry."""
        if self.used:
            self.used = False
            self._pauses = _pauses()


def _pauses() -> Iterator[float]:
    yield 0.0
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.5)  # noqa: S311 - spreads clients, guards nothing
        pause = min(2 * pause, LONGEST_PAUSE)
