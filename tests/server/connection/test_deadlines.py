"""The deadlines of one connection, on a clock of the test's own."""

import pytest

from antiphon.errors import PeerSilent, PeerTooSlow, SignInTimedOut
from antiphon.server.connection.deadlines import PROGRESS, Deadlines
from antiphon.settings import ServerSettings

SETTINGS = ServerSettings(
    first_frame_seconds=10, entry_seconds=20, heartbeat_seconds=20, silence_seconds=40, write_seconds=10
)
START = 1000.0


@pytest.fixture
def watch() -> Deadlines:
    return Deadlines(SETTINGS, START)


@pytest.fixture
def inside(watch: Deadlines) -> Deadlines:
    watch.framed = watch.admitted = True
    return watch


def due(
    watch: Deadlines, after: float, *, reading: bool = True, queued: int = 0, taken: int = 0
) -> type[Exception] | None:
    error = watch.overdue(START + after, reading=reading, queued=queued, taken=taken)
    return type(error) if error else None


def test_the_first_frame_is_due_in_its_time(watch: Deadlines) -> None:
    assert [due(watch, 10), due(watch, 10.1)] == [None, SignInTimedOut]


def test_the_sign_in_is_due_in_its_time_whatever_is_heard(watch: Deadlines) -> None:
    watch.framed = True
    for after in range(20):
        watch.heard = True
        assert due(watch, after) is None
    watch.heard = True
    assert due(watch, 20.1) is SignInTimedOut


def test_silence_is_counted_from_the_last_byte(inside: Deadlines) -> None:
    inside.heard = True
    assert due(inside, 30) is None
    assert [due(inside, 70), due(inside, 70.1)] == [None, PeerSilent]


def test_silence_is_not_counted_while_we_do_not_read(inside: Deadlines) -> None:
    assert [due(inside, after, reading=False) for after in (30, 60, 90)] == [None] * 3
    assert [due(inside, 130), due(inside, 130.1)] == [None, PeerSilent]


def test_what_waits_must_be_taken_in_its_time(inside: Deadlines) -> None:
    assert due(inside, 1, queued=500) is None
    assert [due(inside, after, queued=500) for after in (10, 10.1)] == [None, PeerTooSlow]


def test_a_peer_that_has_taken_everything_has_its_time_again(inside: Deadlines) -> None:
    for after in range(0, 36, 9):
        inside.heard = True
        assert due(inside, after, queued=500) is None
        assert due(inside, after + 0.5) is None
    assert due(inside, 37, queued=500) is None


def test_a_peer_that_takes_a_good_part_of_much_has_its_time_again(inside: Deadlines) -> None:
    steps = [(9 * step, PROGRESS * step) for step in range(6)]
    for after, taken in steps:
        inside.heard = True
        assert due(inside, after, queued=10 * PROGRESS, taken=taken) is None
    inside.heard = True
    assert due(inside, 55.1, queued=10 * PROGRESS, taken=5 * PROGRESS) is PeerTooSlow


def test_a_trickle_is_no_progress(inside: Deadlines) -> None:
    assert due(inside, 9, queued=2 * PROGRESS, taken=PROGRESS - 1) is None
    assert due(inside, 10.1, queued=2 * PROGRESS, taken=PROGRESS - 1) is PeerTooSlow


def test_a_heartbeat_is_due_after_a_time_of_saying_nothing(inside: Deadlines) -> None:
    inside.spoke = True
    due(inside, 5)
    assert [inside.heartbeat_due(START + after) for after in (24.9, 25)] == [False, True]


def test_a_peer_that_is_answered_all_the_time_may_always_have_something_to_take(inside: Deadlines) -> None:
    for step in range(120):
        inside.heard = True
        assert due(inside, step / 4, queued=50, taken=step * 50) is None
    inside.heard = True
    assert [due(inside, after, queued=50, taken=119 * 50) for after in (39.75, 39.8)] == [None, PeerTooSlow]
