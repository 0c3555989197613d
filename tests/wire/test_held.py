"""Held messages: both twins hold, answer and leave the same."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.batch import (
    WAITING,
    BatchAnswerer,
    BatchResponder,
    PythonBatchAnswerer,
    PythonBatchResponder,
)
from antiphon.wire.frames import encode, encode_message, messages_ahead
from antiphon.wire.held import DUE_MOST, HeldMessages, Holding, PythonHeldMessages
from antiphon.wire.kinds import TOKEN_SIZE, Allowed, Flag, Kind
from support.leaks import assert_no_block_stays
from support.steps import something, stepping

TOKEN = bytes(range(TOKEN_SIZE))
LIMIT, MOST = 100, 5
Twin = tuple[type, type, type]
TWINS: list[Twin] = list(
    dict.fromkeys(
        [
            (PythonBatchAnswerer, PythonBatchResponder, PythonHeldMessages),
            (BatchAnswerer, BatchResponder, HeldMessages),
        ]
    )
)
"""Only the Python classes if no compiler was found."""
twins = pytest.mark.parametrize("twin", TWINS)
native = pytest.mark.parametrize("twin", TWINS[1:])


def message(id: int, payload: str, token: bytes = TOKEN) -> bytes:
    return encode_message(id, payload, 0, token)


def answer(id: int, payload: str) -> bytes:
    return encode_message(id, payload, Flag.LAST)


class Gate:
    """A fence that is open or closed."""

    def __init__(self) -> None:
        self.state = bytearray(16)
        self.is_open = True
        self.within: Callable[[], object] = lambda: None

    def check(self) -> bool:
        self.within()
        return self.is_open

    def close(self) -> None:
        self.is_open = False
        memoryview(self.state).cast("d")[1] = 1.0


class Bench:
    """A connection whose handler waits for each message that begins with "wait"."""

    def __init__(self, twin: Twin) -> None:
        answerer, responder, held = twin
        self.told: list[Any] = []
        self.late: list[bytes] = []
        self.next_alone = 0
        self.gate = Gate()
        self.waits: list[int] = []
        self.within: Callable[[], object] = lambda: None
        self.answerer: Any = answerer(self.handle, None, TOKEN, LIMIT, LIMIT, stepping=stepping())
        self.responder: Any = responder(self.answerer, [], list, self.write, self.leave, None, self.wait)
        self.due: list[Any] = []
        self.holding = Holding(
            MOST,
            self.late,
            self.later,
            self.wait,
            self.last,
            self.go_on,
            self.gate,
            self.due,
            self.grew,
            self.rest,
        )
        self.held: Any = held(self.answerer, self.responder, self.holding)
        self.responder.held = self.held

    async def handle(self, message: str) -> str:
        if message == "within":
            self.within()
        if message == "raise":
            raise LookupError
        return await something() if message.startswith("wait") else message

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def later(self, frame: bytes) -> int:
        self.told.append(("later", frame))
        if not self.next_alone:
            self.late.append(frame)
        return self.next_alone

    def wait(self, unanswered: Any, began: float) -> None:
        assert (self.responder.closed, self.answerer.unanswered, began) == (WAITING, None, self.answerer.began)
        self.told.append(("waits", unanswered[0]))
        unanswered[1].close()

    def last(self, id: int, reply: object) -> bool:
        self.told.append(("last", id, reply))
        return True

    def go_on(self, answers: bytes | None) -> None:
        unanswered = self.answerer.unanswered
        if unanswered is not None and unanswered[3] is not None:
            unanswered[1].close()
        left = None if unanswered is None else (unanswered[0], type(unanswered[2]))
        self.responder.closed = 1
        self.told.append(("go on", answers, left, self.held.messages, self.held.take()))

    def grew(self) -> None:
        self.told.append(("grew", len(self.due)))

    def rest(self) -> None:
        self.told.append(("rest", self.late[:]))

    def leave(self, data: bytes, size: int, answers: bytes) -> None:
        if self.answerer.unanswered is not None and self.answerer.unanswered[3] is not None:
            self.answerer.unanswered[1].close()
        self.told.append(("left", bytes(data[self.answerer.position : size]), answers))

    def receive(self, *frames: bytes) -> list[Any]:
        """Receive frames together; return what has happened since the last call."""
        self.responder(b"".join(frames), len(b"".join(frames)))
        return self.happened()

    def answered(self, id: int, reply: object) -> list[Any]:
        """Answer the message that waits."""
        self.told.append(self.held.answer(id, reply))
        return self.happened()

    def happened(self) -> list[Any]:
        told, self.told = self.told, []
        return told


@twins
def test_messages_behind_one_that_waits_are_its_turn_one_after_the_other(twin: Twin) -> None:
    bench = Bench(twin)
    bench.next_alone = 1
    assert bench.receive(*(message(id, "wait") for id in (1, 2, 3, 4))) == [("waits", 1)]
    assert bench.held.messages == 3
    assert bench.answered(1, "one") == [("later", answer(1, "one")), ("waits", 2), True]
    assert (bench.held.messages, bench.held.alone, bench.responder.sent_bytes) == (2, 1, 0)
    bench.held.at_once = 1
    assert bench.answered(2, "two") == [answer(2, "two"), ("waits", 3), True]
    assert bench.held.at_once == 0
    bench.next_alone = 0
    assert bench.answered(3, "three") == [("later", answer(3, "three")), ("waits", 4), True]
    assert bench.answered(4, "four") == [("last", 4, "four"), True]
    bench.late.clear()
    assert bench.answered(4, "four") == [answer(4, "four"), True]
    assert bench.responder.closed == 0
    assert bench.responder.sent_bytes == len(answer(2, "two") + answer(4, "four"))


@twins
def test_while_answers_are_late_the_next_ones_are_too(twin: Twin) -> None:
    bench = Bench(twin)
    bench.receive(*(message(id, "wait") for id in (1, 2, 3)))
    assert bench.answered(1, "one") == [("later", answer(1, "one")), ("waits", 2), True]
    assert bench.answered(2, "two") == [("waits", 3), True]
    assert bench.late == [answer(1, "one"), answer(2, "two")]


@twins
def test_an_answer_that_waits_for_none_of_its_connection_is_due(twin: Twin) -> None:
    bench = Bench(twin)
    bench.next_alone = 9
    bench.receive(*(message(id, "wait") for id in (1, 2, 3, 4)))
    bench.answered(1, "one")
    bench.due[:] = [None] * (DUE_MOST - 1)
    assert bench.answered(2, "two") == [("grew", DUE_MOST), ("waits", 3), True]
    assert (bench.late, bench.due.pop()) == ([answer(2, "two")], bench.held)
    bench.held.write_late()
    bench.held.write_late()
    assert (bench.happened(), bench.late) == ([answer(2, "two")], [])
    bench.due.clear()
    assert bench.answered(3, "three") == [("grew", 1), ("waits", 4), True]
    assert bench.answered(4, "four") == [("last", 4, "four"), True]  # which writes both


@twins
def test_late_frames_are_left_unless_there_is_one_and_it_may_be_written(twin: Twin) -> None:
    bench = Bench(twin)
    bench.receive(message(1, "wait"))
    bench.late[:] = [b"one", b"two"]
    bench.held.write_late()
    assert bench.happened() == [("rest", [b"one", b"two"])]
    del bench.late[0]
    bench.responder.closed = 1
    bench.held.write_late()
    bench.responder.closed = WAITING
    bench.gate.close()
    bench.held.write_late()
    assert bench.happened() == [("rest", [b"two"])] * 2
    assert bench.late == [b"two"]


@twins
def test_a_late_frame_that_is_dropped_meanwhile_is_not_written(twin: Twin) -> None:
    bench = Bench(twin)
    bench.receive(message(1, "wait"))
    bench.late[:] = [b"one"]
    bench.gate.within = bench.late.clear
    memoryview(bench.gate.state).cast("d")[0] = 1.0  # the last look was long ago
    bench.held.write_late()
    assert bench.happened() == []


@twins
def test_whatever_does_not_only_wait_is_left_with_what_is_held(twin: Twin) -> None:
    for payload, frames, left in (
        ("now", [message(3, "wait")], (3, type(None))),
        ("raise", [], (2, LookupError)),
    ):
        bench = Bench(twin)
        bench.receive(message(1, "wait"), message(2, payload), message(3, "wait"), message(4, "wait"))
        bench.happened()
        rest = message(4, "wait") if frames else message(3, "wait") + message(4, "wait")
        answers = answer(2, payload) if frames else b""
        gone_on = ("go on", answers, left, rest.count(TOKEN), rest)
        assert bench.answered(1, "one") == [("later", answer(1, "one")), gone_on, True]


@twins
def test_behind_a_closed_fence_nothing_is_given_to_the_handler(twin: Twin) -> None:
    bench = Bench(twin)
    bench.receive(message(1, "wait"), message(2, "wait"))
    bench.gate.close()
    gone_on = ("go on", None, None, 1, message(2, "wait"))
    assert bench.answered(1, "one") == [("later", answer(1, "one")), gone_on, True]


@twins
def test_what_cannot_be_sent_or_not_now_is_left(twin: Twin) -> None:
    bench = Bench(twin)
    bench.receive(message(1, "wait"), message(2, "wait"))
    assert bench.answered(1, None) == [False]
    assert bench.answered(1, "x" * (LIMIT + 1)) == [False]
    bench.responder.closed = 1
    assert bench.answered(1, "one") == [False]
    assert (bench.held.messages, bench.held.take(), bench.held.messages) == (1, message(2, "wait"), 0)


@twins
def test_a_peer_that_takes_no_more_gets_no_more(twin: Twin) -> None:
    bench = Bench(twin)
    bench.receive(message(1, "wait"), message(2, "wait"))

    def later(frame: bytes) -> int:
        bench.told.append(frame)
        bench.responder.closed = 1
        return 0

    held: Any = twin[2](bench.answerer, bench.responder, bench.holding._replace(later=later))
    held.hold(message(2, "wait"), 1)
    assert held.answer(1, "one") is True
    assert (bench.happened(), held.messages) == ([answer(1, "one")], 1)


@twins
def test_a_handler_that_has_everything_taken_back_is_not_given_its_message_again(twin: Twin) -> None:
    bench = Bench(twin)
    taken: list[bytes] = []

    def within() -> None:
        taken.append(bench.held.take())
        bench.responder.closed = 1

    bench.within = within
    bench.receive(message(1, "wait"), message(2, "within"), message(3, "wait"), message(4, "wait"))
    bench.happened()
    done = bench.answered(1, "one")
    gone_on = ("go on", answer(2, "within"), (3, type(None)), 1, message(4, "wait"))
    assert (taken, done) == ([b""], [("later", answer(1, "one")), gone_on, True])


_ANY = st.one_of(
    st.builds(message, st.integers(0, 3), st.text("ab", max_size=4)),
    st.builds(lambda size: message(1, "x" * size), st.integers(LIMIT - 1, LIMIT + 1)),
    st.builds(lambda kind, id: encode(kind, id, bytes(8), token=TOKEN), st.sampled_from(Kind), st.integers(0, 1)),
    st.binary(max_size=20),
)


@given(frames=st.lists(_ANY, max_size=MOST + 1), cut=st.integers(0, 30), start=st.integers(0, 3))
def test_both_twins_hold_nothing_but_whole_messages(frames: list[bytes], cut: int, start: int) -> None:
    data = bytes(start) + b"".join(frames)
    end = max(start, len(data) - cut * (cut % 3 == 0))
    ahead = messages_ahead(data, start, end, MOST, Allowed(TOKEN_SIZE, LIMIT))
    expected = ahead[0] if ahead is not None and ahead[1] == end and ahead[0] < MOST else 0
    for twin in TWINS:
        held = Bench(twin).held
        assert held.hold_rest(bytearray(data), start, end) == (expected > 0)
        assert (held.messages, held.take()) == (expected, data[start:end] if expected else b"")


_PAYLOADS = st.lists(
    st.sampled_from(["wait", "wait", "wait", "now", "raise", "within"]), min_size=1, max_size=MOST
)


@given(payloads=_PAYLOADS, wrong=st.integers(0, 12), alone=st.integers(0, 2), takes=st.booleans())
def test_both_twins_tell_the_same(payloads: list[str], wrong: int, alone: int, takes: bool) -> None:
    seen = []
    for twin in TWINS:
        bench = Bench(twin)
        bench.next_alone = alone
        if takes:
            bench.within = bench.held.take
        frames = [
            message(id, each, bytes(TOKEN_SIZE) if id == wrong else TOKEN) for id, each in enumerate(payloads, 1)
        ]
        told = bench.receive(*frames)
        for id in range(1, len(payloads) + 1):
            if ("waits", id) in told and bench.responder.closed == WAITING:
                told += bench.answered(id, "reply")
        seen.append((told, bench.late, bench.held.messages, bench.responder.sent_bytes, bench.responder.closed))
    assert seen[0] == seen[-1]


@native
def test_wrong_arguments_are_refused(twin: Twin) -> None:
    bench = Bench(twin)
    held = twin[2]
    holding: Any = bench.holding
    calls: list[Callable[[], object]] = [
        lambda: bench.held.hold("text", 1),
        lambda: bench.held.hold_rest("text", 0, 1),
        lambda: setattr(bench.responder, "held", 5),
        lambda: held(bench.answerer, bench.responder, ()),
        lambda: held(bench.answerer, None, holding),
        lambda: held(bench.answerer, bench.responder, holding._replace(most="many")),
        lambda: held(bench.answerer, bench.responder, holding._replace(late=())),
        lambda: held(bench.answerer, bench.responder, holding._replace(due=())),
        lambda: held(bench.answerer, bench.responder, holding._replace(fence=None)),
    ]
    for call in calls:
        with pytest.raises((TypeError, AttributeError)):
            call()
    bench.gate.state.clear()
    with pytest.raises(TypeError, match="two doubles"):
        held(bench.answerer, bench.responder, holding)
    assert bench.held.hold_rest(b"", 5, 9) is False


@twins
def test_nothing_leaks_of_messages_that_were_held(twin: Twin) -> None:
    def once() -> None:
        bench = Bench(twin)
        bench.receive(*(message(id, "wait") for id in (1, 2, 3, 4)))
        for id in (1, 2):
            bench.answered(id, "reply")
        bench.receive(message(5, "now"))
        bench.held.take()
        bench.receive(message(1, "wait"), message(2, "raise"), message(3, "wait"))
        bench.answered(1, "reply")
        bench.responder.held = None

    assert_no_block_stays(once)
