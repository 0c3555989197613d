"""The rules of continuity, by hand and against a model of a server that loses links at any moment."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.client.protocol.unanswered import Sent, UnansweredMessages
from antiphon.errors import FrameInvalid, ProtocolError
from antiphon.wire.conversation import LAST_ID
from antiphon.wire.frames import Payload


def sending(*messages: str) -> UnansweredMessages[str]:
    """Return the book of a session that has sent messages; the asker of each is the message itself."""
    book: UnansweredMessages[str] = UnansweredMessages()
    for message in messages:
        book.send(message, message).written = True
    return book


def unknown(book: UnansweredMessages[str]) -> list[str]:
    return [sent.asker for sent in book.unknown()]


def test_what_the_server_has_not_got_is_sent_again_with_the_same_id() -> None:
    book = sending("a", "b", "c")
    assert [(sent.id, sent.message) for sent in book.resume(1, at_work=[1])] == [(2, "b"), (3, "c")]
    assert unknown(book) == []


def test_a_message_that_was_never_given_to_a_connection_is_sent() -> None:
    book = sending("a")
    book.send("b", "b")
    assert [sent.message for sent in book.resume(1, at_work=[1])] == ["b"]


def test_an_only_answer_is_counted_like_any_last_one() -> None:
    book, other = sending("a", "b"), sending("a", "b")
    for id in (1, 2):
        assert other.take(id, last=True) is not None
        assert book.ordinary
        assert book.answered(id).id == id
        assert book.received == other.received == id
        assert [sent.id for sent in book.unanswered] == [sent.id for sent in other.unanswered]
    assert book.resume(2, sent=2) == other.resume(2, sent=2) == []


def test_many_messages_and_their_only_answers_are_counted_like_one_after_another() -> None:
    book, other = sending("a", "b", "c", "d"), sending("a")
    many = [Sent(0, 0, message, message) for message in ("b", "c", "d")]
    other.send_all(many)
    for sent in many:
        sent.written = True
    assert [(each.id, each.number) for each in other.unanswered] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    taken: list[tuple[Sent[str], Payload]] = []
    other.answered_all([(1, "A"), (3, "C"), (2, b"B")], taken)
    for id in (1, 3, 2):
        book.answered(id)
    assert [(sent.asker, answer) for sent, answer in taken] == [("a", "A"), ("c", "C"), ("b", b"B")]
    assert [other.holds(sent) for sent in many] == [False, False, True]
    assert book.received == other.received == 3
    for each in (book, other):
        with pytest.raises(ProtocolError):
            each.resume(2, sent=3)  # it has answered the third message
        assert [sent.id for sent in each.resume(3, sent=3)] == [4]


def test_of_many_answers_those_before_a_wrong_one_are_counted_and_taken() -> None:
    book = sending("a", "b")
    taken: list[tuple[Sent[str], Payload]] = []
    for wrong in (1, 7):
        with pytest.raises(FrameInvalid):
            book.answered_all([(wrong % 3, "A"), (wrong, "again"), (2, "B")], taken)
    assert [sent.asker for sent, _ in taken] == ["a"]
    assert book.received == 1


def test_ids_of_many_messages_begin_again_and_pass_over_those_in_use() -> None:
    book = sending("a", "b")
    book._last_id = LAST_ID - 1
    many = [Sent(0, 0, message, message) for message in ("c", "d")]
    book.send_all(many)
    assert [sent.id for sent in many] == [LAST_ID, 3]


def test_an_only_answer_to_what_was_not_asked_is_refused_and_not_counted() -> None:
    book = sending("a")
    book.send("b", "b")  # no connection has got it
    for id in (2, 3):
        with pytest.raises(FrameInvalid):
            book.answered(id)
    assert book.received == 0
    assert len(book.unanswered) == 2


def test_nothing_is_ordinary_until_all_that_is_left_of_a_resume_has_come() -> None:
    book = sending("a", "b", "c")
    book.resume(3, missed=1, sent=2, at_work=[3])
    assert not book.ordinary
    book.take(2, last=True)
    assert unknown(book) == ["a"]
    assert book.ordinary


def test_what_a_killed_server_had_got_is_unknown_and_the_rest_is_sent_in_a_new_count() -> None:
    book = sending("a", "b")
    book.send("c", "c")
    assert [(sent.message, sent.number) for sent in book.resume(None)] == [("c", 1)]
    assert unknown(book) == ["a", "b"]
    assert book.received == 0
    assert unknown(book) == []


def test_an_answer_that_is_gone_for_good_is_unknown_when_all_else_has_come() -> None:
    book = sending("a", "b", "c")
    assert book.resume(3, missed=1, sent=2, at_work=[3]) == []
    assert unknown(book) == []
    book.take(2, last=True)
    assert unknown(book) == ["a"]
    assert [sent.asker for sent in book.unanswered] == ["c"]


def test_an_answer_that_was_the_only_frame_and_is_gone_is_unknown_at_once() -> None:
    book = sending("a")
    book.resume(1, missed=1, sent=1)
    assert unknown(book) == ["a"]


def test_a_message_that_is_at_work_is_not_unknown_however_much_is_gone() -> None:
    book = sending("a")
    book.resume(1, missed=7, sent=7, at_work=[1])
    assert unknown(book) == []
    sent = book.take(1, last=False)
    assert sent is not None
    assert sent.gap, "parts of it are gone"


def test_messages_behind_the_first_that_is_heard_of_after_a_gap_are_whole() -> None:
    book = sending("a", "b")
    book.resume(2, missed=2, sent=2, at_work=[1, 2])
    first, second = book.take(1, last=True), book.take(2, last=True)
    assert first is not None
    assert second is not None
    assert (first.gap, second.gap) == (True, False)


def test_a_second_break_before_all_has_come_again_forgets_nothing() -> None:
    book = sending("a", "b")
    book.resume(2, missed=1, sent=2)
    assert unknown(book) == []
    book.resume(2, missed=0, sent=2)
    book.take(2, last=True)
    assert unknown(book) == ["a"]


def test_a_spoiled_message_is_never_sent_again_and_those_behind_it_are_counted_as_if_it_had_not_been() -> None:
    book = sending("a", "spoiled", "c")
    next(each for each in book.unanswered if each.asker == "spoiled").spoiled = True
    assert [(sent.id, sent.number) for sent in book.resume(1, sent=0, at_work=[1])] == [(3, 2)]
    assert unknown(book) == ["spoiled"]
    book.send("d", "d").written = True
    assert [(sent.asker, sent.number) for sent in book.resume(2, sent=0, at_work=[1, 3])] == [("d", 3)]


def test_a_spoiled_message_that_no_connection_was_given_goes_once() -> None:
    book = sending("a")
    book.send("spoiled", "spoiled").spoiled = True
    assert [sent.asker for sent in book.resume(1, at_work=[1])] == ["spoiled"]


def test_a_spoiled_message_is_settled_when_the_server_knows_no_counts() -> None:
    book = sending("spoiled")
    next(iter(book.unanswered)).spoiled = True
    assert book.resume(None) == []
    assert unknown(book) == ["spoiled"]


def test_an_answer_to_nothing_ends_the_connection() -> None:
    book = sending("a")
    with pytest.raises(FrameInvalid):
        book.take(2, last=True)
    book.take(1, last=True)
    with pytest.raises(FrameInvalid):
        book.take(1, last=True)
    book.send("b", "b")
    with pytest.raises(FrameInvalid):
        book.take(2, last=True)


@pytest.mark.parametrize(("received", "missed", "sent"), [(3, 0, 1), (0, 0, 1), (2, 0, 0), (2, 1, 1)])
def test_counts_that_cannot_be_are_refused(received: int, missed: int, sent: int) -> None:
    book = sending("a", "b")
    book.take(1, last=True)
    with pytest.raises(ProtocolError):
        book.resume(received, missed=missed, sent=sent)


def test_a_message_that_no_connection_was_given_cannot_have_been_received() -> None:
    book = sending("a")
    book.send("b", "b")
    with pytest.raises(ProtocolError):
        book.resume(2, sent=0)
    assert [sent.asker for sent in book.resume(1, sent=0, at_work=[1])] == ["b"]


class Model:
    """A server that keeps `room` frames, a link that may break after any frame, and the client's book."""

    def __init__(self, room: int) -> None:
        self.book: UnansweredMessages[str] = UnansweredMessages()
        self.room = room
        self.spoiled: set[str] = set()
        self.handled: list[str] = []
        self.outcomes: dict[str, str] = {}
        self.received = 0
        self.waiting: deque[tuple[int, str, int]] = deque()
        """id, message and answers that are still due"""
        self.first = 0
        self.kept: deque[tuple[int, bool, str]] = deque()
        self.up: deque[tuple[int, str]] = deque()
        self.down: deque[tuple[int, bool, str]] = deque()
        self.asked = 0

    def ask(self, *, spoiled: bool = False) -> None:
        message = f"{self.asked}"
        self.asked += 1
        sent = self.book.send(message, message)
        sent.written, sent.spoiled = True, spoiled
        if spoiled:
            self.spoiled.add(message)
        self.up.append((sent.id, message))

    def spoil(self) -> None:
        self.ask(spoiled=True)

    def arrive(self) -> None:
        if not self.up:
            return
        id, message = self.up.popleft()
        self.received += 1
        if message in self.spoiled:
            self.say((id, True, f"refused {message}"))
        else:
            self.handled.append(message)
            self.waiting.append((id, message, int(message) % 3))

    def answer(self) -> None:
        if not self.waiting:
            return
        id, message, parts = self.waiting.popleft()
        if parts == 0:
            frame = (id, True, f"answer {message}")
        else:
            frame = (id, False, f"part {message}")
            self.waiting.appendleft((id, message, parts - 1))
            if parts == 1:
                self.waiting.popleft()
                frame = (id, True, f"answer {message}")
        self.say(frame)

    def say(self, frame: tuple[int, bool, str]) -> None:
        self.kept.append(frame)
        self.down.append(frame)
        while len(self.kept) > self.room:
            self.kept.popleft()
            self.first += 1

    def hear(self) -> None:
        if not self.down:
            return
        id, last, payload = self.down.popleft()
        sent = self.book.take(id, last=last)
        assert sent is not None
        if last:
            assert sent.asker not in self.outcomes, "answered once"
            self.outcomes[sent.asker] = payload
        self.settle()

    def settle(self) -> None:
        for sent in self.book.unknown():
            assert sent.asker not in self.outcomes
            self.outcomes[sent.asker] = "unknown"
            assert sent.asker in self.handled or sent.spoiled
            assert all(sent.id != id for id, _, _ in self.waiting), "it would still have been answered"
            assert all(sent.id != id for id, last, _ in self.kept if last), "it would have come again"

    def lose(self) -> None:
        self.up.clear()
        self.down.clear()
        while self.kept and self.first < self.book.received:
            self.kept.popleft()
            self.first += 1
        missed = max(0, self.first - self.book.received)
        again = self.book.resume(
            self.received,
            missed=missed,
            sent=self.first + len(self.kept),
            at_work=[id for id, _, _ in self.waiting],
        )
        self.down.extend(self.kept)
        assert not any(sent.spoiled for sent in again), "once is enough"
        self.settle()
        self.up.extend((sent.id, str(sent.message)) for sent in again)


STEPS = st.lists(st.sampled_from(["ask", "arrive", "answer", "hear", "lose", "spoil"]), max_size=120)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, room=st.integers(0, 6))
def test_whatever_breaks_each_message_is_handled_once_and_has_one_outcome(steps: list[str], room: int) -> None:
    model = Model(room)
    for step in steps:
        getattr(model, step)()
    for _ in range(4 * model.asked):
        model.arrive()
        model.answer()
        model.hear()
    asked = [str(number) for number in range(model.asked)]
    assert model.handled == [each for each in asked if each not in model.spoiled]
    assert set(model.outcomes) == set(asked)
    for each, outcome in model.outcomes.items():
        assert outcome in (f"{'refused' if each in model.spoiled else 'answer'} {each}", "unknown")
    if room == 6 and model.asked <= 2 and not model.spoiled:
        assert "unknown" not in model.outcomes.values(), "everything was kept"
