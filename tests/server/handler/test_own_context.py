"""Context variables and the current task are each message's own, pipelined or not."""

import asyncio
from contextvars import ContextVar
from pathlib import Path

import pytest

from antiphon.wire.bodies import Error
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame
from support.raw import RawClient
from support.serving import seed, serving

SEEN: ContextVar[str] = ContextVar("SEEN", default="nothing")


def answers(client: RawClient, *messages: str) -> list[object]:
    """Send all messages in one write; return the payload or the error code of each answer."""
    client.send(b"".join(client.conversation.message(message)[1] for message in messages))
    found: list[object] = []
    while len(found) < len(messages):
        event = client.next()
        if isinstance(event, Frame):
            found.append(event.payload)
        else:
            assert isinstance(event, Control)
            assert isinstance(event.body, Error)
            found.append(event.body.code)
    return found


@pytest.mark.parametrize("wait", [False, True], ids=["at once", "after a wait"])
def test_pipelined_messages_do_not_see_each_others_variables(tmp_path: Path, wait: bool) -> None:
    async def handler(message: str) -> str:
        before = SEEN.get()
        SEEN.set(message)
        if wait:
            await asyncio.sleep(0)
        return f"{before}, {SEEN.get()}"

    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        assert answers(client, "one", "two", "three") == ["nothing, one", "nothing, two", "nothing, three"]


def test_each_pipelined_message_is_a_task_of_its_own(tmp_path: Path) -> None:
    tasks: list[asyncio.Task[object] | None] = []

    async def handler(message: str) -> str:
        tasks.append(asyncio.current_task())
        return message

    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        assert answers(client, "one", "two", "three") == ["one", "two", "three"]
    assert None not in tasks
    assert len(set(map(id, tasks))) == 3


def test_a_handler_that_cancels_its_own_task_fails_its_own_message_only(tmp_path: Path) -> None:
    async def handler(message: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        if message == "cancel":
            task.cancel()
        return message

    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        assert answers(client, "one", "cancel", "two") == ["one", "service-failed", "two"]
