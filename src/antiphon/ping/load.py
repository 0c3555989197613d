"""Sends messages over open sessions and counts what comes back: closed loop, or open loop after a schedule.

How sessions are opened and what is told of the figures is left to others. The clock is passed in, so that a second
of a test may last no time.
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
"""An event loop wakes up to a millisecond late; so long before a message is due it looks at the clock instead."""


class Asker(Protocol):
    """What is needed of a `client.aio.session.ClientSession`."""

    on_lost: Callable[[AntiphonError], object]
    on_back: Callable[[float], object]

    async def begin(self, message: Payload, /) -> Answers:
        """Send a message; return where its answers come."""

    async def ended(self) -> AntiphonError | None:
        """Wait until the session is over; return why."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is sent, and when."""

    size: int = 64
    """Bytes of a message."""
    depth: int = 1
    """Messages that may be on their way at once on each connection."""
    interval: float = 0.0
    """Closed loop: seconds from a message to the next one in its place, if the answer has come by then."""
    rate: float | None = None
    """Open loop: messages a second, over all connections."""
    count: int | None = None
    """Messages in all; None for no end."""
    duration: float | None = None
    """Seconds in which messages are sent; None for no end."""
    patience: float = 10.0
    """Seconds that answers are waited for when nothing more is sent."""
    seed: int = 0
    """Of the text of the messages."""


class Load:
    """One run of messages over sessions: `run`, once; `stop` ends it."""

    def __init__(
        self,
        plan: Plan,
        sessions: Sequence[Asker],
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
        spin: float = SPIN_SECONDS,
    ) -> None:
        """Send as `plan` says over `sessions`; `clock` gives nanoseconds.

        For `spin` seconds before each message of a schedule the clock is looked at again and again.
        """
        self.plan = plan
        self.tally = Tally(scheduled=plan.rate is not None)
        self.on_settled: Callable[[Trip], object] = _ignore
        """Called with each message on which nothing more will come."""
        self.on_link: Callable[[Outage], object] = _ignore
        """Called when a link is lost, and when it is back."""
        self._clock = clock
        self._spin = spin
        self._payloads = Payloads(plan.size, plan.seed)
        self._claimed = self._numbered = 0
        self._lanes = [_Lane(self, index, session) for index, session in enumerate(sessions)]
        self._enough = asyncio.Event()
        """Nothing more is to be sent, but what is owed by then."""
        self._quiet = asyncio.Event()
        """Nothing is owed and nothing on its way, or nobody waits for it any more."""
        self._began = self._ended = 0

    # --- from the beginning to the end ------------------------------------------------------------------------

    async def run(self) -> None:
        """Send and count until all is sent, the time is over, or `stop` is called.

        Raises:
            AntiphonError: why a session is over, or the messages cannot be sent; what was counted stands.
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
            self._enough.set()
            self._ended = self._clock()
            self._look_whether_quiet()
            await _first(self._quiet, work, self.plan.patience)
        except AntiphonError:  # of one session: the others are answered still
            self.stop()
            await _first(self._quiet, [], self.plan.patience)
            raise
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self._ended = max(self._ended or self._clock(), *(lane.heard_at for lane in self._lanes))
            for lane in self._lanes:
                lane.give_up()

    def stop(self) -> None:
        """Send nothing more, and wait for what is on its way; the second time, do not."""
        if self._enough.is_set():
            self._quiet.set()
        self._enough.set()
        for lane in self._lanes:
            lane.owed = 0
        self._look_whether_quiet()

    @property
    def seconds(self) -> float:
        """How long it has lasted: until nothing more was sent, or the last answer came."""
        return ((self._ended or self._clock()) - self._began) / 1e9

    @property
    def over(self) -> bool:
        """Whether nothing more is to be sent."""
        return self._enough.is_set()

    # --- what may be sent -------------------------------------------------------------------------------------

    def claim(self) -> bool:
        """Return whether one more message may be sent, and count it."""
        if self.over or self._claimed == self.plan.count:
            return False
        self._claimed += 1
        return True

    def _fill_lanes(self) -> None:
        for _ in range(self.plan.depth):
            for lane in self._lanes:
                if self.claim():
                    lane.give()

    async def _keep_schedule(self, rate: float) -> None:
        """Let each message go when it is due, whatever has become of those before it."""
        number = 0
        while True:
            now = self._clock()
            while (due := self.due_at(number, rate)) <= now:
                if not self.claim():
                    await self._quiet.wait()
                    return
                self._lanes[number % len(self._lanes)].give()
                number += 1
            await asyncio.sleep(max(0.0, (due - now) / 1e9 - self._spin))

    def due_at(self, number: int, rate: float) -> int:
        """Return when the message with this number, from 0, should go."""
        return self._began + round(number * 1e9 / rate)

    @property
    def width(self) -> int:
        """How many connections take turns."""
        return len(self._lanes)

    # --- what the lanes tell ----------------------------------------------------------------------------------

    def next_message(self) -> tuple[int, str]:
        """Return the number and the text of a message that goes now."""
        self._numbered += 1
        return self._numbered, self._payloads.message(self._numbered)

    def now(self) -> int:
        """Return the time."""
        return self._clock()

    def settled(self, trip: Trip) -> None:
        """Count a message on which nothing more will come."""
        self.tally.settle(trip)
        self.on_settled(trip)
        if self.tally.answered + self.tally.lost == self.plan.count:
            self._enough.set()
        if self.over:
            self._look_whether_quiet()

    def _look_whether_quiet(self) -> None:
        if not any(lane.busy for lane in self._lanes):
            self._quiet.set()


class _Lane:
    """The messages of one session: up to the plan's depth on their way at once."""

    def __init__(self, load: Load, index: int, session: Asker) -> None:
        self._load = load
        self._index = index
        self._session = session
        self._plan = load.plan
        self._sent = 0
        self._on_way: set[Trip] = set()
        self._wake = asyncio.Event()
        self.owed = 0
        """Messages that should have gone by now."""
        self.heard_at = 0
        """When the last answer came."""
        self._outage: Outage | None = None
        session.on_lost = self._lost
        session.on_back = self._back

    @property
    def busy(self) -> bool:
        """Whether something is still to be sent, or on its way."""
        return bool(self.owed or self._on_way)

    def give(self) -> None:
        """Owe one message more."""
        self.owed += 1
        self._wake.set()

    async def watch(self) -> None:
        """Wait for the end of the session.

        Raises:
            AntiphonError: why it is over.
        """
        raise await self._session.ended() or SessionEnded()

    async def send(self) -> None:
        """Send what is owed, as far as the depth allows, until cancelled.

        Raises:
            AntiphonError: a message cannot be sent.
        """
        while True:
            while self.owed and len(self._on_way) < self._plan.depth:
                self.owed -= 1
                await self._send_one()
            self._wake.clear()
            await self._wake.wait()

    async def _send_one(self) -> None:
        load = self._load
        number, message = load.next_message()
        sent_at = due_at = load.now()
        if self._plan.rate is not None:
            due_at = load.due_at(self._index + self._sent * load.width, self._plan.rate)
        self._sent += 1
        answers = await self._session.begin(message)
        load.tally.sent += 1
        trip = Trip(number, message, due_at, sent_at, answers)
        self._on_way.add(trip)
        answers.on_news = partial(self._hear, trip)

    def _hear(self, trip: Trip) -> None:
        if not trip.heard_at:
            trip.heard_at = self._load.now()
        trip.came += trip.answers.take_all()
        if trip.answers.ended:
            self._settle(trip)
        elif len(trip.came) > 1:
            trip.answers.close()  # which ends it

    def _settle(self, trip: Trip) -> None:
        trip.answers.on_news = None  # the two hold each other else
        self._on_way.discard(trip)
        self.heard_at = trip.heard_at
        self._load.settled(trip)
        if self._plan.rate is not None:
            self._wake.set()
        else:
            left = self._plan.interval - (trip.heard_at - trip.sent_at) / 1e9
            if left > 0:
                asyncio.get_running_loop().call_later(left, self._go_on)
            else:
                self._go_on()

    def _go_on(self) -> None:
        if self._load.claim():
            self.give()

    def give_up(self) -> None:
        """Count what is still on its way as lost, and want no answers to it any more."""
        self._load.tally.unsent += self.owed
        for trip in list(self._on_way):
            trip.answers.on_news = None
            trip.answers.close()
            self._load.tally.lost += 1
        self._on_way.clear()

    def _lost(self, reason: AntiphonError) -> None:
        self._outage = Outage(self._index + 1, self._load.seconds, reason)
        self._load.tally.outages.append(self._outage)
        self._load.on_link(self._outage)

    def _back(self, seconds: float) -> None:
        if self._outage is not None:
            self._outage.away = seconds
            self._load.on_link(self._outage)


async def _first(event: asyncio.Event, work: Iterable["asyncio.Task[Any]"], seconds: float | None) -> None:
    """Wait for the event, for `seconds` at the most; what fails meanwhile is raised."""
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
    """Do nothing about what is told."""
