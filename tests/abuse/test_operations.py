"""Signals, exhausted descriptors and a log that cannot be written (promises 24 and 25), on real processes."""

import asyncio
import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from antiphon.address import Address
from antiphon.client.aio.connect import session_on
from antiphon.client.aio.dial import dial as connect
from antiphon.client.aio.session import ClientSession
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers
from antiphon.errors import AntiphonError, ServerStopping
from antiphon.server.signals import REPEAT_SECONDS
from antiphon.wire.bodies import ServerBye
from antiphon.wire.frames import Payload, encode_message
from antiphon.wire.kinds import KIB
from support.processes import PASSWORD, ServerProcess
from support.raw import RawClient, dial
from support.serving import ATTACKER, Honest, in_session, seed
from support.wire_client import Closed

CLIENTS = 100
EXIT_WITHIN = 60.0
"""Longest time in seconds from a signal to the exit on a busy machine; promise 24 is half of it."""
TRIES = 4
"""How often two signals are sent: a busy machine may notice the second too late to take it for the first."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


# --- signals ------------------------------------------------------------------------------------------------


class ChatClient:
    """A client that sends without pause until the server drains, and does not come back."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self.asked: list[tuple[str, asyncio.Task[Payload | None]]] = []

    async def talk(self) -> None:
        while not self._session.over:
            question = f"question {len(self.asked)} " + "x" * KIB
            answer = asyncio.create_task(self._session.ask(question))
            self.asked.append((question, answer))
            if len(self.asked) % 4 == 0:  # so that some messages are always on their way
                await asyncio.wait({answer})
        await asyncio.wait([answer for _, answer in self.asked])

    async def outcome(self) -> AntiphonError | None:
        return await self._session.ended()

    def lost(self) -> list[str]:
        """Return the messages that were sent and not answered correctly; ServerStopping means never sent."""
        return [
            question
            for question, answer in self.asked
            if not isinstance(answer.exception(), ServerStopping) and answer.result() != question
        ]


async def come_in(address: Address, token: bytes, folder: Path, stack: AsyncExitStack) -> ChatClient:
    known = KnownServers(folder / "known_servers")
    dialled = await connect(address, known, 30)
    welcome = await SignIn(dialled.connection, timeout=30).resume(token)
    return ChatClient(await stack.enter_async_context(session_on(address, known, dialled, welcome, give_up=0)))


@pytest.mark.parametrize("options", [["--plain"], []], ids=["tcp", "tls"])
def test_sigterm_amid_a_hundred_who_talk_loses_no_message_and_exits_0(data: Path, options: list[str]) -> None:
    tokens = seed(data, sessions=CLIENTS)

    async def scene(process: ServerProcess) -> list[ChatClient]:
        async with AsyncExitStack() as stack:
            talkers = [await come_in(process.address, token, data.parent, stack) for token in tokens]
            talking = [asyncio.create_task(talker.talk()) for talker in talkers]
            while min(len(talker.asked) for talker in talkers) < 8:
                await asyncio.sleep(0)
            process.signal(signal.SIGTERM)
            for talker in talkers:
                assert isinstance(await talker.outcome(), ServerStopping)
            await asyncio.gather(*talking)
        return talkers

    with ServerProcess(data, *options) as process:
        talkers = asyncio.run(scene(process))
        assert process.wait(EXIT_WITHIN) == 0
    for talker in talkers:
        assert talker.lost() == []


def test_a_session_outlives_the_stop_of_its_server(data: Path) -> None:
    token = seed(data)[0]
    with ServerProcess(data) as process, in_session(process.address, token) as client:
        process.signal(signal.SIGTERM)
        assert client.body() == ServerBye(reason="drained")
        client.send(client.conversation.bye("drained"))
        client.closed()
        assert process.wait(EXIT_WITHIN) == 0
    with ServerProcess(data) as process, in_session(process.address, token) as client:
        assert client.ask("back") == "back"


def message(token: bytes) -> bytes:
    return encode_message(7, "begun before and ended after", token=token)


@contextlib.contextmanager
def told_to_stop(data: Path) -> Iterator[tuple[ServerProcess, RawClient]]:
    """Give a server that was told to stop, and a client that does not leave."""
    token = seed(data)[0]
    with ServerProcess(data, "--plain", "--drain-seconds", "15") as process:
        with in_session(process.address, token) as client:
            client.send(message(client.token)[:20])
            process.signal(signal.SIGTERM)
            assert client.body() == ServerBye(reason="drained")
            yield process, client
        process.wait(EXIT_WITHIN)


@pytest.fixture
def stopping(data: Path) -> Iterator[tuple[ServerProcess, RawClient]]:
    with told_to_stop(data) as stopping:
        yield stopping


def test_a_server_that_stops_accepts_nobody_and_answers_those_inside(
    stopping: tuple[ServerProcess, RawClient],
) -> None:
    process, client = stopping
    with pytest.raises(ConnectionRefusedError):
        dial(process.address)
    client.send(message(client.token)[20:])
    assert client.answer(7) == "begun before and ended after"
    assert process.process.poll() is None
    client.send(client.conversation.bye("drained"))
    client.closed()
    assert process.wait(EXIT_WITHIN) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_exits_at_once(stopping: tuple[ServerProcess, RawClient], second: signal.Signals) -> None:
    process, client = stopping
    time.sleep(REPEAT_SECONDS + 0.1)  # before that, a second one is the first one sent twice
    process.signal(second)
    assert process.wait() == 128 + second, "it has not drained"
    with pytest.raises(Closed):
        client.next()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_arrives_twice_stops_in_order(data: Path, second: signal.Signals) -> None:
    """A wrapper passes on what the whole process group has got already."""
    codes: list[int] = []
    while not codes or (codes[-1] and len(codes) < TRIES):
        with told_to_stop(data.with_name(f"data{len(codes)}")) as (process, client):
            process.signal(second)
            with contextlib.suppress(Closed, OSError):
                client.send(message(client.token)[20:])
                assert client.answer(7) == "begun before and ended after"
                client.send(client.conversation.bye("drained"))
                client.closed()
            codes.append(process.wait(EXIT_WITHIN))
    assert codes[-1] == 0, codes


def test_one_who_does_not_say_goodbye_delays_the_stop_by_the_drain_time_only(data: Path) -> None:
    token = seed(data)[0]
    with (
        ServerProcess(data, "--plain", "--drain-seconds", "1") as process,
        in_session(process.address, token) as client,
    ):
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert client.body() == ServerBye(reason="drained")
        assert process.wait(EXIT_WITHIN) == 0
        assert 0.5 < time.monotonic() - began < 20


def test_who_has_not_signed_in_is_told_that_the_server_stops(data: Path) -> None:
    with ServerProcess(data, "--plain") as process, RawClient(process.address) as client:
        client.hello()
        process.signal(signal.SIGTERM)
        assert client.ended_with() == "server-stopping"
        assert process.wait(EXIT_WITHIN) == 0


def test_a_silent_handshake_does_not_delay_the_stop_beyond_the_promise(data: Path) -> None:
    with ServerProcess(data, "--handshake-seconds", "2") as process, dial(process.address):
        with RawClient(process.address) as client:
            client.hello()  # by now the server has accepted the silent client too
        process.signal(signal.SIGTERM)
        assert process.wait(EXIT_WITHIN) == 0


def test_sigint_stops_in_order_and_exits_130(data: Path) -> None:
    token = seed(data)[0]
    with ServerProcess(data) as process, in_session(process.address, token) as client:
        process.signal(signal.SIGINT)
        assert client.body() == ServerBye(reason="drained")
        client.send(client.conversation.bye("drained"))
        client.closed()
        assert process.wait(EXIT_WITHIN) == 130
        assert " stopped " in process.log


# --- descriptors --------------------------------------------------------------------------------------------

DESCRIPTORS, COMING = 256, 400
WINDOW = 1.5
"""Length in seconds of a measurement of processor time."""


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_out_of_descriptors_those_inside_are_served_and_accepting_resumes_by_itself(data: Path) -> None:
    tokens = seed(data, sessions=10)
    wide = ["--entry-begin", "1000", "--entry-most", "1000", "--entry-source", "1000"]
    patient = ["--first-frame-seconds", "60", "--entry-seconds", "60"]
    with ServerProcess(data, "--plain", *wide, *patient) as process:
        pid = process.process.pid
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        with (
            Honest(process.address, tokens.pop()) as honest,
            ExitStack() as inside,
            ExitStack() as crowd,
        ):
            sessions = [inside.enter_context(in_session(process.address, token)) for token in tokens]
            coming = [crowd.enter_context(RawClient(process.address, source=ATTACKER)) for _ in range(COMING)]
            wait_until(lambda: sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) == DESCRIPTORS)
            asked, used = honest.asked, processor_seconds(pid)
            threading.Event().wait(WINDOW)
            assert processor_seconds(pid) - used < WINDOW / 2, "the server spins"
            wait_until(lambda: honest.asked > asked)
            for session in sessions:
                assert session.ask("inside") == "inside"
            for client in coming[:10]:
                client.hello()
            assert process.log.count("accept-exhausted") == 1
            crowd.close()
            with RawClient(process.address) as late:
                late.hello()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` holds in the other process; each check is a system call."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline


# --- the log ------------------------------------------------------------------------------------------------


def test_a_full_disk_under_the_log_stops_nothing(data: Path) -> None:
    seed(data)
    with ServerProcess(data, "--plain", "--log", "/dev/full", "--log-level", "debug") as process:
        with RawClient(process.address) as client:
            client.sign_in("ann", PASSWORD)
            for number in range(1000):
                assert client.ask(str(number)) == str(number)
            client.leave()
        assert process.stop() == 0


def test_a_log_that_cannot_be_written_for_a_while_stops_nothing_and_goes_on(data: Path) -> None:
    token = seed(data)[0]
    with (
        ServerProcess(data, "--plain", "--log-level", "debug") as process,
        in_session(process.address, token) as client,
    ):
        log = Path(process.start["log"])
        process.logged("listening")
        log.rename(log.with_suffix(".old"))
        log.mkdir()  # then no file can be opened at its path, not even by root
        for number in range(1000):
            assert client.ask(str(number)) == str(number)
        log.rmdir()
        client.leave()
        assert process.stop() == 0
        assert "listening" in log.with_suffix(".old").read_text("utf-8")
        assert " stopped " in process.log
