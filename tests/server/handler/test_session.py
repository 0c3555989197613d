"""The session as user code sees it: what it shows, and what it passes on to the channel."""

import gc
import weakref
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from antiphon.server.handler.session import ServiceSession
from antiphon.services import Session

SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Recorder:
    """A channel that records what user code asks."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, object]] = []
        self.server_stops = False

    @property
    def subscriptions(self) -> "Recorder":
        return self

    @property
    def names(self) -> dict[str, str]:
        return {"news": "what was said"}

    async def subscribe(self, topic: str, history: int, info: str) -> None:
        self.asked.append(("subscribe", (topic, history, info)))

    def unsubscribe(self, topic: str) -> None:
        self.asked.append(("unsubscribe", topic))

    async def publish(self, topic: str, message: str | bytes) -> None:
        self.asked.append(("publish", (topic, message)))

    def push(self, message: str | bytes) -> None:
        self.asked.append(("push", message))

    async def ready(self) -> None:
        self.asked.append(("ready", None))

    def end(self, reason: str) -> None:
        self.asked.append(("end", reason))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def shown(recorder: Recorder) -> ServiceSession:
    return ServiceSession(recorder, 7, "ann", "127.0.0.1:1", SINCE, cast("Any", recorder))


def test_it_shows_whose_session_it_is(shown: Session) -> None:
    assert (shown.account, shown.name, shown.address, shown.since) == (7, "ann", "127.0.0.1:1", SINCE)
    assert shown.state is None
    assert shown.translate("Hello") == "Hello"


def test_it_leads_to_the_server(shown: Session, recorder: Recorder) -> None:
    assert shown.server is cast("Any", recorder)


async def test_what_user_code_asks_is_passed_on_in_order(shown: Session, recorder: Recorder) -> None:
    shown.send("text")
    shown.send(b"bytes")
    await shown.ready()
    await shown.subscribe("news")
    await shown.subscribe("talk", history=50, info="a host")
    assert shown.topics == {"news": "what was said"}
    shown.unsubscribe("news")
    await shown.publish("talk", "hello")
    shown.close("it is late")
    shown.close()
    assert recorder.asked == [
        ("push", "text"), ("push", b"bytes"), ("ready", None), ("subscribe", ("news", 0, "")),
        ("subscribe", ("talk", 50, "a host")), ("unsubscribe", "news"), ("publish", ("talk", "hello")),
        ("end", "it is late"), ("end", ""),
    ]  # fmt: skip


def test_user_code_can_keep_it_in_a_weak_set(shown: ServiceSession) -> None:
    kept = weakref.WeakSet([shown])
    assert list(kept) == [shown]
    other = ServiceSession(Recorder(), 8, "bob", "127.0.0.1:2", SINCE, cast("Any", None))
    kept.add(other)
    del other
    gc.collect()
    assert list(kept) == [shown]
