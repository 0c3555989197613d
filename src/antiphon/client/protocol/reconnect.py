"""Reconnect policy: which errors are retried, and how long to wait before each try. No clock, no randomness.

`aio/reconnect.py` and `blocking/reconnect.py` dial and resume at the moments that this policy names.
"""

from collections.abc import Callable, Iterator

from antiphon.errors import AntiphonError, ConnectError, PeerSilent, TimedOut, TooManyRefusals, TryLater

FIRST_PAUSE = 0.1
"""Seconds before the second try, varied; the first comes at once. Each later pause is twice as long."""
LONGEST_PAUSE = 15.0
"""Seconds between two tries, at the most, varied."""


def temporary(reason: AntiphonError | None) -> bool:
    """Return whether a session may be resumed after its connection was lost for `reason`."""
    return isinstance(reason, ConnectError | PeerSilent | TimedOut | TooManyRefusals | TryLater)


class ReconnectPolicy:
    """When the connection of one session is tried again. Moments are seconds of the caller's monotonic clock.

    Call `lost`; then at each moment of `next_try` call `check`, dial and resume, and call `failed` or `restored`.
    """

    def __init__(self, give_up: float, vary: Callable[[], float]) -> None:
        """Try for `give_up` seconds; `vary` returns a random factor for each pause, so that clients spread."""
        self._give_up = give_up
        self._vary = vary
        self._pauses = self._growing()
        self._reason: AntiphonError | None = None
        self._next = self._until = 0.0
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

        Pauses start short again only if the lost connection was of use: else there is no reason to hurry.
        """
        self._reason = reason
        if self.used:
            self.used = False
            self._pauses = self._growing()
        self._until = now + self._give_up
        self._next = now + next(self._pauses)

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
        """Note a try that failed; the next one waits as long as the server asks, at the least.

        Raises:
            AntiphonError: `error`, if the session cannot be resumed after it.
        """
        if not temporary(error):
            self._reason = None
            raise error
        self._next = now + max(next(self._pauses), error.wait)

    def restored(self) -> None:
        """Note that the session has a connection again."""
        self._reason = None

    def _growing(self) -> Iterator[float]:
        yield 0.0
        pause = FIRST_PAUSE
        while True:
            yield pause * self._vary()
            pause = min(2 * pause, LONGEST_PAUSE)
