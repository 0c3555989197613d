"""Limits of a worker: its supervisor counts for all workers, and is asked over their channel."""

import asyncio
import itertools
from collections.abc import Callable

from antiphon.errors import TryLater
from antiphon.server.listen.limits import HourlyLimits
from antiphon.server.workers.messages import Count, Counted, Forgive, Message, Released, What

COUNT_SECONDS = 3.0
"""Longest wait for the supervisor to count."""

Send = Callable[[Message], None]
"""Sends a message to the supervisor."""


class SupervisorPlaces:
    """The admission limits of the supervisor, which has admitted whatever comes here (`listen.limits.Places`)."""

    def __init__(self, send: Send) -> None:
        """Give places back by `send`."""
        self._send = send
        self.count = 0

    def admit(self, address: str) -> bool:  # noqa: ARG002 - see `Places`
        """Return True."""
        self.count += 1
        return True

    def release(self, address: str) -> None:
        """Give the place back."""
        self.count -= 1
        self._send(Released(address))

    def take_dropped(self) -> int:
        """Return 0: the supervisor logs what it drops."""
        return 0


class SupervisorCounts:
    """What the supervisor counts, and the questions to it that have no answer yet."""

    def __init__(self, send: Send) -> None:
        """Ask by `send`."""
        self._send = send
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[float]] = {}
        self._given_up: dict[int, tuple[What, str]] = {}
        """Questions that nobody waits for any more: what was counted for them is taken back."""

    def limits(self) -> HourlyLimits:
        """Return the limits that the supervisor keeps."""
        return HourlyLimits(
            SupervisorLimit(self, "registrations"),
            SupervisorLimit(self, "failures"),
            SupervisorLimit(self, "invitations"),
        )

    async def count(self, what: What, host: str) -> float:
        """Have one counted; see `HourlyLimit`."""
        number = next(self._numbers)
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._send(Count(number, what, host))
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                return await answer
        except (TimeoutError, asyncio.CancelledError) as error:
            if answer.cancelled():
                self._given_up[number] = what, host
            elif not answer.result():  # it came in the very step that gave up
                self.forgive(what, host)
            if isinstance(error, TimeoutError):
                raise TryLater from None
            raise
        finally:
            del self._asked[number]

    def forgive(self, what: What, host: str) -> None:
        """Take one out of the count again."""
        self._send(Forgive(what, host))

    def answered(self, message: Counted) -> None:
        """Take the answer to a question."""
        answer = self._asked.get(message.id)
        if answer is not None and not answer.cancelled():
            answer.set_result(message.wait)
        elif (late := self._given_up.pop(message.id, None)) is not None and not message.wait:
            self.forgive(*late)


class SupervisorLimit:
    """One limit that the supervisor keeps (`listen.limits.HourlyLimit`)."""

    def __init__(self, counts: SupervisorCounts, what: What) -> None:
        """Have `counts` ask for `what`."""
        self._counts = counts
        self._what: What = what

    async def count(self, address: str) -> float:
        """See `HourlyLimit`."""
        return await self._counts.count(self._what, address)

    def forgive(self, address: str) -> None:
        """See `HourlyLimit`."""
        self._counts.forgive(self._what, address)
