"""The blocking client's conversation, whose link is cut in both directions, by servers that stay, stop or die."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest

from antiphon.address import Address
from antiphon.blocking import Session
from antiphon.client.blocking.dial import dial
from antiphon.client.blocking.reconnect import BlockingReconnector
from antiphon.client.blocking.sign_in import BlockingSignIn
from antiphon.client.protocol.sign_in import at_once
from antiphon.client.trust import KnownServers
from antiphon.errors import (
    AntiphonError,
    ConnectionLost,
    OutcomeUnknown,
    PeerSilent,
    ServerKeyChanged,
    SessionEnded,
    SessionReplaced,
    TimedOut,
)
from antiphon.server.server import Server
from antiphon.testing import FaultProxy, LinkFault
from antiphon.wire.kinds import KIB
from support.serving import seed
from support.sessions import server_here, session_of, settings_here

SIDE_BY_SIDE = 5
STEP = 11
"""Bytes between two cuts: what is sent again is decided by the code that asyncio's client shows at every byte."""
NOWHERE = KnownServers(Path("/nonexistent/known_servers"))

Result = TypeVar("Result")


class Counting:
    """Answers, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    def received(self, message: str) -> Any:
        self.asked[message] += 1
        word = message.partition(" ")[0]
        return getattr(self, f"on_{word}", self.on_other)(message)

    def on_other(self, message: str) -> str:
        return f"got {message}"

    def on_quiet(self, message: str) -> None:
        pass

    async def on_count(self, message: str) -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}"

    async def on_forever(self, message: str) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(16 * KIB)
        finally:
            self.cancelled.set()

    async def on_wait(self, message: str) -> str:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return "never"

    async def on_once(self, message: str) -> str:
        return "twice" if self.asked[message] == 2 else await self.on_wait(message)


def resumed(address: Address, token: bytes, timeout: float = 20, give_up: float = 60) -> Session:
    """Return the blocking session of `token`, on a link of its own."""
    reached = dial(address, NOWHERE, timeout)
    welcome = at_once(BlockingSignIn(reached.connection).resume(token))
    link = BlockingReconnector(address, NOWHERE, reached, give_up=give_up, timeout=timeout)
    return Session(reached.connection, welcome, link, timeout)


class Bench:
    """A server and a proxy in the event loop, and a session that a thread uses."""

    def __init__(self, server: Server, proxy: FaultProxy, token: bytes) -> None:
        self.server = server
        self.proxy = proxy
        self.token = token
        self._loop = asyncio.get_running_loop()

    def wait(self, work: Awaitable[Result]) -> Result:
        """Return what `work` returns in the event loop; called in the thread."""

        async def waiting() -> Result:
            return await work

        return asyncio.run_coroutine_threadsafe(waiting(), self._loop).result(60)

    def cut(self, *faults: LinkFault | None) -> None:
        """Cut the link; the next ones have these faults."""
        first = self.proxy.connections
        self.proxy.faults = dict(enumerate(faults, first)).get
        self.wait(self.proxy.cut())

    def forget(self) -> None:
        """Have the server forget its counts, as a new process has."""

        async def forgetting() -> None:
            self.server._host.channels._channels.clear()

        self.wait(forgetting())

    def session(self, **options: float) -> Session:
        return resumed(self.proxy.address, self.token, **options)


async def on_bench(data: Path, token: bytes, service: Any, work: Callable[[Bench], None], **options: Any) -> None:
    """Do `work` in a thread, with a server in this event loop."""
    async with (
        server_here(data, service, drain_seconds=0.5, **options) as server,
        FaultProxy(server.addresses[0]) as proxy,
    ):
        await asyncio.to_thread(work, Bench(server, proxy, token))


def over(session: Session, reason: type[AntiphonError]) -> None:
    """Show that a session is over, and why; the first message may have been given to a link that was lost."""
    with pytest.raises((reason, OutcomeUnknown)):
        session.ask("hello")
    with pytest.raises(reason):
        session.ask("hello")
    assert session.over


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def tokens(data: Path) -> list[bytes]:
    return seed(data, sessions=SIDE_BY_SIDE)


@pytest.fixture
def service() -> Counting:
    return Counting()


def conversation(session: Session, run: int) -> list[Any]:
    """Say eight messages; return what came back, the same each time but for `run`."""
    answers: list[Any] = [session.ask(f"one {run}"), session.ask(f"quiet {run}")]
    answers += session.ask_stream(f"count {run}")
    answers += session.ask_many(f"{number} {run}" for number in range(3))
    session.send(f"said {run}")
    return [*answers, session.ask(f"last {run}")]


def transcript(run: int) -> list[Any]:
    return [
        f"got one {run}",
        None,
        "0",
        "1",
        "2",
        *(f"got {number} {run}" for number in range(3)),
        f"got last {run}",
    ]


MESSAGES = 8


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_link_that_is_cut_anywhere_loses_nothing_and_does_nothing_twice(
    data: Path, tokens: list[bytes], service: Counting, direction: Literal["up", "down"]
) -> None:
    runs: list[int] = []

    def work(bench: Bench, number: int) -> None:
        with bench.session() as session:
            assert conversation(session, -number) == transcript(-number)
            for cut_at in range(number * STEP + 1, bench.proxy.passed[direction] + 20, SIDE_BY_SIDE * STEP):
                bench.cut(LinkFault(direction, cut_at=cut_at))
                assert conversation(session, cut_at) == transcript(cut_at), f"cut at {cut_at}"
                runs.append(cut_at)

    async def one(server: Server, number: int, token: bytes) -> None:
        async with FaultProxy(server.addresses[0]) as proxy:
            await asyncio.to_thread(work, Bench(server, proxy, token), number)

    async with server_here(data, service) as server:
        await asyncio.gather(*(one(server, number, token) for number, token in enumerate(tokens)))
    assert len(runs) > 25
    assert set(service.asked.values()) == {1}, "nothing was done twice"
    assert len(service.asked) == MESSAGES * (len(runs) + SIDE_BY_SIDE), "and everything once"


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_what_a_server_that_forgets_had_got_is_unknown_and_nothing_is_doubled(
    data: Path, tokens: list[bytes], service: Counting, direction: Literal["up", "down"]
) -> None:
    outcomes: Counter[str] = Counter()

    def work(bench: Bench) -> None:
        with bench.session() as session:
            for cut_at in range(1, 700, 47):
                bench.cut(LinkFault(direction, cut_at=cut_at))
                bench.forget()
                for message in [f"{cut_at}-{each}" for each in range(4)]:
                    try:
                        assert session.ask(message) == f"got {message}"
                        outcomes["answered"] += 1
                        assert service.asked[message] == 1
                    except OutcomeUnknown:
                        outcomes["unknown"] += 1
                        assert service.asked[message] <= 1, f"{message} was done twice"
                    bench.forget()

    await on_bench(data, tokens[0], service, work)
    assert outcomes["unknown"] > 0
    assert outcomes["answered"] > 0
    assert set(service.asked.values()) == {1}


async def test_a_server_that_is_restarted_in_order_leaves_nothing_unknown(
    data: Path, tokens: list[bytes], service: Counting
) -> None:
    server = await Server(service, settings_here(data, drain_seconds=0.5)).__aenter__()
    async with FaultProxy(server.addresses[0]) as proxy:
        bench = Bench(server, proxy, tokens[0])

        def messages(run: int) -> Any:
            for number in range(20):
                if number == 10:
                    bench.wait(restart())
                yield f"{number} {run}"

        async def restart() -> None:
            await bench.server.stop()
            bench.server = await Server(service, server.settings).__aenter__()
            proxy.target = bench.server.addresses[0]

        def work() -> None:
            with bench.session() as session:
                for run in range(2):
                    assert list(session.ask_many(messages(run))) == [f"got {number} {run}" for number in range(20)]

        await asyncio.to_thread(work)
        await bench.server.stop()
    assert set(service.asked.values()) == {1}
    assert len(service.asked) == 40


async def test_a_program_is_told_of_a_lost_link_and_of_its_return_and_leaves_in_order(
    data: Path, tokens: list[bytes], service: Counting
) -> None:
    def work(bench: Bench) -> None:
        told: list[Any] = []
        with bench.session() as session:
            session.on_lost = session.on_back = told.append
            bench.cut()
            session.send("said")
            session.heartbeat()
            bench.cut()
        lost, back, *_ = told
        assert isinstance(lost, ConnectionLost)
        assert 0 <= back < 60
        assert service.asked["said"] == 1, "the end of the block waits for it, on a new link too"

    await on_bench(data, tokens[0], service, work)


async def test_what_is_asked_when_a_link_is_lost_brings_it_back_once(
    data: Path, tokens: list[bytes], service: Counting
) -> None:
    def work(bench: Bench) -> None:
        told: list[Any] = []
        with bench.session() as session:
            session.on_lost = lambda _: told.append(session.ask("inside"))
            session.on_back = told.append
            bench.cut()
            assert session.ask("outside") == "got outside"
        back, inside = told
        assert 0 <= back < 60
        assert inside == "got inside"

    await on_bench(data, tokens[0], service, work)


async def test_what_is_left_early_is_taken_back(data: Path, tokens: list[bytes], service: Counting) -> None:
    def leave_a_stream(session: Session) -> None:
        for answer in session.ask_stream("forever"):
            assert answer == bytes(16 * KIB)
            break

    def ask_in_vain(session: Session) -> None:
        with pytest.raises(TimedOut, match=r"within 0\.1 seconds"):
            session.ask("wait", timeout=0.1)

    def leave_many(session: Session) -> None:
        for answer in session.ask_many(["first", "wait"]):
            assert answer == "got first"
            break

    def work(bench: Bench) -> None:
        with bench.session() as session:
            for leave in (leave_a_stream, ask_in_vain, leave_many):
                service.cancelled.clear()
                leave(session)
                assert session.ask("next") == "got next"
                assert service.cancelled.wait(60)
            service.cancelled.clear()
            stream = session.ask_stream("forever")
            assert next(stream) == bytes(16 * KIB)
        assert service.cancelled.wait(60), "the end of the block takes back what is under way"
        assert not list(stream)

    await on_bench(data, tokens[0], service, work)


async def test_what_is_left_while_the_link_is_lost_is_taken_back_on_the_next(
    data: Path, tokens: list[bytes], service: Counting
) -> None:
    def work(bench: Bench) -> None:
        with bench.session() as session:
            with pytest.raises(TimedOut):
                session.ask("wait", timeout=until_cut(bench))
            assert session.ask("next") == "got next"
            assert service.cancelled.is_set()

    def until_cut(bench: Bench) -> float:
        def cut() -> None:
            assert service.begun.wait(60)
            bench.cut(*[LinkFault("down", cut_at=1)] * 3)

        threading.Thread(target=cut).start()
        return 0.4

    await on_bench(data, tokens[0], service, work)


async def test_with_retry_what_is_unknown_is_asked_again(
    data: Path, tokens: list[bytes], service: Counting
) -> None:
    def work(bench: Bench) -> None:
        def kill() -> None:
            assert service.begun.wait(60)
            bench.forget()
            bench.cut()

        threading.Thread(target=kill).start()
        with bench.session() as session:
            assert session.ask("once", retry=True) == "twice"

    await on_bench(data, tokens[0], service, work)
    assert service.asked["once"] == 2


async def test_a_link_is_tried_for_as_long_as_was_said_and_then_the_reason_is_told(
    data: Path, tokens: list[bytes], service: Counting
) -> None:
    def work(bench: Bench) -> None:
        with bench.session(give_up=0.3) as session:
            bench.cut(*[LinkFault("down", cut_at=1)] * 9)
            over(session, ConnectionLost)

    await on_bench(data, tokens[0], service, work)
    assert not service.asked


async def test_a_call_ends_in_its_time_while_the_link_is_away_and_the_next_one_goes_on(
    data: Path, tokens: list[bytes], service: Counting
) -> None:
    def work(bench: Bench) -> None:
        with bench.session() as session:
            bench.cut(*[LinkFault("down", cut_at=1)] * 3)
            with pytest.raises(TimedOut, match=r"within 0\.1 seconds"):
                session.ask("one", timeout=0.1)
            assert session.ask("two") == "got two"

    await on_bench(data, tokens[0], service, work)
    assert service.asked["two"] == 1


async def test_a_session_that_was_silent_too_long_comes_back(
    data: Path, tokens: list[bytes], service: Counting
) -> None:
    def work(bench: Bench) -> None:
        told: list[AntiphonError] = []
        with bench.session() as session:
            session.on_lost = told.append
            bench.wait(asyncio.sleep(0.9))  # nothing tells a program that does nothing; this is what is tested
            assert session.ask("hello") == "got hello"
        assert isinstance(told[0], PeerSilent)

    await on_bench(data, tokens[0], service, work, silence_seconds=0.4, heartbeat_seconds=0.2)


async def test_a_session_is_taken_up_only_where_the_key_is_the_one_of_the_sign_in(
    data: Path, tokens: list[bytes], tmp_path: Path, service: Counting
) -> None:
    async with server_here(tmp_path / "other", service, plain=False) as impostor:

        def work(bench: Bench) -> None:
            address = bench.proxy.address
            known = KnownServers(tmp_path / "known")
            known.remember(address.host, str(address.fingerprint))
            known.remember(address.host, str(impostor.addresses[0].fingerprint))
            bare = replace(address, fingerprint=None)
            reached = dial(bare, known, 20)
            welcome = at_once(BlockingSignIn(reached.connection).resume(bench.token))
            with Session(
                reached.connection, welcome, BlockingReconnector(bare, known, reached, give_up=60), 20
            ) as session:
                bench.proxy.target = impostor.addresses[0]
                bench.cut()
                over(session, ServerKeyChanged)

        await on_bench(data, tokens[0], service, work, plain=False)
    assert not service.asked


async def test_a_session_that_ended_or_went_on_elsewhere_is_not_taken_up(
    data: Path, tokens: list[bytes], service: Counting
) -> None:
    def work(bench: Bench) -> None:
        with bench.session() as session:
            bench.wait(elsewhere(bench))
            connections = bench.proxy.connections
            with pytest.raises(SessionReplaced):
                session.receive()
            bench.token = tokens[1]
            with bench.session() as second, bench.session() as third:
                third.close()
                with pytest.raises((SessionReplaced, SessionEnded)):
                    second.receive()
            assert bench.proxy.connections == connections + 2

    async def elsewhere(bench: Bench) -> None:
        async with session_of(bench.server.addresses[0], tokens[0]) as other:
            assert await other.ask("hello") == "got hello"

    await on_bench(data, tokens[0], service, work)
