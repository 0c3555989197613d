"""A conversation whose link is cut at every byte, in both directions, with servers that stay, stop or die."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from antiphon.address import Address
from antiphon.client.aio.session import ClientSession
from antiphon.errors import (
    AntiphonError,
    ConnectionLost,
    OutcomeUnknown,
    ServerKeyChanged,
    SessionEnded,
    TokenRefused,
    TooManyRefusals,
)
from antiphon.server.server import Server
from antiphon.testing import FaultProxy, LinkFault
from support.inside import sessions
from support.serving import seed
from support.sessions import server_here, session_of, settings_here

SIDE_BY_SIDE = 10
"""Sessions that are tried at once: most of the time goes into waiting for the store."""


class Counting:
    """Answers, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def received(self, message: str) -> Any:
        self.asked[message] += 1
        word = message.partition(" ")[0]
        if word == "count":
            return self.count()
        return None if word == "quiet" else f"got {message}"

    async def count(self) -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}"


async def stream(session: ClientSession, message: str) -> list[Any]:
    return [answer async for answer in session.ask_stream(message)]


async def conversation(session: ClientSession, run: int) -> list[Any]:
    """Say ten messages, some together; return what came back, the same each time but for `run`."""
    together = [session.ask(f"one {run}"), session.ask(f"two {run}"), session.ask(f"quiet {run}")]
    answers = list(await asyncio.gather(*together))
    answers += await stream(session, f"count {run}")
    answers += [answer async for answer in session.ask_many([f"{number} {run}" for number in range(4)])]
    await session.send(f"said {run}")
    return [*answers, await session.ask(f"last {run}")]


def transcript(run: int) -> list[Any]:
    many = [f"got {number} {run}" for number in range(4)]
    return [f"got one {run}", f"got two {run}", None, "0", "1", "2", *many, f"got last {run}"]


MESSAGES = 10


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def tokens(data: Path) -> list[bytes]:
    return seed(data, sessions=SIDE_BY_SIDE)


async def side_by_side(
    work: Callable[[FaultProxy, ClientSession, int], Awaitable[None]], address: Address, tokens: list[bytes]
) -> None:
    """Do `work` in each session, behind a proxy of its own, on every so manieth of the runs."""

    async def one(number: int, token: bytes) -> None:
        async with FaultProxy(address) as proxy, session_of(proxy.address, token) as session:
            await work(proxy, session, number)

    await asyncio.gather(*(one(number, token) for number, token in enumerate(tokens)))


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_link_that_is_cut_at_any_byte_loses_nothing_and_does_nothing_twice(
    data: Path, tokens: list[bytes], direction: Literal["up", "down"]
) -> None:
    service = Counting()
    runs: list[int] = []

    async def work(proxy: FaultProxy, session: ClientSession, number: int) -> None:
        assert await conversation(session, -number) == transcript(-number)
        whole = proxy.passed[direction] + 20
        for cut_at in range(number + 1, whole, SIDE_BY_SIDE):
            # The next link is cut at this byte; those behind it are whole.
            proxy.faults = {proxy.connections: LinkFault(direction, cut_at=cut_at)}.get
            await proxy.cut()
            assert await conversation(session, cut_at) == transcript(cut_at), f"cut at {cut_at}"
            runs.append(cut_at)

    async with server_here(data, service) as server:
        await side_by_side(work, server.addresses[0], tokens)
    assert len(runs) > 400
    assert set(service.asked.values()) == {1}, "nothing was done twice"
    assert len(service.asked) == MESSAGES * (len(runs) + SIDE_BY_SIDE), "and everything once"


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_server_that_is_killed_at_any_byte_leaves_what_was_on_its_way_unknown_and_doubles_nothing(
    data: Path, tokens: list[bytes], direction: Literal["up", "down"]
) -> None:
    service = Counting()
    outcomes: Counter[str] = Counter()

    async def work(proxy: FaultProxy, session: ClientSession, number: int) -> None:
        def killed(connection: int) -> LinkFault | None:
            """Cut the next link, and have the server forget before the one behind it, as a new process has."""
            if connection == first + 1:
                server._host.channels._channels.clear()
            return LinkFault(direction, cut_at=cut_at) if connection == first else None

        for cut_at in range(number + 1, 1000, 7 * SIDE_BY_SIDE):
            first = proxy.connections
            proxy.faults = killed
            await proxy.cut()
            messages = [f"{cut_at}-{each}" for each in range(6)]
            results = await asyncio.gather(*map(session.ask, messages), return_exceptions=True)
            for message, result in zip(messages, results, strict=True):
                if isinstance(result, OutcomeUnknown):
                    outcomes["unknown"] += 1
                    assert service.asked[message] <= 1, f"{message} was done twice"
                else:
                    outcomes["answered"] += 1
                    assert result == f"got {message}"
                    assert service.asked[message] == 1
            with contextlib.suppress(OutcomeUnknown):  # a link that was of use puts the next one off no longer
                assert await session.ask(f"alive {cut_at}") == f"got alive {cut_at}"

    async with server_here(data, service) as server:
        await side_by_side(work, server.addresses[0], tokens)
    assert outcomes["unknown"] > 0
    assert outcomes["answered"] > 0
    assert set(service.asked.values()) == {1}


async def test_a_server_that_is_restarted_in_order_leaves_nothing_unknown(data: Path, tokens: list[bytes]) -> None:
    service = Counting()
    server = await Server(service, settings_here(data)).__aenter__()
    async with FaultProxy(server.addresses[0]) as proxy:
        async with session_of(proxy.address, tokens[0]) as session:
            for run in range(4):
                talking = asyncio.create_task(conversation(session, run))
                while service.asked.total() < MESSAGES * run + 2 * run + 1:
                    await asyncio.sleep(0)
                await server.stop()
                server = await Server(service, server.settings).__aenter__()
                proxy.target = server.addresses[0]
                assert await talking == transcript(run)
        await server.stop()
    assert set(service.asked.values()) == {1}
    assert len(service.asked) == MESSAGES * 4


async def test_what_is_changed_on_the_way_over_tls_is_never_taken_for_an_answer(
    data: Path, tokens: list[bytes]
) -> None:
    service = Counting()
    async with (
        server_here(data, service, plain=False) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0]) as session,
    ):
        assert await conversation(session, 0) == transcript(0)
        whole = proxy.passed["down"]
        for run in range(1, 12):
            proxy.faults = {proxy.connections: LinkFault("down", garble_at=whole * run // 12)}.get
            await proxy.cut()
            try:
                assert await conversation(session, run) == transcript(run)
            except AntiphonError:
                break
        assert set(service.asked.values()) == {1}


@pytest.mark.parametrize("byte", range(12))
async def test_a_header_that_is_changed_on_the_way_ends_in_a_clear_error(
    data: Path, tokens: list[bytes], byte: int
) -> None:
    async with (
        server_here(data, Counting()) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0]) as session,
    ):
        await proxy.cut()
        assert await session.ask("hello") == "got hello"  # behind HELLO and WELCOME 21 bytes have come
        spoilt = LinkFault("down", garble_at=proxy.passed["down"] - 21 + byte)
        proxy.faults = lambda _: spoilt
        await proxy.cut()
        with pytest.raises(AntiphonError):
            await session.ask("hello", timeout=2)
        await session.hang_up()


async def test_a_link_is_tried_for_as_long_as_was_said_and_then_the_reason_is_told(
    data: Path, tokens: list[bytes]
) -> None:
    async with (
        server_here(data, Counting()) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0], give_up=0.3) as session,
    ):
        proxy.faults = lambda _: LinkFault("down", cut_at=1)
        await proxy.cut()
        assert isinstance(await session.ended(), ConnectionLost)
        with pytest.raises(ConnectionLost):
            await session.ask("hello")


async def test_a_session_is_taken_up_only_where_the_key_is_the_one_of_the_sign_in(
    data: Path, tokens: list[bytes], tmp_path: Path
) -> None:
    async with (
        server_here(data, Counting(), plain=False) as server,
        server_here(tmp_path / "other", Counting(), plain=False) as impostor,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(replace(proxy.address, fingerprint=None), tokens[0]) as session,
    ):
        proxy.target = impostor.addresses[0]
        await proxy.cut()
        assert isinstance(await session.ended(), ServerKeyChanged)


async def test_a_program_is_told_of_a_lost_link_and_of_its_return(data: Path, tokens: list[bytes]) -> None:
    async with (
        server_here(data, Counting()) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0]) as session,
    ):
        told: asyncio.Queue[Any] = asyncio.Queue()
        session.on_lost, session.on_back = told.put_nowait, told.put_nowait
        await proxy.cut()
        assert isinstance(await told.get(), ConnectionLost)
        assert 0 <= await told.get() < 60


async def test_a_link_comes_back_whatever_a_program_does_when_it_is_told(data: Path, tokens: list[bytes]) -> None:
    def clumsy(news: object) -> None:
        raise ZeroDivisionError

    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
    async with (
        server_here(data, Counting()) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0]) as session,
    ):
        session.on_lost = session.on_back = clumsy
        await proxy.cut()
        assert await session.ask("hello", timeout=60) == "got hello"
    assert [type(failure["exception"]) for failure in failures] == [ZeroDivisionError] * 2


async def test_a_session_that_has_ended_meanwhile_is_not_tried_again(data: Path, tokens: list[bytes]) -> None:
    async with (
        server_here(data, Counting()) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0]) as session,
    ):
        (held,) = sessions(server)._held.values()
        await sessions(server)._store.end(held.fingerprint, sessions(server)._homes.id, held.claim)
        connections = proxy.connections
        await proxy.cut()
        assert isinstance(await session.ended(), SessionEnded)
        assert proxy.connections == connections + 1


# --- messages with a spoiled token ----------------------------------------------------------------------------


async def spoiled(session: ClientSession, message: str) -> None:
    """Send a message with a wrong token and see it refused."""
    with pytest.raises(TokenRefused):
        await (await session.begin(message, spoiled=True)).next()


def assert_counts_are_equal(server: Server, session: ClientSession) -> None:
    (channel,) = server._host.channels
    continuity = session._replay
    assert channel.replay.received == continuity._sent
    assert channel.replay.sent == continuity.received
    assert not continuity.unanswered


async def test_a_spoiled_message_is_refused_and_all_else_is_exact_also_over_a_new_link(
    data: Path, tokens: list[bytes]
) -> None:
    service = Counting()
    async with (
        server_here(data, service) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0]) as session,
    ):
        for run in range(3):
            await asyncio.gather(session.ask(f"one {run}"), spoiled(session, "spoilt"), session.ask(f"two {run}"))
            assert_counts_are_equal(server, session)
            await proxy.cut()
            assert await conversation(session, run + 10) == transcript(run + 10)
            assert_counts_are_equal(server, session)
        assert proxy.connections == 4
    assert "spoilt" not in service.asked
    assert set(service.asked.values()) == {1}


async def test_a_link_that_is_cut_at_any_byte_around_spoiled_messages_loses_nothing_else(
    data: Path, tokens: list[bytes]
) -> None:
    service = Counting()

    async def one(proxy: FaultProxy, session: ClientSession, number: int) -> None:
        for cut_at in range(number + 60, 360, 3 * SIDE_BY_SIDE):  # behind RESUME, in or near a spoiled message
            direction: Literal["up", "down"] = "up" if cut_at % 2 else "down"
            proxy.faults = {proxy.connections: LinkFault(direction, cut_at=cut_at)}.get
            await proxy.cut()
            asked = [session.ask(f"{cut_at}-{each}") for each in range(3)]
            refused = [spoiled(session, f"spoilt {cut_at}") for _ in range(2)]
            got = await asyncio.gather(asked[0], refused[0], asked[1], refused[1], asked[2])
            assert list(got[::2]) == [f"got {cut_at}-{each}" for each in range(3)]

    async with server_here(data, service) as server:
        await side_by_side(one, server.addresses[0], tokens)
    assert not [message for message in service.asked if message.startswith("spoilt")]
    assert set(service.asked.values()) == {1}


async def test_the_third_spoiled_message_ends_the_link_and_the_session_is_taken_up_again(
    data: Path, tokens: list[bytes]
) -> None:
    service = Counting()
    async with (
        server_here(data, service) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0]) as session,
    ):
        lost: list[AntiphonError] = []
        session.on_lost = lost.append
        for run in range(5):
            await asyncio.gather(
                *(spoiled(session, f"spoilt {each}") for each in range(3)), session.ask(f"a {run}")
            )
            assert_counts_are_equal(server, session)
        assert [type(each) for each in lost] == [TooManyRefusals] * 5
        assert proxy.connections == 6
    assert service.asked == Counter(f"a {run}" for run in range(5))


async def test_where_no_link_is_tried_again_the_third_spoiled_message_ends_the_session(
    data: Path, tokens: list[bytes]
) -> None:
    async with (
        server_here(data, Counting()) as server,
        session_of(server.addresses[0], tokens[0], give_up=0) as session,
    ):
        for _ in range(3):
            await spoiled(session, "spoilt")
        assert isinstance(await session.ended(), TooManyRefusals)


async def test_a_spoiled_message_is_not_handled_whatever_becomes_of_the_server(
    data: Path, tokens: list[bytes]
) -> None:
    async with (
        server_here(data, Counting()) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0]) as session,
    ):

        def killed(connection: int) -> LinkFault | None:
            if connection == 2:
                server._host.channels._channels.clear()  # as a new process has them
            return LinkFault("up", cut_at=90) if connection == 1 else None  # behind RESUME, before its end

        lost = asyncio.Event()
        session.on_lost = lambda _: lost.set()
        proxy.faults = killed
        await proxy.cut()
        await lost.wait()  # what is begun now goes with the next link
        await spoiled(session, "never arrives")
        assert proxy.connections == 3
        assert await session.ask("hello") == "got hello"


async def test_a_message_that_is_given_up_while_the_link_is_lost_is_taken_back_on_the_next(
    data: Path, tokens: list[bytes]
) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(message: str) -> str:
        if message == "next":
            return message
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return "never"

    async with (
        server_here(data, wait) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0]) as session,
    ):
        lost = asyncio.Event()
        session.on_lost = lambda _: lost.set()
        answers = await session.begin("wait")
        await begun.wait()
        proxy.faults = lambda _: LinkFault("down", cut_at=1)
        await proxy.cut()
        await lost.wait()
        answers.close()
        proxy.faults = lambda _: None
        await cancelled.wait()
        assert await session.ask("next") == "next"


async def test_with_retry_what_is_unknown_is_asked_again(data: Path, tokens: list[bytes]) -> None:
    asked: list[str] = []
    begun = asyncio.Event()

    async def answer(message: str) -> str:
        asked.append(message)
        if len(asked) == 1:
            begun.set()
            await asyncio.Event().wait()
        return f"got {message}"

    async with (
        server_here(data, answer, drain_seconds=0.5) as server,
        FaultProxy(server.addresses[0]) as proxy,
        session_of(proxy.address, tokens[0]) as session,
    ):
        asking = asyncio.create_task(session.ask("again", retry=True))
        await begun.wait()
        server._host.channels._channels.clear()  # as a new process has none
        await proxy.cut()
        assert await asking == "got again"
        assert asked == ["again", "again"]
