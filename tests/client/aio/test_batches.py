"""What a session says in one step of the event loop goes out in one write; and answers may be heard at once."""

import asyncio
from collections.abc import Callable

from antiphon.client.aio import connection as connection_module
from antiphon.client.aio.answers import Answers
from antiphon.client.aio.connection import ClientConnection
from antiphon.errors import OutcomeUnknown
from antiphon.wire.frames import encode
from antiphon.wire.kinds import Kind

BYE = encode(Kind.BYE, 0, b'{"reason":"left"}')


class Line(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.gone = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.gone
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.gone


def joined() -> tuple[ClientConnection, Line]:
    connection, line = ClientConnection("here"), Line()
    connection.connection_made(line)
    return connection, line


async def step() -> None:
    await asyncio.sleep(0)


async def test_the_frames_of_one_step_go_out_together_and_those_of_the_next_one_after_them() -> None:
    connection, line = joined()
    for part in (b"a", b"b", b"c"):
        connection.send(part)
    assert line.writes == []
    await step()
    connection.send(b"d")
    await step()
    assert line.writes == [b"abc", b"d"]


async def test_a_frame_that_is_alone_does_not_wait_but_overtakes_nothing() -> None:
    connection, line = joined()
    connection.send(b"a", alone=True)
    assert line.writes == [b"a"]
    connection.send(b"b")
    connection.send(b"c", alone=True)
    assert line.writes == [b"a"]
    await step()
    assert line.writes == [b"a", b"bc"]


async def test_a_goodbye_comes_behind_what_was_said_before() -> None:
    connection, line = joined()
    connection.send(b"a")
    connection.say_bye("left")
    await step()
    assert line.writes == [b"a", BYE]


async def test_much_does_not_wait_for_the_end_of_the_step() -> None:
    connection, line = joined()
    connection.send(bytes(connection_module.BATCH - 1))
    assert line.writes == []
    connection.send(b"x")
    assert [len(each) for each in line.writes] == [connection_module.BATCH], (
        "so that the transport can say: enough"
    )
    await step()
    assert len(line.writes) == 1


async def test_nothing_is_written_to_a_line_that_has_gone() -> None:
    connection, line = joined()
    connection.send(b"a")
    line.gone = True
    await step()
    assert line.writes == []


def heard(action: Callable[[Answers], object]) -> tuple[list[tuple[list[bytes | str], bool]], int]:
    """Return what somebody hears who takes answers at once, and the bytes that count as taken."""
    sizes: list[int] = []
    answers = Answers(lambda payload: sizes.append(len(payload)), lambda _: None)
    news: list[tuple[list[bytes | str], bool]] = []
    answers.on_news = lambda: news.append((answers.take_all(), answers.ended))
    action(answers)
    return news, sum(sizes)


def test_news_are_told_as_they_come_and_the_end_too() -> None:
    def come(answers: Answers) -> None:
        answers.put("one")
        answers.put(b"two!")
        answers.end()
        answers.end()

    assert heard(come) == ([(["one"], False), ([b"two!"], False), ([], True)], 7)


def test_why_it_ended_can_be_seen_without_waiting() -> None:
    answers = Answers(lambda _: None, lambda _: None)
    assert answers.error is None
    answers.end(OutcomeUnknown())
    assert isinstance(answers.error, OutcomeUnknown)
