"""A handler that waits, at the socket: how it ends, whoever ends it, and what the asker and the log are told."""

import asyncio
import contextlib
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from antiphon.services import Session
from antiphon.wire.bodies import Error
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame
from antiphon.wire.kinds import Kind
from support.joined import JoinedClient, joined
from support.serving import seed


class Awaiting:
    """Does what a message says, after it has waited."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.lost: asyncio.Task[Any] | None = None

    async def answer(self, message: str) -> Any:
        await asyncio.sleep(0)
        return await getattr(self, f"on_{message.partition(' ')[0]}")(message)

    async def with_session(self, message: str, session: Session) -> Any:
        return await self.answer(message)

    async def on_echo(self, message: str) -> str:
        return message

    async def on_nothing(self, message: str) -> None:
        return None

    async def on_number(self, message: str) -> int:
        return 7

    async def on_thing(self, message: str) -> object:
        return object()

    async def on_large(self, message: str) -> str:
        return "x" * 2**21

    async def on_half(self, message: str) -> str:
        return "\ud800"

    async def on_cancel(self, message: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return "never"

    async def on_raise(self, message: str) -> str:
        raise asyncio.CancelledError

    async def on_exit(self, message: str) -> str:
        raise SystemExit(3)

    async def on_generator(self, message: str) -> str:
        raise GeneratorExit

    async def on_deaf(self, message: str) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await self.gate.wait()
        return "too late, but here"

    async def on_slow(self, message: str) -> str:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            raise TimeoutError from None
        return "never"

    async def on_limit(self, message: str) -> str:
        try:
            async with asyncio.timeout(0):
                await self.gate.wait()
        except TimeoutError:
            return "its own limit"
        return "never"

    async def on_group(self, message: str) -> str:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.on_echo(str(number))) for number in range(3)]
        return " ".join(task.result() for task in tasks)


def told(client: JoinedClient, messages: list[str], *, together: bool, patiently: bool = False) -> list[object]:
    """Say everything, in one piece or one by one; return the payload, "END" or the code of each answer."""
    pieces = [messages] if together else [[message] for message in messages]
    answers: list[object] = []
    for piece in pieces:
        client.send(b"".join(client.conversation.message(message)[1] for message in piece))
        if patiently:
            client.idle(60)
        for _ in piece:
            event = client.next()
            while isinstance(event, Frame) and event.kind == Kind.HEARTBEAT:
                event = client.next()
            if isinstance(event, Frame):
                answers.append(event.payload if event.kind == Kind.MESSAGE else "END")
            else:
                assert isinstance(event, Control)
                assert isinstance(event.body, Error)
                answers.append(event.body.code)
    return answers


SAID = {
    "echo one": "echo one",
    "nothing": "END",
    "number": "7",
    "thing": "service-failed",
    "large": "service-failed",
    "half": "service-failed",
    "cancel": "service-failed",
    "raise": "service-failed",
    "exit": "service-failed",
    "generator": "service-failed",
    "limit": "its own limit",
    "group": "0 1 2",
    "echo пять": "echo пять",
}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("way", ["answer", "with_session"])
def test_however_a_handler_ends_the_asker_is_told_and_the_next_one_begins(
    tmp_path: Path, way: str, together: bool
) -> None:
    (token,) = seed(tmp_path / "data")
    handler = getattr(Awaiting(), way)
    with joined(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        assert told(client, list(SAID), together=together) == list(SAID.values())
        assert len(server.host.handlers.time_limits) == 0
        server.until(lambda: not server.host.under_way)


def test_what_comes_while_a_handler_waits_is_its_turn_when_that_has_ended(tmp_path: Path) -> None:
    gate, seen = asyncio.Event(), list[str]()

    async def handler(message: str) -> str | None:
        seen.append(message)
        if message == "wait":
            await gate.wait()
        return None if message == "nothing" else message

    async def let_go() -> None:
        gate.set()

    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        for message in ("wait", "next"):
            client.send(client.conversation.message(message)[1])
        server.until(lambda: any(each._fast_path and each._fast_path.held for each in server.connections))
        assert "next" not in seen
        server.call(let_go())
        for expected in ("wait", "next"):
            event = client.next()
            assert isinstance(event, Frame)
            assert event.payload == expected
        assert told(client, ["wait", "nothing", "next"], together=False) == ["wait", "END", "next"]


def test_of_half_a_message_that_came_while_a_handler_waited_the_rest_is_no_message(tmp_path: Path) -> None:
    async def handler(message: bytes) -> bytes:
        await asyncio.sleep(0)
        return message

    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        (_, first), (_, within) = (client.conversation.message(each) for each in (b"first", b"within"))
        _, second = client.conversation.message(within)
        half = len(second) - len(within)
        for piece, answer in ((first + second[:half], b"first"), (second[half:], within), (first, b"first")):
            client.send(piece)
            event = client.next()
            assert isinstance(event, Frame)
            assert event.payload == answer


@pytest.mark.parametrize("message", ["cancel", "raise"])
def test_a_handler_that_cancels_itself_is_told_of_in_the_log(tmp_path: Path, message: str) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", Awaiting().answer, plain=True) as server, server.session(token) as client:
        assert told(client, [message], together=True) == ["service-failed"]
    assert "the service was cancelled by itself" in server.log()


def test_what_a_handler_makes_of_being_too_slow(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    awaiting = Awaiting()
    with (
        joined(tmp_path / "data", awaiting.answer) as server,
        server.session(token) as client,
    ):
        assert told(client, ["deaf"], together=True, patiently=True) == ["too late, but here"]
        assert server.now == pytest.approx(server.settings.service_seconds, abs=1)
        assert told(client, ["slow", "echo on"], together=True, patiently=True) == ["service-too-slow", "echo on"]
        assert server.now == pytest.approx(2 * server.settings.service_seconds, abs=2)


def test_a_server_that_stops_waits_for_a_handler_whose_client_is_gone(tmp_path: Path) -> None:
    begun = asyncio.Event()
    ends: list[str] = []

    async def handler(message: str) -> str:
        begun.set()
        try:
            while not server.host.stopping:
                await asyncio.sleep(0)
            for _ in range(100):  # a server that does not wait goes on within a few steps
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        ends.append("done")
        return message

    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", handler, plain=True) as server:
        with server.session(token) as client:
            client.send(client.conversation.message("hello")[1])
            server.until(begun.is_set)
            client.cut()
        server.until(lambda: not server.connections)
    assert ends == ["done"]


class Held:
    """What a handler has in its hands."""


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("message", ["at once", "raise", "another", "limit", "thing"])
def test_of_a_handler_that_fails_nothing_is_left_to_the_garbage_collector(
    tmp_path: Path, message: str, whole: bool
) -> None:
    left: list[weakref.ref[Any]] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError(message)

    async def handler(message: str) -> str:
        held = Held()
        left.extend(map(weakref.ref, (asyncio.current_task(), held)))
        if message == "at once":
            raise ValueError(message)
        await asyncio.sleep(0)
        if message == "raise":
            raise ValueError(message)
        if message == "another":
            await asyncio.ensure_future(fails())
        if message == "limit":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await asyncio.sleep(10)
        return object()  # type: ignore[return-value] # that is its fault

    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        gc.disable()
        try:
            _, data = client.conversation.message(message)
            for piece in [data] if whole else [data[:-1], data[-1:]]:
                client.send(piece)
                server.until(lambda: not client.untaken)
            assert client.error().code == "service-failed"
            server.until(lambda: not len(server.host.handlers.time_limits))
            assert not any(each() for each in left)
        finally:
            gc.enable()
