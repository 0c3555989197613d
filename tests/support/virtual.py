"""Time that passes only where somebody waits for it, and sessions whose answers take as long as a test says."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from antiphon.client.aio.answers import Answers
from antiphon.errors import AntiphonError, SessionEnded
from antiphon.wire.frames import Payload

Result = TypeVar("Result")


class _Selector(selectors.SelectSelector):
    """Instead of waiting it lets the time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits for what nobody will do"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that begins at 0 s and jumps to the next moment at which something is to be done."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def now_ns() -> int:
    """Return the virtual time in nanoseconds."""
    return round(asyncio.get_running_loop().time() * 1e9)


def run_virtually(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` in a loop of virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class FakeSession:
    """Answers each message with what `answer` makes of it, after the seconds that `delay` gives for its number.

    A delay of None is no answer, ever. With `one_at_a_time`, as a server handles the messages of a session, an
    answer's seconds begin when the one before it has gone.
    """

    def __init__(
        self,
        delay: Callable[[int], float | None],
        answer: Callable[[int, Payload], Payload | AntiphonError | None] = lambda _, message: message,
        *,
        one_at_a_time: bool = False,
    ) -> None:
        self.on_lost: Callable[[AntiphonError], object] = lambda _: None
        self.on_back: Callable[[float], object] = lambda _: None
        self.messages: list[Payload] = []
        self.sent_at: list[float] = []
        self.closed = 0
        self._delay = delay
        self._answer = answer
        self._one_at_a_time = one_at_a_time
        self._free_at = 0.0
        self._over: asyncio.Future[AntiphonError | None] = asyncio.get_running_loop().create_future()
        self._waiting: list[Answers] = []

    async def begin(self, message: Payload) -> Answers:
        if self._over.done():
            raise SessionEnded
        number = len(self.messages)
        self.messages.append(message)
        answers = Answers(lambda _: None, lambda _: None)
        loop = asyncio.get_running_loop()
        self.sent_at.append(loop.time())
        self._waiting.append(answers)
        delay = self._delay(number)
        if delay is not None:
            begins = max(loop.time(), self._free_at) if self._one_at_a_time else loop.time()
            self._free_at = begins + delay
            loop.call_at(begins + delay, self._reply, answers, number, message)
        return answers

    def _reply(self, answers: Answers, number: int, message: Payload) -> None:
        if answers.ended:
            return
        answer = self._answer(number, message)
        if isinstance(answer, AntiphonError):
            answers.end(answer)
            return
        if answer is not None:
            answers.put(answer)
        answers.end()

    def fail(self, reason: AntiphonError, ends: Callable[[], AntiphonError]) -> None:
        """End the session because of `reason`; what is on its way ends as `ends` says."""
        self._over.set_result(reason)
        for answers in self._waiting:
            answers.end(ends())

    async def ended(self) -> AntiphonError | None:
        return await asyncio.shield(self._over)
