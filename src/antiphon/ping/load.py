"""Load generator: sends messages over open sessions and counts the answers, in a closed loop or an open loop.

Closed loop: each answer triggers the next message. Open loop: messages follow a schedule. The caller opens the
sessions and reports the figures. The clock is passed in, so that tests need not wait.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from antiphon.client.aio.answers import Answers
from antiphon.errors import AntiphonError, SessionEnded
from antiphon.ping.payload import Payloads
from antiphon.ping.tally import Outage, Tally, Trip
from antiphon.wire.frames import Payload

SPIN_SECONDS = 0.002
"""An event loop may wake a millisecond late, so the schedule polls the clock this long before a message is due."""


class LoadSession(Protocol):
    """The methods of `client.aio.session.ClientSession` that a load uses."""

    on_lost: Callable[[AntiphonError], object]
    on_back: Callable[[float], object]

    async def begin(self, message: Payload, /) -> Answers:
        """Send a message; return its stream of answers."""

    async def ended(self) -> AntiphonError | None:
        """Wait until the session is over; return the reason, None if it was left."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many messages to send, and when."""

    size: int = 64
    """Bytes of a message."""
    depth: int = 1
    """Most unanswered messages at once on each connection."""
    interval: float = 0.0
    """Closed loop: least seconds from a message to the one that its answer triggers."""
    rate: float | None = None
    """Open loop: messages a second over all connections; None for a closed loop."""
    count: int | None = None
    """Messages in all; None for no limit."""
    duration: float | None = None
    """Seconds to send messages for; None for no limit."""
    patience: float = 10.0
    """Seconds to wait for answers after the last message."""
    seed: int = 0
    """Seed of the random text of the messages."""


class Load:
    """One run of messages over sessions. Call `run` once; `stop` ends it early."""

    def __init__(
        self,
        plan: Plan,
        sessions: Sequence[LoadSession],
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
        spin: float = SPIN_SECONDS,
    ) -> None:
        """Prepare a run.

        Args:
            plan: how many messages to send, and when.
            sessions: the open sessions, one for each connection.
            clock: returns nanoseconds.
            spin: seconds for which an open loop polls the clock before each message is due.
        """
        self.plan = plan
        self.tally = Tally(scheduled=plan.rate is not None)
        self.on_settled: Callable[[Trip], object] | None = None
        """Called with each message that is complete: answered, refused or lost."""
        self.on_outage: Callable[[Outage], object] = _ignore
        """Called when a connection is lost, and again when its session has resumed."""
        self._clock = clock
        self._spin = spin
        self.text = Payloads(plan.size, plan.seed).message
        """Returns the text of the message with a number."""
        self._claimed = 0
        self._over = False
        self.numbered = 0
        """Number of the last message."""
        self._lanes = [_Lane(self, index, session) for index, session in enumerate(sessions)]
        self._enough = asyncio.Event()
        """Set when no further message is scheduled; messages already due are still sent."""
        self._quiet = asyncio.Event()
        """Set when no message is due or unanswered, or when `stop` was called twice."""
        self._began = self._ended = 0
        self.now = clock
        """Returns the time of the clock, in nanoseconds."""

    # --- run --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send messages and count answers until the plan is complete or `stop` is called.

        Raises:
            AntiphonError: a session ended, or a message could not be sent; the counts so far are valid.
        """
        self._began = self._clock()
        work = [asyncio.create_task(lane.watch()) for lane in self._lanes]
        work += [asyncio.create_task(lane.send()) for lane in self._lanes]
        if self.plan.rate is None:
            self._fill_lanes()
        else:
            work.append(asyncio.create_task(self._keep_schedule(self.plan.rate)))
        try:
            await _first(self._enough, work, self.plan.duration)
            self._finish()
            self._ended = self._clock()
            self._check_quiet()
            await _first(self._quiet, work, self.plan.patience)
        except AntiphonError:  # of one session: the others still get their answers
            self.stop()
            await _first(self._quiet, [], self.plan.patience)
            raise
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self._ended = max(self._ended or self._clock(), *(lane.answered_at for lane in self._lanes))
            for lane in self._lanes:
                lane.give_up()

    def stop(self) -> None:
        """Send no more messages and wait for answers; a second call ends the wait too."""
        if self._over:
            self._quiet.set()
        self._finish()
        for lane in self._lanes:
            lane.owed = 0
        self._check_quiet()

    @property
    def seconds(self) -> float:
        """Seconds since the start; after the end, until sending ended or the last answer came."""
        return ((self._ended or self._clock()) - self._began) / 1e9

    @property
    def over(self) -> bool:
        """Whether no further message is scheduled."""
        return self._over

    def _finish(self) -> None:
        self._over = True
        self._enough.set()

    # --- schedule ---------------------------------------------------------------------------------------------

    def claim(self) -> bool:
        """Return whether one more message may be sent; if so, count it."""
        if self._claimed == self.plan.count or self._over:
            return False
        self._claimed += 1
        return True

    def _fill_lanes(self) -> None:
        for _ in range(self.plan.depth):
            for lane in self._lanes:
                if self.claim():
                    lane.owe()

    async def _keep_schedule(self, rate: float) -> None:
        """Release each message when it is due, whether or not earlier ones were answered."""
        number = 0
        while True:
            now = self._clock()
            while (due := self.due_at(number, rate)) <= now:
                if not self.claim():
                    await self._quiet.wait()
                    return
                self._lanes[number % len(self._lanes)].owe()
                number += 1
            await asyncio.sleep(max(0.0, (due - now) / 1e9 - self._spin))

    def due_at(self, number: int, rate: float) -> int:
        """Return when the message with this number (from 0) is due, in nanoseconds of the clock."""
        return self._began + round(number * 1e9 / rate)

    @property
    def width(self) -> int:
        """Number of connections."""
        return len(self._lanes)

    # --- for the lanes ----------------------------------------------------------------------------------------

    def settled(self, trip: Trip) -> None:
        """Count a message that is complete."""
        tally = self.tally
        tally.settle(trip)
        if self.on_settled is not None:
            self.on_settled(trip)
        if tally.answered + tally.lost == self.plan.count:
            self._finish()
        if self._over:
            self._check_quiet()

    def _check_quiet(self) -> None:
        if not any(lane.busy for lane in self._lanes):
            self._quiet.set()


class _Lane:
    """The messages of one session, of which up to the plan's depth are unanswered at once."""

    def __init__(self, load: Load, index: int, session: LoadSession) -> None:
        self._load = load
        self._index = index
        self._session = session
        self._plan = load.plan
        self._sent = 0
        self._on_way: set[Trip] = set()
        self._wake = asyncio.Event()
        self.owed = 0
        """Messages that are due and not sent yet."""
        self.answered_at = 0
        """Time of the last answer, in nanoseconds of the clock."""
        self._outage: Outage | None = None
        session.on_lost = self._lost
        session.on_back = self._back

    @property
    def busy(self) -> bool:
        """Whether a message is due or unanswered."""
        return bool(self.owed or self._on_way)

    def owe(self) -> None:
        """Make one more message due."""
        self.owed += 1
        self._wake.set()

    async def watch(self) -> None:
        """Wait for the end of the session.

        Raises:
            AntiphonError: the reason for the end, always.
        """
        raise await self._session.ended() or SessionEnded()

    async def send(self) -> None:
        """Send messages that are due, as far as the depth allows, until cancelled.

        Raises:
            AntiphonError: a message could not be sent.
        """
        load, depth, rate, on_way = self._load, self._plan.depth, self._plan.rate, self._on_way
        now, begin = load.now, self._session.begin
        while True:
            while self.owed and len(on_way) < depth:
                self.owed -= 1
                number = load.numbered = load.numbered + 1
                message = load.text(number)
                sent_at = due_at = now()
                if rate is not None:
                    due_at = load.due_at(self._index + self._sent * load.width, rate)
                self._sent += 1
                answers = await begin(message)
                load.tally.sent += 1
                trip = Trip(number, message, due_at, sent_at, answers)
                on_way.add(trip)
                answers.on_news = partial(self._hear, trip)
            self._wake.clear()
            await self._wake.wait()

    def _hear(self, trip: Trip) -> None:
        answers = trip.answers
        if not trip.answered_at:
            trip.answered_at = self._load.now()
        news = answers.take_all()
        trip.received = [*trip.received, *news] if trip.received else news
        if answers.ended:
            self._settle(trip)
        elif len(trip.received) > 1:
            answers.close()  # a wrong answer; closing ends the stream

    def _settle(self, trip: Trip) -> None:
        trip.answers.on_news = None  # break the reference cycle
        self._on_way.discard(trip)
        self.answered_at = trip.answered_at
        self._load.settled(trip)
        plan = self._plan
        if plan.rate is not None:
            self._wake.set()
        else:
            left = plan.interval and plan.interval - (trip.answered_at - trip.sent_at) / 1e9
            if left > 0:
                asyncio.get_running_loop().call_later(left, self._go_on)
            else:
                self._go_on()

    def _go_on(self) -> None:
        if self._load.claim():
            self.owed += 1
            self._wake.set()

    def give_up(self) -> None:
        """Count messages that are due as unsent and unanswered ones as lost; cancel their answers."""
        self._load.tally.unsent += self.owed
        for trip in list(self._on_way):
            trip.answers.on_news = None
            trip.answers.close()
            self._load.tally.lost += 1
        self._on_way.clear()

    def _lost(self, reason: AntiphonError) -> None:
        self._outage = Outage(self._index + 1, self._load.seconds, reason)
        self._load.tally.outages.append(self._outage)
        self._load.on_outage(self._outage)

    def _back(self, seconds: float) -> None:
        if self._outage is not None:
            self._outage.away = seconds
            self._load.on_outage(self._outage)


async def _first(event: asyncio.Event, work: Iterable["asyncio.Task[Any]"], seconds: float | None) -> None:
    """Wait for `event` for at most `seconds`; raise the exception of a task in `work` that fails meanwhile."""
    waiting = asyncio.create_task(event.wait())
    try:
        done, _ = await asyncio.wait(
            {waiting, *(task for task in work if not task.done())},
            timeout=seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        waiting.cancel()
    for task in done:
        task.result()


def _ignore(_: object) -> None:
    """Do nothing: the default callback."""
