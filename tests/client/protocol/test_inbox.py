"""The inbox: its end, and when the service is told to stop."""

from antiphon.client.protocol.inbox import Inbox
from antiphon.client.protocol.unanswered import Sent
from antiphon.errors import OutcomeUnknown


def asked(taken_back: list[int]) -> Inbox:
    """Return the inbox of a message that is sent."""
    box = Inbox(lambda _: None, lambda sent: taken_back.append(sent.id))
    box.sent = Sent(7, 1, "question", box)
    return box


def test_an_only_answer_ends_it() -> None:
    box = asked([])
    box.answer("answer")
    assert box.ended
    assert (box.take(), box.take()) == ("answer", None)


def test_it_lets_go_of_its_message_at_the_end_so_that_nothing_is_left_to_the_garbage_collector() -> None:
    answered, failed, ignored = asked([]), asked([]), asked([])
    answered.answer("answer")
    failed.end(OutcomeUnknown())
    ignored.ignore()
    assert (answered.sent, failed.sent, ignored.sent) == (None, None, None)


def test_the_service_is_stopped_once_and_only_if_it_is_still_at_work() -> None:
    taken_back: list[int] = []
    answered, at_work = asked(taken_back), asked(taken_back)
    answered.answer("answer")
    answered.close()
    assert taken_back == []
    assert answered.take_all() == []
    at_work.put("one of many")
    at_work.close()
    at_work.close()
    assert taken_back == [7]
    assert at_work.take_all() == []
