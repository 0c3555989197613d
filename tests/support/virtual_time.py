"""Virtual time, which passes only while the event loop waits, and sessions with chosen answer times."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from antiphon.client.aio.answers import Answers
from antiphon.errors import AntiphonError, SessionEnded
from antiphon.wire.frames import Payload

Result = TypeVar("Result")


class _Selector(selectors.SelectSelector):
    """A selector that advances the virtual time instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.held = 0
        """How many threads work for the loop; until they are done, time stands still and the selector waits."""

    def select(self, timeout: float | None = None) -> Any:
        if self.held and (timeout is None or timeout > 0):
            return super().select(None)
        ready = super().select(0)
        if not ready:  # what two servers say to each other over sockets takes no time
            assert timeout is not None, "all tasks wait, and there is no timer"
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at 0 s and jumps to the next timer, unless a thread still works for it."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def hold(self, work: "asyncio.Future[Any]") -> None:
        """Let no time pass until `work`, which a thread does, is done or given up."""
        self._virtual.held += 1
        work.add_done_callback(self._let_go)

    def _let_go(self, _: "asyncio.Future[Any]") -> None:
        self._virtual.held -= 1

    def run_in_executor(  # type: ignore[override] # as the supertype, but for the relation of its arguments
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Hold the time while `func` runs."""
        work = super().run_in_executor(executor, func, *args)
        self.hold(work)
        return work

    async def shutdown_default_executor(self) -> None:
        """Hold the time until the threads have ended."""
        self._virtual.held += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._virtual.held -= 1


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
        """End the session because of `reason`; messages on their way end with the error that `ends` returns."""
        self._over.set_result(reason)
        for answers in self._waiting:
            answers.end(ends())

    async def ended(self) -> AntiphonError | None:
        return await asyncio.shield(self._over)
