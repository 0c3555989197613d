"""`testing.Service`: a client's interface without sockets, and a handler's exceptions in the test's report."""

import asyncio
import socket
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon import Server, Session
from antiphon.errors import (
    MessageTooLarge,
    NameInvalid,
    ServiceFailed,
    ServiceInvalid,
    ServiceNotStarted,
    ServiceTooSlow,
    SessionClosed,
    SettingInvalid,
)
from antiphon.services import Chat, echo
from antiphon.testing import Service, session, sessions


class Desk:
    """A service with every kind of answer; it raises on an unknown word."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def opened(self, session: Session) -> None:
        self.seen.append(f"opened {session.name} {session.account}")

    def closed(self, session: Session) -> None:
        self.seen.append(f"closed {session.name}")

    def received(self, message: str, session: Session) -> Any:
        if message == "push":
            session.send("pushed")
        return {"echo": message, "push": None, "count": self.count(), "later": later()}[message]

    async def count(self) -> AsyncIterator[str]:
        try:
            for number in range(1000):
                yield f"{number}"
        finally:
            self.seen.append("counted")


def later() -> "asyncio.Future[str]":
    future = asyncio.get_running_loop().create_future()
    future.get_loop().call_soon(future.set_result, "now")
    return future


async def test_a_thousand_asks_take_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object, **__: object) -> None:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", no_socket)
    monkeypatch.setattr(socket, "socketpair", no_socket)
    async with session(echo) as ann:
        for number in range(1000):
            assert await ann.ask(f"{number}") == f"{number}"


async def test_a_session_has_the_interface_of_every_client() -> None:
    desk = Desk()
    async with session(desk, "Вадим") as client:
        assert (client.info.name, client.info.first) == ("Вадим", True)
        assert client.info.greeting == "Welcome, Вадим! This is your first visit."
        assert await client.ask("echo") == "echo"
        assert await client.ask("later") == "now"
        assert await client.ask("push") is None
        assert await anext(aiter(client)) == "pushed"
        assert [answer async for answer in client.ask_many(["echo", "later"])] == ["echo", "now"]
        assert len([answer async for answer in client.ask_stream("count")]) == 1000
        await client.send("echo")
    assert desk.seen == ["opened Вадим 1", "counted", "closed Вадим"]


async def test_a_stream_that_is_left_is_cancelled() -> None:
    desk = Desk()
    async with session(desk) as client:
        async for answer in client.ask_stream("count"):
            assert answer == "0"
            break
        assert await client.ask("echo") == "echo"
        assert "counted" in desk.seen


async def test_large_messages_and_back_pressure_go_as_over_a_socket() -> None:
    async def flood(message: str) -> AsyncIterator[bytes]:
        for number in range(64):
            yield bytes([number]) * 64 * 1024

    async with Service(lambda message: flood(message) if message == "flood" else message) as service:
        ann, bob = await service.enter("ann"), await service.enter("bob")
        flooding = ann.ask_stream("flood")
        assert await anext(flooding) == bytes(64 * 1024)
        assert await bob.ask(b"x" * 1_000_000) == b"x" * 1_000_000
        assert [answer async for answer in flooding] == [bytes([n]) * 64 * 1024 for n in range(1, 64)]


async def test_several_people_talk_with_one_service() -> None:
    async with Service(Chat()) as service:
        ann, bob = await service.enter("ann"), await service.enter("bob")
        assert await ann.ask("hello") is None
        heard = aiter(bob)
        assert [await anext(heard) for _ in range(2)][1] == "[lobby] ann: hello"


async def test_a_name_is_an_account_and_comes_back() -> None:
    desk = Desk()
    async with Service(desk) as service:
        ann = await service.enter("ann")
        await service.enter("bob")
        await ann.leave()
        again = await service.enter("ANN")
        assert (again.info.name, again.info.first) == ("ann", False)
        assert "closed ann" in desk.seen
        with pytest.raises(NameInvalid):
            await service.enter("a b")
    assert [line for line in desk.seen if "opened" in line] == ["opened ann 1", "opened bob 2", "opened ann 1"]


async def test_the_service_may_close_the_session() -> None:
    async with session(lambda message, session: session.close("that is all")) as client:
        await client.send("go")
        assert isinstance(await client.ended(), SessionClosed)


# --- exceptions of a handler --------------------------------------------------------------------------------


async def test_the_handlers_own_exception_stands_behind_service_failed_with_its_traceback() -> None:
    async with session(Desk()) as client:
        with pytest.raises(ServiceFailed) as caught:
            await client.ask("no such word")
        assert isinstance(caught.value.__cause__, KeyError)
        shown = "".join(traceback.format_exception(caught.value))
        assert "in received" in shown
        assert '"later": later()}[message]' in shown
        assert await client.ask("echo") == "echo"


async def test_each_failure_stands_behind_its_own_message() -> None:
    def fail(message: str) -> bytes:
        if message == "large":
            return bytes(2000)
        raise ValueError(message)

    async with Service(fail, message_limit=1024) as service:
        ann, bob = await service.enter("ann"), await service.enter("bob")
        asks = [ann.ask("large"), bob.ask("two"), ann.ask("three"), bob.ask("four")]
        told = await asyncio.gather(*asks, return_exceptions=True)
        assert [str(each.__cause__) for each in told if isinstance(each, ServiceFailed)] == [
            "an answer of 2012 bytes is more than message_limit lets through",
            "two",
            "three",
            "four",
        ]


async def test_a_failure_that_a_client_has_not_read_yet_explains_no_other_error() -> None:
    failing = asyncio.Event()

    def fail(message: str, session: Session) -> None:
        if message == "flood":
            for _ in range(7):  # more than a client accepts while nothing is read
                session.send(bytes(64 * 1024))
        else:
            failing.set()
            raise ValueError(message)

    async def both() -> None:
        async with Service(fail) as service:
            ann, bob = await service.enter("ann"), await service.enter("bob")
            await bob.send("flood")
            await bob.send("bob's")
            await failing.wait()
            with pytest.raises(ServiceFailed) as caught:
                await ann.ask("ann's")
            assert str(caught.value.__cause__) == "ann's"

    with pytest.raises(ValueError, match="bob's"):
        await both()


async def test_a_failure_that_nobody_was_told_of_comes_out_at_the_end() -> None:
    with pytest.raises(KeyError, match="unheard"):
        async with session(Desk()) as client:
            await client.send("unheard")


async def test_several_failures_come_out_together() -> None:
    async def both() -> None:
        async with session(Desk()) as client:
            await client.send("one")
            await client.send("two")

    with pytest.raises(BaseExceptionGroup) as caught:
        await both()
    assert [str(each) for each in caught.value.exceptions] == ["'one'", "'two'"]


async def test_an_error_of_the_test_itself_stays_and_is_told_of_the_failure() -> None:
    async def fail() -> None:
        async with session(Desk()) as client:
            await client.send("unheard")
            await client.ask("echo")
            raise AssertionError("of the test")

    with pytest.raises(AssertionError, match="of the test") as caught:
        await fail()
    (note,) = caught.value.__notes__
    assert note.startswith("The service failed too:\nTraceback")
    assert "KeyError: 'unheard'" in note


class Broken:
    """A service whose hooks fail."""

    def __init__(self, where: str) -> None:
        self.where = where

    async def opened(self, session: Session) -> None:
        await asyncio.sleep(0)
        assert self.where != "opened"

    async def closed(self, session: Session) -> None:
        await asyncio.sleep(0)
        assert self.where != "closed"

    def received(self, message: str) -> str:
        return message


async def test_a_failure_of_opened_is_why_the_session_is_over() -> None:
    async with session(Broken("opened")) as client:
        reason = await client.ended()
        assert isinstance(reason, ServiceFailed)
        assert isinstance(reason.__cause__, AssertionError)
        with pytest.raises(ServiceFailed):
            await client.ask("hello")


async def test_a_failure_of_opened_that_no_call_has_raised_comes_out_at_the_end() -> None:
    with pytest.raises(AssertionError):
        async with session(Broken("opened")) as client:
            await client.ended()


async def test_a_failure_of_closed_comes_out_at_the_end() -> None:
    with pytest.raises(AssertionError):
        async with session(Broken("closed")) as client:
            assert await client.ask("hello") == "hello"


async def test_the_settings_of_a_service_hold() -> None:
    async def slow(message: str) -> None:
        await asyncio.Event().wait()

    async with session(slow, service_seconds=0.01, message_limit=1024) as client:
        with pytest.raises(ServiceTooSlow):
            await client.ask("hello")
        with pytest.raises(MessageTooLarge):
            await client.ask("x" * 1025)
    with pytest.raises(SettingInvalid):
        Service(slow, service_seconds=0)
    with pytest.raises(ServiceInvalid):
        Service(Desk)


async def test_a_failing_test_leaves_no_handler_running() -> None:
    cancelled = asyncio.Event()

    async def endless(message: str) -> AsyncIterator[str]:
        try:
            yield "one"
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def fail() -> None:
        async with session(endless) as client:
            async for answer in client.ask_stream("go"):
                assert answer == "not one"

    before = asyncio.all_tasks()
    with pytest.raises(AssertionError):
        await fail()
    assert cancelled.is_set()
    assert asyncio.all_tasks() == before


def test_help_for_tests_imports_no_sql_and_no_pytest(tmp_path: Path) -> None:
    code = "import sys, antiphon.testing; print(*{'sqlalchemy', 'pytest'} & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "\n"


# --- the lifecycle of the service -------------------------------------------------------------------------------


class Clock(Desk):
    """A service that starts and stops, with a task of its own."""

    def started(self, server: Server[str]) -> None:
        server.state = "open"
        self.seen.append("started")
        self.ticking = server.start_task(asyncio.Event().wait(), name="tick")

    def received(self, message: str, session: Session) -> Any:
        return session.server.state

    async def stopping(self, server: Server[str]) -> None:
        assert self.ticking.cancelled()
        self.seen.append(f"stopping, {server.state}")


async def test_a_service_in_memory_starts_and_stops() -> None:
    clock = Clock()
    async with Service(clock) as service:
        ann = await service.enter("ann")
        assert await ann.ask("state") == "open"
        service.state = "late"
        assert await ann.ask("state") == "late"
    assert clock.seen == ["started", "opened ann 1", "closed ann", "stopping, late"]


async def test_a_lifespan_is_entered_in_memory() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(server: Server[str]) -> AsyncIterator[None]:
        server.state = "entered"
        yield
        seen.append("left")

    async with session(lambda message, session: session.server.state, lifespan=lifespan) as ann:
        assert await ann.ask("state") == "entered"
    async with sessions(lambda message, session: session.server.state, "ann", lifespan=lifespan) as (ann,):
        assert await ann.ask("state") == "entered"
    assert seen == ["left", "left"]


async def test_a_service_that_cannot_start_in_memory_raises_why() -> None:
    class Broken(Desk):
        def started(self, server: Server) -> None:
            raise OSError("the instrument is off")

    with pytest.raises(ServiceNotStarted) as refused:
        async with Service(Broken()):
            pass
    assert repr(refused.value.__cause__) == "OSError('the instrument is off')"


async def test_what_no_call_raises_is_raised_at_the_end_of_the_block() -> None:
    class Broken(Desk):
        def started(self, server: Server) -> None:
            server.start_task(self.fail("task"))

        async def fail(self, what: str) -> None:
            raise OSError(what)

        async def stopping(self, server: Server) -> None:
            await self.fail("stopping")

    with pytest.raises(BaseExceptionGroup) as raised:
        async with session(Broken()) as ann:
            await ann.ask("echo")
    assert [str(error) for error in raised.value.exceptions] == ["task", "stopping"]
