"""Calls of a service with a wrong argument: the mistake is raised where it stands, in one sentence."""

import asyncio
from typing import Any

import pytest

from antiphon.errors import ServiceFailed
from antiphon.services import Session
from antiphon.testing import session

MISTAKES: dict[str, tuple[Any, str]] = {
    "close": (lambda me: me.close(5), "a reason must be of type str, not int"),
    "disconnect": (
        lambda me: me.server.disconnect("bob"),
        "who is disconnected, a session or the number of an account, must be of type int, not str",
    ),
    "disconnect why": (lambda me: me.server.disconnect(me, 5), "a reason must be of type str, not int"),
    "send to": (
        lambda me: me.server.send_to("bob", "hello"),
        "the number of an account (Session.account) must be of type int, not str",
    ),
    "publish": (lambda me: me.publish(5, "hello"), "the name of a topic must be of type str, not int"),
    "publish what": (
        lambda me: me.publish("news", object()),
        "a value of type object cannot be sent as JSON: Encoding objects of type object is unsupported",
    ),
    "publish none": (lambda me: me.publish("news", None), "None is no message: send text, bytes or a value"),
    "subscribe": (lambda me: me.subscribe(None), "the name of a topic must be of type str, not NoneType"),
    "history": (lambda me: me.subscribe("news", history="all"), "history must be of type int, not str"),
    "info": (lambda me: me.subscribe("news", info={}), "the info of a subscriber must be of type str, not dict"),
    "topics": (lambda me: me.server.topics(None), "the beginning of a topic must be of type str, not NoneType"),
    "task": (
        lambda me: me.server.start_task(asyncio.sleep),
        "the coroutine of a task, as work() and not work, must be of type Coroutine, not function",
    ),
}


class Mistaken:
    """A service that makes the mistake it is told."""

    async def received(self, message: str, session: Session) -> str:
        mistake, _ = MISTAKES[message]
        if asyncio.iscoroutine(called := mistake(session)):
            await called
        return "it was taken"


@pytest.mark.parametrize("name", MISTAKES)
async def test_a_mistake_is_told_in_one_sentence(name: str) -> None:
    async with session(Mistaken()) as ann:
        with pytest.raises(ServiceFailed) as failed:
            await ann.ask(name)
    assert isinstance(failed.value.__cause__, TypeError)
    assert str(failed.value.__cause__) == MISTAKES[name][1]
