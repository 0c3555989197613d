"""Load generator: sends messages over open sessions and counts the answers, in a closed loop or an open loop.

Closed loop: each answer triggers the next message. Open loop: messages follow a schedule. The caller opens the
sessions and reports the figures. The clock is passed in, so that tests need not wait.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import Any, Protocol

from antiphon.errors import AntiphonError, SessionEnded
from antiphon.ping.payload import Payloads
from antiphon.ping.plan import Plan
from antiphon.ping.tally import Outage, Sending, Tally, Trip
from antiphon.wire.frames import Payload

SPIN_SECONDS = 0.002
"""An event loop may wake a millisecond late, so the schedule polls the clock this long before a message is due."""


class LoadSession(Protocol):
    """The methods of `client.aio.batch_session.BatchSession` that a load uses."""

    on_answers: Callable[[list[tuple[Trip, Payload]]], object]
    on_lost: Callable[[AntiphonError], object]
    on_back: Callable[[float], object]

    def room(self, size: int) -> int:
        """Return how many messages of `size` bytes may be sent now."""

    def prepare(self, messages: Sequence[Trip], size: int) -> bytes:
        """Make the frames of messages, each of `size` bytes, for `write`."""

    def write(self, frames: bytes) -> None:
        """Send what `prepare` has made."""

    def take_back(self, message: Trip) -> None:
        """Stop the service: no further answer to a message is wanted."""

    async def ended(self) -> AntiphonError | None:
        """Wait until the session is over; return the reason, None if it was left."""


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
        self.now = clock
        """Returns the time of the clock, in nanoseconds."""
        self._spin = spin
        self._texts = Payloads(plan.size, plan.seed).messages
        self._claimed = 0
        self._released = 0
        """Open loop: number of the next message that becomes due."""
        self._over = False
        self._numbered = 0
        """Number of the last message."""
        self._lanes = [_Lane(self, index, session) for index, session in enumerate(sessions)]
        self._enough = asyncio.Event()
        """Set when no further message is scheduled; messages already due are still sent."""
        self._quiet = asyncio.Event()
        """Set when no message is due or unanswered, or when `stop` was called twice."""
        self._began = self._ended = 0

    # --- run --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send messages and count answers until the plan is complete or `stop` is called.

        Raises:
            AntiphonError: a session ended, or a message could not be sent; the counts so far are valid.
        """
        self._began = self.now()
        work: list[asyncio.Future[Any]] = [asyncio.create_task(lane.watch()) for lane in self._lanes]
        work += [lane.failure for lane in self._lanes]
        if self.plan.rate is None:
            self._fill_lanes()
        else:
            work.append(asyncio.create_task(self._keep_schedule(self.plan.rate)))
        try:
            await _first(self._enough, work, self.plan.duration)
            self._finish()
            self._ended = self.now()
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
            self._ended = max(self._ended or self.now(), *(lane.answered_at for lane in self._lanes))
            for lane in self._lanes:
                lane.give_up()

    def stop(self) -> None:
        """Send no more messages and wait for answers; a second call ends the wait too.

        In an open loop what is due by now is sent as far as there is room; the rest counts as unsent.
        """
        if self._over:
            self._quiet.set()
        elif self.plan.rate is not None:
            self._release(self.plan.rate)
        self._finish()
        for lane in self._lanes:
            lane.send_no_more()
        self._check_quiet()

    @property
    def seconds(self) -> float:
        """Seconds since the start; after the end, until sending ended or the last answer came."""
        return ((self._ended or self.now()) - self._began) / 1e9

    @property
    def over(self) -> bool:
        """Whether no further message is scheduled."""
        return self._over

    def _finish(self) -> None:
        self._over = True
        self._enough.set()

    # --- schedule ---------------------------------------------------------------------------------------------

    def claim(self, wanted: int) -> int:
        """Return how many of the `wanted` further messages may be sent, and count them."""
        if self._over:
            return 0
        if self.plan.count is not None:
            wanted = min(wanted, self.plan.count - self._claimed)
        self._claimed += wanted
        return wanted

    def _fill_lanes(self) -> None:
        for _ in range(self.plan.depth):
            for lane in self._lanes:
                lane.owed += self.claim(1)
        for lane in self._lanes:
            lane.send()

    async def _keep_schedule(self, rate: float) -> None:
        """Release each message when it is due."""
        seconds = self._release(rate)
        while seconds is not None:
            await asyncio.sleep(max(0.0, seconds - self._spin))
            seconds = self._release(rate)
        await self._quiet.wait()

    def _release(self, rate: float) -> float | None:
        """Release the messages that are due, whether or not earlier ones were answered.

        Returns:
            Seconds until the next one is due; None after the last one.
        """
        lanes, now, first, number = self._lanes, self.now(), self._released, self._released
        over = False
        while not over and (due := self.due_at(number, rate)) <= now:
            if self.claim(1):
                lanes[number % len(lanes)].owed += 1
                number += 1
            else:
                over = True
        self._released = number
        for each in range(first, min(number, first + len(lanes))):
            lanes[each % len(lanes)].send()
        return None if over else (due - now) / 1e9

    def due_at(self, number: int, rate: float) -> int:
        """Return when the message with this number (from 0) is due, in nanoseconds of the clock."""
        return self._began + round(number * 1e9 / rate)

    @property
    def width(self) -> int:
        """Number of connections."""
        return len(self._lanes)

    # --- for the lanes ----------------------------------------------------------------------------------------

    def texts(self, count: int) -> list[str]:
        """Return the texts of the next messages."""
        first = self._numbered + 1
        self._numbered += count
        return self._texts(first, count)

    def settled(self, trip: Trip) -> None:
        """Count a message that is complete."""
        self.tally.settle(trip)
        if self.on_settled is not None:
            self.on_settled(trip)
        self.check_over()

    def check_over(self) -> None:
        """End the run if every message is complete."""
        if self.tally.answered + self.tally.lost == self.plan.count:
            self._finish()
        if self._over:
            self._check_quiet()

    def _check_quiet(self) -> None:
        if not any(lane.busy for lane in self._lanes):
            self._quiet.set()


class _Lane:
    """The messages of one session, of which up to the plan's depth are unanswered at once."""

    def __init__(self, load: Load, index: int, session: LoadSession) -> None:
        self.now = load.now
        self._load = load
        self._index = index
        self._session = session
        self._plan = load.plan
        self._sent = 0
        self._on_way: set[Trip] = set()
        self.owed = 0
        """Messages that are due and not sent yet."""
        self.answered_at = 0
        """Time of the last answer, in nanoseconds of the clock."""
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when a message could not be sent."""
        self._sends_soon = False
        self._outage: Outage | None = None
        session.on_answers = self._hear
        session.on_lost = self._lost
        session.on_back = self._back

    @property
    def busy(self) -> bool:
        """Whether a message is due or unanswered."""
        return bool(self.owed or self._on_way)

    async def watch(self) -> None:
        """Wait for the end of the session.

        Raises:
            AntiphonError: the reason for the end, always.
        """
        raise await self._session.ended() or SessionEnded()

    # --- sending ----------------------------------------------------------------------------------------------

    def send(self) -> None:
        """Send the messages that are due, as far as depth and session allow; each answer lets more follow."""
        size, on_way, session, load = self._plan.size, self._on_way, self._session, self._load
        while (free := min(self.owed, self._plan.depth - len(on_way))) > 0 and not self.failure.done():
            count = min(free, session.room(size))
            if not count:
                return
            texts, sendings = load.texts(count), self._sendings(count)
            trips = [Trip(text, sending, self) for text, sending in zip(texts, cycle(sendings), strict=False)]
            try:
                frames = session.prepare(trips, size)
            except AntiphonError as error:
                self.failure.set_exception(error)
                return
            now = load.now()  # what was done before is no part of the round trip
            for sending in sendings:
                sending.sent_at = now
            session.write(frames)
            self.owed -= count
            self._sent += count
            load.tally.sent += count
            on_way.update(trips)

    def _sendings(self, count: int) -> list[Sending]:
        """Return one for each of `count` messages; in a closed loop, where they are due together, one for all."""
        load, rate = self._load, self._plan.rate
        if rate is None:
            return [Sending()]
        first, width = self._index + self._sent * load.width, load.width
        return [Sending(load.due_at(first + place * width, rate)) for place in range(count)]

    def send_soon(self) -> None:
        """Send at the end of this step of the event loop."""
        if not self._sends_soon:
            self._sends_soon = True
            asyncio.get_running_loop().call_soon(self._send_now)

    def _send_now(self) -> None:
        self._sends_soon = False
        self.send()

    # --- answers ----------------------------------------------------------------------------------------------

    def _hear(self, answers: list[tuple[Trip, Payload]]) -> None:
        """Take the answers of one read, each the only one to its message. Their time is now: that of the read."""
        load = self._load
        now = load.now()
        if load.on_settled is not None or self._plan.interval:
            for trip, payload in answers:
                self._take(trip, payload, now)
            return
        self.answered_at = now
        on_way, tally = self._on_way, load.tally
        sending, count, right = None, 0, 0
        for trip, payload in answers:
            if payload != trip.message or trip.received or trip.ended:
                self._take(trip, payload, now)
                continue
            on_way.discard(trip)
            if trip.sending is not sending:
                if sending is not None:
                    tally.right(sending, now, count)
                sending, count = trip.sending, 0
            count += 1
            right += 1
        if sending is not None:
            tally.right(sending, now, count)
        if self._plan.rate is None:
            self.owed += load.claim(right)
        self.send()
        load.check_over()

    def _take(self, trip: Trip, payload: Payload, now: int) -> None:
        trip.answered_at = trip.answered_at or now
        trip.put(payload)
        trip.end()

    def refuse_more(self, trip: Trip) -> None:
        """Stop the service: the trip has a second answer."""
        self._session.take_back(trip)

    def settle(self, trip: Trip) -> None:
        """Count a trip that is complete, and go on."""
        if trip not in self._on_way:
            return
        self._on_way.discard(trip)
        self.answered_at = trip.answered_at
        self._load.settled(trip)
        plan = self._plan
        if plan.rate is not None:
            self.send_soon()
        else:
            left = plan.interval and plan.interval - (trip.answered_at - trip.sending.sent_at) / 1e9
            if left > 0:
                asyncio.get_running_loop().call_later(left, self._go_on)
            else:
                self._go_on()

    def _go_on(self) -> None:
        self.owed += self._load.claim(1)
        self.send_soon()

    def send_no_more(self) -> None:
        """Forget what is not sent; of a schedule it counts as unsent, or a slow path would look good."""
        if self._plan.rate is not None:
            self._load.tally.unsent += self.owed
        self.owed = 0

    def give_up(self) -> None:
        """Count messages that are due as unsent and unanswered ones as lost; cancel their answers."""
        self._load.tally.unsent += self.owed
        self._load.tally.lost += len(self._on_way)
        given_up, self._on_way = self._on_way, set()
        for trip in given_up:
            trip.end()
            self._session.take_back(trip)

    def _lost(self, reason: AntiphonError) -> None:
        self._outage = Outage(self._index + 1, self._load.seconds, reason)
        self._load.tally.outages.append(self._outage)
        self._load.on_outage(self._outage)

    def _back(self, seconds: float) -> None:
        if self._outage is not None:
            self._outage.away = seconds
            self._load.on_outage(self._outage)


async def _first(event: asyncio.Event, work: Iterable["asyncio.Future[Any]"], seconds: float | None) -> None:
    """Wait for `event` for at most `seconds`; raise the exception of what fails, or has failed, of `work`."""
    waiting = asyncio.create_task(event.wait())
    try:
        for task in work:
            if task.done():
                task.result()
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
