"""The load generator: counts and times, against fake sessions with set delays, in virtual time."""

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from antiphon.errors import (
    AntiphonError,
    ConnectionLost,
    MessageTooLarge,
    OutcomeUnknown,
    ServiceFailed,
    SessionEnded,
    from_wire,
)
from antiphon.ping.load import Load
from antiphon.ping.plan import Plan
from antiphon.ping.tally import Tally, Trip
from antiphon.wire.frames import Payload
from support.virtual_time import FakeSession, now_ns, run_virtually

PERCENTS = (50, 90, 99, 99.9, 100)


def run(plan: Plan, *makers: Callable[[], FakeSession]) -> Tally:
    """Run a plan over one fake session for each maker, in virtual time."""

    async def main() -> Tally:
        load = Load(plan, [make() for make in makers], clock=now_ns, spin=0)
        await load.run()
        return load.tally

    return run_virtually(main())


def exact(times: list[float], percent: float) -> float:
    """Return the nearest rank, in nanoseconds."""
    rank = max(1, -(-round(percent * 10) * len(times) // 1000))
    return sorted(times)[rank - 1] * 1e9


# --- times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "sessions"), [(1, 1), (16, 1), (4, 3)])
def test_the_percentiles_of_known_delays_have_three_digits(depth: int, sessions: int) -> None:
    draw = random.Random(11)
    delays = [[draw.lognormvariate(-7, 1.5) for _ in range(10_000)] for _ in range(sessions)]
    drawn: list[float] = []

    def fake(own: list[float]) -> Callable[[], FakeSession]:
        def delay(number: int) -> float:
            drawn.append(own[number])
            return own[number]

        return lambda: FakeSession(delay)

    tally = run(Plan(count=10_000, depth=depth), *map(fake, delays))
    assert (tally.sent, tally.answered, tally.wrong, tally.lost) == (10_000, 10_000, 0, 0)
    assert len(drawn) == 10_000
    for percent in PERCENTS:
        assert tally.times.percentile(percent) == pytest.approx(exact(drawn, percent), rel=0.001, abs=2)
    assert tally.times.shortest == pytest.approx(min(drawn) * 1e9, abs=2)
    assert tally.uncorrected is None


def test_a_stalled_second_shows_in_the_corrected_figures_and_not_in_the_uncorrected_ones() -> None:
    def delay(number: int) -> float:
        return 1.0 if number == 5000 else 0.0001

    tally = run(Plan(rate=1000, count=10_000, depth=1), lambda: FakeSession(delay))
    assert tally.uncorrected is not None
    assert tally.answered == 10_000
    uncorrected, corrected = tally.uncorrected, tally.times
    assert uncorrected.percentile(99) == pytest.approx(100_000, rel=0.001)
    assert uncorrected.longest == pytest.approx(1e9, rel=0.001)
    assert sum(count for time, count in uncorrected.rows() if time > 200_000) == 1
    # A thousand were due in that second; the backlog was then sent 9 times as fast as it had grown.
    late = [max(0.0, 1.0 + (number + 1) * 0.0001 - number * 0.001) for number in range(1112)]
    true = sorted([0.0001] * (10_000 - len(late)) + [max(0.0001, each) for each in late])
    for percent in PERCENTS:
        assert corrected.percentile(percent) == pytest.approx(exact(true, percent), rel=0.002)
    assert corrected.percentile(95) > 0.4e9


def test_a_schedule_is_kept_whatever_the_answers_take_as_far_as_the_depth_allows() -> None:
    sessions: list[FakeSession] = []

    def fake() -> FakeSession:
        sessions.append(FakeSession(lambda _: 3.0))
        return sessions[-1]

    run(Plan(rate=100, count=200, depth=256), fake, fake)
    moments = sorted(moment for session in sessions for moment in session.sent_at)
    assert moments == pytest.approx([number / 100 for number in range(200)], abs=1e-6)
    assert {len(session.messages) for session in sessions} == {100}, "the connections take turns"


def test_the_interval_is_from_message_to_message() -> None:
    sessions: list[FakeSession] = []

    def fake() -> FakeSession:
        sessions.append(FakeSession(lambda number: 1.5 if number == 1 else 0.25))
        return sessions[-1]

    run(Plan(count=4, interval=1.0), fake)
    assert sessions[0].sent_at == pytest.approx([0, 1, 2.5, 3.5]), "one that is answered late is not made up for"


def test_no_more_are_on_their_way_than_the_depth() -> None:
    on_way = most = 0

    class Watching(FakeSession):
        def prepare(self, messages: Sequence[Trip], size: int) -> bytes:
            nonlocal on_way, most
            on_way += len(messages)
            most = max(most, on_way)
            return super().prepare(messages, size)

    def answered(_: int, message: Payload) -> Payload:
        nonlocal on_way
        on_way -= 1
        return message

    for plan in (Plan(count=100, depth=7), Plan(count=100, depth=7, rate=10_000)):
        on_way = most = 0
        assert run(plan, lambda: Watching(lambda _: 0.01, answered)).answered == 100
        assert most == 7


class Together(FakeSession):
    """Answers all messages of one write in one read, after a second; `answered` makes the answers."""

    def __init__(self, room: int = 256) -> None:
        super().__init__(lambda _: None)
        self.writes: list[int] = []
        self._room = room

    def room(self, size: int) -> int:
        return self._room

    def write(self, frames: bytes) -> None:
        trips = self._prepared
        self.writes.append(len(trips))
        self._room -= len(trips)
        asyncio.get_running_loop().call_later(1, self._read, trips)

    def _read(self, trips: list[Trip]) -> None:
        self._room += len(trips)
        self.on_answers(self.answered(trips))

    def answered(self, trips: list[Trip]) -> list[tuple[Trip, Payload]]:
        return [(trip, trip.message) for trip in trips]


def test_answers_of_one_read_have_one_time_and_as_many_messages_follow_in_one_write() -> None:
    sessions: list[Together] = []

    def together() -> Together:
        sessions.append(Together())
        return sessions[-1]

    tally = run(Plan(count=40, depth=16), together)
    assert sessions[0].writes == [16, 16, 8]
    assert (tally.sent, tally.answered, tally.wrong, tally.lost) == (40, 40, 0, 0)
    assert (tally.times.count, tally.times.shortest, tally.times.longest) == (40, 10**9, 10**9)


def test_messages_of_a_schedule_that_follow_in_one_write_have_each_its_own_time() -> None:
    class Ticking(Together):
        """Answers all that has come, each second."""

        came: tuple[Trip, ...] = ()

        def write(self, frames: bytes) -> None:
            if not self.came:
                asyncio.get_running_loop().call_later(1, self._tick)
            self.came += (*self._prepared,)
            self.writes.append(len(self._prepared))

        def _tick(self) -> None:
            came, self.came = self.came, ()
            self.on_answers(self.answered([*came]))

    sessions: list[Ticking] = []

    def ticking() -> Ticking:
        sessions.append(Ticking())
        return sessions[-1]

    tally = run(Plan(rate=100, count=20, depth=8), ticking, ticking)
    assert [session.writes for session in sessions] == [[1] * 8 + [2]] * 2
    due = [number / 100 for number in range(20)]
    answered = [1 + number % 2 / 100 + (number >= 16) for number in range(20)]
    times = sorted(round((end - begin) * 1e9) for begin, end in zip(due, answered, strict=True))
    assert tally.times.count == 20
    assert tally.times.total == pytest.approx(sum(times), abs=1000)
    assert tally.times.shortest == pytest.approx(times[0])
    assert tally.times.longest == pytest.approx(times[-1])
    assert tally.uncorrected is not None
    assert tally.uncorrected.longest == pytest.approx(10**9)


def test_among_answers_of_one_read_each_has_its_own_time_and_its_own_outcome() -> None:
    class Mixed(Together):
        """Has the answers to two writes in its second read, two of them exchanged, and one twice."""

        def answered(self, trips: list[Trip]) -> list[tuple[Trip, Payload]]:
            if len(self.writes) == 1:
                first, *self.rest = trips
                return [(first, first.message)]
            one, two, three = self.rest
            one.put(one.message)
            return [(one, one.message), (two, three.message), (three, two.message), *super().answered(trips)]

    sessions: list[Mixed] = []

    def mixed() -> Mixed:
        sessions.append(Mixed())
        return sessions[-1]

    tally = run(Plan(count=5, depth=4), mixed)
    assert (tally.sent, tally.answered, tally.wrong, tally.lost) == (5, 5, 3, 0)
    assert [round(time, -7) for time, _ in tally.times.rows()] == [10**9]
    assert tally.times.count == 2
    assert [trip.message for trip in sessions[0].taken_back] == [sessions[0].rest[0].message]


def test_no_more_are_sent_at_once_than_the_session_has_room_for() -> None:
    sessions: list[Together] = []

    def narrow() -> Together:
        sessions.append(Together(room=3))
        return sessions[-1]

    tally = run(Plan(count=10, depth=16), narrow)
    assert sessions[0].writes == [3, 3, 3, 1]
    assert tally.answered == 10


def test_sending_goes_on_when_the_end_of_a_message_that_was_settled_before_makes_room() -> None:
    class Narrow(FakeSession):
        """Has room for one message, until its END comes; the service gives two answers before it."""

        def room(self, size: int) -> int:
            return 1 - len([trip for trip in self._waiting if trip.id != -1])

        def _reply(self, trip: Trip, number: int, message: Payload) -> None:
            trip.put(message)
            trip.put(message)
            assert trip.ended
            asyncio.get_running_loop().call_later(1, self._end, trip)

        def _end(self, trip: Trip) -> None:
            trip.id = -1
            trip.end()

    tally = run(Plan(count=3), lambda: Narrow(lambda _: 0.5))
    assert (tally.answered, tally.wrong) == (3, 3)


def test_the_time_begins_right_before_the_write() -> None:
    clock = 0

    class Slow(FakeSession):
        """Takes a second to make frames, and a millisecond for a round trip."""

        def prepare(self, messages: Sequence[Trip], size: int) -> bytes:
            nonlocal clock
            clock += 10**9
            return super().prepare(messages, size)

        def _reply(self, trip: Trip, number: int, message: Payload) -> None:
            nonlocal clock
            clock += 10**6
            super()._reply(trip, number, message)

    async def main() -> None:
        load = Load(Plan(count=3), [Slow(lambda _: 0.001)], clock=lambda: clock, spin=0)
        await load.run()
        assert (load.tally.times.count, load.tally.times.longest) == (3, 10**6)

    run_virtually(main())


# --- counts -------------------------------------------------------------------------------------------------


def once_in_a_hundred(wrong: Callable[[Payload], Payload | AntiphonError | None]) -> Callable[[], FakeSession]:
    return lambda: FakeSession(
        lambda _: 0.001, lambda number, message: wrong(message) if number % 100 == 99 else message
    )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda message: message[:-1] + "_",
        lambda message: message[:-1],
        lambda message: message.encode() + b"\n",
        lambda _: None,
        lambda _: from_wire("service-failed", "The service failed on this message."),
    ],
    ids=["changed", "shorter", "longer", "none", "an error"],
)
def test_what_is_wrong_once_in_a_hundred_is_caught_a_hundred_times_in_ten_thousand(
    wrong: Callable[[Payload], Payload | AntiphonError | None],
) -> None:
    tally = run(Plan(count=10_000, depth=16), once_in_a_hundred(wrong))
    assert (tally.sent, tally.answered, tally.wrong, tally.lost) == (10_000, 10_000, 100, 0)
    assert tally.times.count == 9_900, "the times are those of right answers"
    assert tally.wrong_share == 0.01


def test_an_error_is_counted_by_its_code_and_the_first_one_kept() -> None:
    tally = run(Plan(count=200), once_in_a_hundred(lambda _: from_wire("service-failed", "It is broken.")))
    assert tally.errors == {"service-failed": 2}
    assert isinstance(tally.first_error, ServiceFailed)
    assert tally.first_error.text() == "It is broken."


def test_a_second_answer_makes_it_wrong_and_is_wanted_no_more() -> None:
    class Twice(FakeSession):
        def _reply(self, trip: Trip, number: int, message: Payload) -> None:
            trip.put(message)
            trip.put(message)

    tally = run(Plan(count=3), lambda: Twice(lambda _: 0.001))
    assert (tally.answered, tally.wrong) == (3, 3)


def test_an_answer_in_bytes_is_right() -> None:
    tally = run(Plan(count=3), lambda: FakeSession(lambda _: 0.1, lambda _, message: str(message).encode()))
    assert (tally.answered, tally.wrong) == (3, 0)


def test_what_nobody_answers_is_lost_when_the_patience_is_over() -> None:
    silent = lambda: FakeSession(lambda number: None if number == 2 else 0.01)  # noqa: E731
    tally = run(Plan(duration=1.0, depth=1, patience=3), silent)
    assert (tally.sent, tally.answered, tally.lost) == (3, 2, 1)


def test_what_was_due_and_could_not_be_sent_is_told() -> None:
    tally = run(Plan(rate=100, duration=1.0, depth=1, patience=1), lambda: FakeSession(lambda _: 0.45))
    assert tally.sent + tally.unsent in (100, 101)
    assert (tally.sent, tally.answered, tally.lost) == (5, 4, 1)
    assert tally.lost_share > 0.9


# --- the end ------------------------------------------------------------------------------------------------


def test_the_duration_ends_the_sending_and_what_is_on_its_way_is_waited_for() -> None:
    sessions: list[FakeSession] = []
    load: list[Load] = []

    async def main() -> None:
        sessions.append(FakeSession(lambda _: 0.3))
        load.append(Load(Plan(duration=1.0), sessions, clock=now_ns, spin=0))
        await load[0].run()
        assert asyncio.get_running_loop().time() == pytest.approx(1.2)

    run_virtually(main())
    tally = load[0].tally
    assert (tally.sent, tally.answered, tally.lost) == (4, 4, 0)
    assert load[0].seconds == pytest.approx(1.2)


def test_the_first_stop_waits_for_what_is_on_its_way_and_the_second_does_not() -> None:
    async def main(stops: int) -> tuple[Tally, float]:
        load = Load(Plan(depth=2, interval=1), [FakeSession(lambda _: 5.0)], clock=now_ns, spin=0)
        loop = asyncio.get_running_loop()
        for number in range(stops):
            loop.call_at(1.0 + number, load.stop)
        await load.run()
        return load.tally, loop.time()

    tally, ended = run_virtually(main(1))
    assert (tally.sent, tally.answered, tally.lost) == (2, 2, 0)
    assert ended == pytest.approx(5.0)
    tally, ended = run_virtually(main(2))
    assert (tally.sent, tally.answered, tally.lost) == (2, 0, 2)
    assert ended == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("plan", "stops", "due", "answered"),
    [
        (Plan(rate=100, depth=1), [1.005], 101, 3),
        (Plan(rate=100, depth=1), [1.005, 1.2], 101, 2),
        (Plan(rate=100, depth=1, duration=1.005), [1.4, 1.6], 101, 3),
        (Plan(rate=100, depth=256), [1.005, 1.195], 101, 75),
    ],
    ids=["once", "twice", "after the duration", "with room"],
)
def test_a_stop_counts_what_was_due_and_not_sent(plan: Plan, stops: list[float], due: int, answered: int) -> None:
    async def main() -> Tally:
        load = Load(plan, [FakeSession(lambda _: 0.45)], clock=now_ns, spin=0)
        for at in stops:
            asyncio.get_running_loop().call_at(at, load.stop)
        await load.run()
        return load.tally

    tally = run_virtually(main())
    assert tally.sent + tally.unsent == due
    assert tally.answered == answered
    assert tally.lost == tally.sent - answered
    assert (tally.unsent > 0) == (plan.depth == 1)


def test_a_stop_sends_what_became_due_while_the_loop_was_busy() -> None:
    clock = 0

    async def main() -> Tally:
        nonlocal clock
        load = Load(Plan(rate=100, depth=256), [FakeSession(lambda _: 0.1)], clock=lambda: clock, spin=0)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock += 10**9
        load.stop()
        await running
        return load.tally

    tally = run_virtually(main())
    assert (tally.sent, tally.unsent, tally.answered) == (101, 0, 101)


def test_a_stop_between_two_messages_ends_at_once() -> None:
    async def main() -> float:
        load = Load(Plan(interval=10), [FakeSession(lambda _: 0.1)], clock=now_ns, spin=0)
        asyncio.get_running_loop().call_at(1.0, load.stop)
        await load.run()
        assert (load.tally.sent, load.tally.unsent) == (1, 0)
        return asyncio.get_running_loop().time()

    assert run_virtually(main()) == pytest.approx(1.0)


def test_the_end_of_a_session_ends_the_run_with_its_reason_and_the_others_are_answered() -> None:
    async def main() -> None:
        broken, whole = FakeSession(lambda _: 0.4), FakeSession(lambda _: 0.3)
        load = Load(Plan(), [broken, whole], clock=now_ns, spin=0)
        asyncio.get_running_loop().call_at(1.0, broken.fail, SessionEnded(), OutcomeUnknown)
        with pytest.raises(SessionEnded):
            await load.run()
        tally = load.tally
        assert (tally.sent, tally.answered, tally.lost) == (3 + 4, 2 + 4, 1)
        assert asyncio.get_running_loop().time() == pytest.approx(1.2)

    run_virtually(main())


@pytest.mark.parametrize("first", [0, 1])
def test_what_cannot_be_sent_ends_the_run(first: int) -> None:
    class Small(FakeSession):
        def prepare(self, messages: Sequence[Trip], size: int) -> bytes:
            if len(self.messages) == first:
                raise MessageTooLarge(size=size, limit=1)
            return super().prepare(messages, size)

    async def main() -> None:
        load = Load(Plan(count=9), [Small(lambda _: 0.1), FakeSession(lambda _: 0.25)], clock=now_ns, spin=0)
        with pytest.raises(MessageTooLarge):
            await load.run()
        tally = load.tally
        assert (tally.sent, tally.answered, tally.lost, tally.unsent) == (first + 1, first + 1, 0, 0)

    run_virtually(main())


def test_a_link_that_comes_and_goes_is_told_of() -> None:
    async def main() -> None:
        session = FakeSession(lambda _: 0.1)
        load = Load(Plan(count=20), [FakeSession(lambda _: 0.1), session], clock=now_ns, spin=0)
        told = []
        load.on_outage = lambda outage: told.append((outage.connection, round(outage.at, 3), outage.away))
        loop = asyncio.get_running_loop()
        loop.call_at(0.25, lambda: session.on_lost(ConnectionLost(address="here")))
        loop.call_at(0.5, lambda: session.on_back(0.25))
        await load.run()
        assert told == [(2, 0.25, None), (2, 0.25, 0.25)]
        assert [type(outage.reason) for outage in load.tally.outages] == [ConnectionLost]

    run_virtually(main())


def test_each_message_that_has_come_to_its_end_is_told_of() -> None:
    async def main() -> list[tuple[int, bool]]:
        load = Load(
            Plan(count=3),
            [FakeSession(lambda _: 0.1, lambda n, m: None if n == 1 else m)],
            clock=now_ns,
            spin=0,
        )
        told: list[tuple[int, bool]] = []
        load.on_settled = lambda trip: told.append((trip.count, trip.right))
        await load.run()
        return told

    assert run_virtually(main()) == [(1, True), (2, False), (3, True)]
