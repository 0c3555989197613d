"""Questions about subscribers that are put together: nobody gets an answer that is older than the question."""

import asyncio

import pytest

from antiphon.errors import TryLater
from antiphon.server.topics.presence import Presence


class Desk:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.answers: asyncio.Queue[dict[str, list[str]] | None] = asyncio.Queue()

    async def ask(self, topics: list[str]) -> dict[str, list[str]]:
        self.asked.append(topics)
        answer = await self.answers.get()
        if answer is None:
            raise TryLater
        return answer


async def test_what_is_asked_meanwhile_is_one_question_that_begins_later() -> None:
    desk = Desk()
    presence = Presence(desk.ask)
    first = asyncio.ensure_future(presence.of("a"))
    while not desk.asked:
        await asyncio.sleep(0)
    later = [asyncio.ensure_future(presence.of(topic)) for topic in ("a", "b", "b", "c")]
    await asyncio.sleep(0)  # each has asked
    later[-1].cancel()
    desk.answers.put_nowait({"a": ["ann"]})
    assert await first == ["ann"]
    desk.answers.put_nowait({"a": ["ann", "bob"], "b": ["bob"]})
    assert await asyncio.gather(*later[:3]) == [["ann", "bob"], ["bob"], ["bob"]], (
        "not the answer to the first one"
    )
    assert desk.asked == [["a"], ["a", "b", "c"]]
    desk.answers.put_nowait({})
    assert await presence.of("d") == []


@pytest.mark.parametrize("stops", [False, True])
async def test_whoever_waits_is_told_when_nobody_answers(*, stops: bool) -> None:
    desk = Desk()
    presence = Presence(desk.ask)
    waiting = [asyncio.ensure_future(presence.of("a"))]
    while not desk.asked:
        await asyncio.sleep(0)
    waiting.append(asyncio.ensure_future(presence.of("b")))
    if stops:
        await asyncio.sleep(0)
        await presence.stop()
    else:
        desk.answers.put_nowait(None)
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in told] == [TryLater, TryLater]
    desk.answers.put_nowait({"a": ["ann"]})
    assert await presence.of("a") == ["ann"]
