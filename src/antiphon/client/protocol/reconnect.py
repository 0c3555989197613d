"""Reconnect policy: which errors are retried, and how long to wait before each try. No clock, no randomness.

`aio/reconnect.py` and `blocking/reconnect.py` dial and resume at the moments that this policy names.
"""

from collections.abc import Callable, Iterator

from antiphon.errors import (
    AntiphonError,
    ConnectError,
    PeerSilent,
    ServerStopping,
    TimedOut,
    TooManyRefusals,
    TrustError,
    TryLater,
)

FIRST_PAUSE = 0.1
"""Seconds before the second try, varied; the first comes at once. Each later pause is twice as long."""
LONGEST_PAUSE = 15.0
"""Seconds between two tries, at the most, varied."""
MOVE_PAUSE = 0.5
"""Seconds before the first try at another address, varied: clients of a node that ends do not come all at once."""


def temporary(reason: AntiphonError | None) -> bool:
    """Return whether a session may be resumed after its connection was lost for `reason`."""
    return isinstance(reason, ConnectError | PeerSilent | TimedOut | TooManyRefusals | TryLater)


class ReconnectPolicy:
    """When and where the connection of one session is tried again. Moments are of the caller's monotonic clock.

    Call `lost`; then at each moment of `next_try` call `check`, dial and resume, and call `failed` or `restored`.
    """

    def __init__(self, give_up: float, vary: Callable[[], float], addresses: int = 1) -> None:
        """Try for `give_up` seconds, at so many addresses in turn.

        `vary` returns a random factor for each pause, so that clients spread.
        """
        self._give_up = give_up
        self._vary = vary
        self._pauses = self._growing()
        self._reason: AntiphonError | None = None
        self._next = self._until = 0.0
        self._asked_to_wait = [0.0] * addresses
        """For each address the moment before which its server does not want another try."""
        self._distrusted: set[int] = set()
        """The addresses whose server has shown a wrong key since the connection was lost."""
        self._moved = False
        """Whether another address was turned to since then."""
        self.at = 0
        """The number of the address to try, or that the session has; it is first used at the address 0."""
        self.used = False
        """Whether a frame of the session came on the newest connection; set from outside."""

    @property
    def patient(self) -> bool:
        """Whether a lost connection is tried again at all."""
        return self._give_up > 0

    @property
    def trying(self) -> bool:
        """Whether a connection is lost, and neither restored nor given up."""
        return self._reason is not None

    @property
    def until(self) -> float:
        """The moment at which the session is given up."""
        return self._until

    @property
    def next_try(self) -> float:
        """The moment of the next try, or of giving up."""
        return min(self._next, self._until)

    def lost(self, reason: AntiphonError, now: float) -> None:
        """Start trying, because the connection was lost for `reason`.

        Pauses start short again only if the lost connection was of use: else there is no reason to hurry. The same
        address comes first, unless its server stops or is silent.
        """
        self._reason = reason
        if self.used:
            self.used = False
            self._pauses = self._growing()
        self._until = now + self._give_up
        self._next = now + next(self._pauses)
        self._distrusted.clear()
        self._moved = False
        if isinstance(reason, ServerStopping | PeerSilent):
            self._move(now)

    def check(self, now: float) -> None:
        """Check that there is time for another try.

        Raises:
            AntiphonError: the reason of the loss; the session is given up.
        """
        if now >= self._until:
            reason, self._reason = self._reason, None
            assert reason is not None
            raise reason

    def failed(self, error: AntiphonError, now: float) -> None:
        """Note a try that failed; the next one is at the next address, and waits as long as its server asks.

        A server whose key is wrong got nothing, so the other addresses are tried, while there are any.

        Raises:
            AntiphonError: `error`, if the session cannot be resumed after it.
        """
        if isinstance(error, TrustError) and len(self._distrusted) + 1 < len(self._asked_to_wait):
            self._distrusted.add(self.at)
        elif not temporary(error):
            self._reason = None
            raise error
        self._asked_to_wait[self.at] = now + error.wait
        self._next = now + next(self._pauses)
        self._move(now)

    def _move(self, now: float) -> None:
        """Turn to the next address, which is the same one again if there is no other."""
        count, before = len(self._asked_to_wait), self.at
        others = ((before + step) % count for step in range(1, count + 1))
        self.at = next(each for each in others if each not in self._distrusted)
        if self.at != before and not self._moved:
            self._moved = True
            self._next = max(self._next, now + MOVE_PAUSE * self._vary())
        self._next = max(self._next, self._asked_to_wait[self.at])

    def restored(self) -> None:
        """Note that the session has a connection again."""
        self._reason = None

    def _growing(self) -> Iterator[float]:
        yield 0.0
        pause = FIRST_PAUSE
        while True:
            yield pause * self._vary()
            pause = min(2 * pause, LONGEST_PAUSE)
