"""Sessions with chosen answer times, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from antiphon.client.protocol.window import WINDOW
from antiphon.errors import AntiphonError, SessionEnded
from antiphon.ping.tally import Trip
from antiphon.testing import VirtualLoop
from antiphon.wire.frames import Payload

Result = TypeVar("Result")


def now_ns() -> int:
    """Return the virtual time in nanoseconds."""
    return round(asyncio.get_running_loop().time() * 1e9)


def run_virtually(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` in an event loop with virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class FakeSession:
    """A session that answers each message with `answer(number, message)` after `delay(number)` seconds.

    A delay of None means no answer. With `one_at_a_time`, the delay of a message begins when the answer before it
    was sent, as if a server handled the messages of a session in order.
    """

    def __init__(
        self,
        delay: Callable[[int], float | None],
        answer: Callable[[int, Payload], Payload | AntiphonError | None] = lambda _, message: message,
        *,
        one_at_a_time: bool = False,
    ) -> None:
        self.on_answers: Callable[[list[tuple[Trip, Payload]]], object] = lambda _: None
        self.on_lost: Callable[[AntiphonError], object] = lambda _: None
        self.on_back: Callable[[float], object] = lambda _: None
        self.messages: list[Payload] = []
        self.sent_at: list[float] = []
        self.taken_back: list[Trip] = []
        self._delay = delay
        self._answer = answer
        self._one_at_a_time = one_at_a_time
        self._free_at = 0.0
        self._over: asyncio.Future[AntiphonError | None] = asyncio.get_running_loop().create_future()
        self._prepared: list[Trip] = []
        self._waiting: list[Trip] = []

    def room(self, size: int) -> int:
        return WINDOW

    def prepare(self, messages: Sequence[Trip], size: int) -> bytes:
        if self._over.done():
            raise SessionEnded
        assert {len(trip.message) for trip in messages} == {size}
        self._prepared = list(messages)
        return b"frames"

    def write(self, frames: bytes) -> None:
        for trip in self._prepared:
            self._send(trip)

    def _send(self, trip: Trip) -> None:
        number = len(self.messages)
        self.messages.append(trip.message)
        loop = asyncio.get_running_loop()
        self.sent_at.append(loop.time())
        self._waiting.append(trip)
        delay = self._delay(number)
        if delay is not None:
            begins = max(loop.time(), self._free_at) if self._one_at_a_time else loop.time()
            self._free_at = begins + delay
            loop.call_at(begins + delay, self._reply, trip, number, trip.message)

    def _reply(self, trip: Trip, number: int, message: Payload) -> None:
        if trip.ended:
            return
        answer = self._answer(number, message)
        if answer is None or isinstance(answer, AntiphonError):
            trip.end(answer)
        else:
            self.on_answers([(trip, answer)])

    def take_back(self, message: Trip) -> None:
        self.taken_back.append(message)

    def fail(self, reason: AntiphonError, ends: Callable[[], AntiphonError]) -> None:
        """End the session because of `reason`; messages on their way end with the error that `ends` returns."""
        self._over.set_result(reason)
        for trip in self._waiting:
            trip.end(ends())

    async def ended(self) -> AntiphonError | None:
        return await asyncio.shield(self._over)
