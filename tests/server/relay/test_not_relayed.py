"""Sessions that cannot be relayed, now or at all: homes that are blocked, differ, stop or die, and relays too."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from antiphon.client.aio.session import ClientSession
from antiphon.errors import OutcomeUnknown
from antiphon.testing.proxy import FaultProxy
from antiphon.wire.bodies import ServerBye
from support.desk import sent, told
from support.moving import (
    SERVICE,
    Two,
    back,
    back_at_last,
    descriptors,
    refused,
    service_in,
    started,
    two_servers,
    until,
)  # fmt: skip
from support.processes import ServerProcess
from support.serving import seed
from support.sessions import session_of


@pytest.fixture
def token(tmp_path: Path) -> bytes:
    (token,) = seed(tmp_path / "data")
    return token


@pytest.fixture
def two(tmp_path: Path, token: bytes) -> Iterator[Two]:
    with two_servers(tmp_path, "--plain") as servers:
        yield servers


# --- a home that does not answer --------------------------------------------------------------------------------


def test_while_a_handler_blocks_the_home_the_client_is_told_to_try_later_and_nothing_is_claimed(
    two: Two, token: bytes, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    client, _ = back(two.home, token)
    (id,) = sent(client, f"block_until {gate}")
    two.wait_for(f"run block_until {gate}")
    client.cut()
    error = refused(two.other, token, 0)
    assert (error.code, error.wait) == ("try-later", 1)
    gate.touch()  # before that, the home answers nobody
    client, welcome = back_at_last(two.other, token, 0)
    with client:
        assert (welcome.received, welcome.missed) == (1, 0)
        assert told(client, 1) == [(id, "unblocked")]
        assert client.ask("pid") == str(two.home.process.pid)
    assert two.ran(f"run block_until {gate}") == 1
    assert " process-dead " not in two.home.log


def test_a_request_that_waits_at_a_blocked_home_does_not_replace_the_connection_that_comes_after_it(
    two: Two, token: bytes, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    client, _ = back(two.home, token)
    sent(client, f"block_until {gate}")
    two.wait_for(f"run block_until {gate}")
    client.cut()
    for _ in range(2):
        assert refused(two.other, token, 0).code == "try-later"  # each leaves its OPEN in the backlog of the home
    gate.touch()
    client, _ = back_at_last(two.home, token, 0)
    with client:
        assert told(client, 1)[0][1] == "unblocked"
        assert client.ask("state") == "2"


# --- a home that is another -----------------------------------------------------------------------------------


@contextlib.contextmanager
def differing(folder: Path, how: str) -> Iterator[Two]:
    """Run two servers of one data folder that do not relay to each other."""
    with contextlib.ExitStack() as closing:
        home = closing.enter_context(started(folder, "--plain"))
        if how == "service":
            (folder / "other.py").write_text(SERVICE.replace("Moving", "Other"), "utf-8")
            service = [f"{folder}/other.py:SERVE"]
        else:
            service = [service_in(folder)]
        if how == "limits":
            service = ["--message-limit", "10000", *service]
        command = closing.enter_context(_patched(folder)) if how == "version" else None
        other = closing.enter_context(
            ServerProcess(folder / "data", "--plain", "--host", "127.0.0.1", *service, **(command or {}))
        )
        yield Two(folder, home, other)


@contextlib.contextmanager
def _patched(folder: Path) -> Iterator[dict[str, str]]:
    """Give the environment of a server of another relay version."""
    patches = folder / "patches"
    patches.mkdir()
    (patches / "sitecustomize.py").write_text(
        "import antiphon.server.relay.link as link\nlink.RELAY_VERSION += 1\n", "utf-8"
    )
    yield {"PYTHONPATH": str(patches)}


@pytest.mark.parametrize("how", ["service", "limits", "version"])
def test_a_session_of_a_home_that_differs_is_handed_over_when_it_is_idle_and_not_before(
    tmp_path: Path, token: bytes, how: str
) -> None:
    gate = tmp_path / "gate"
    with differing(tmp_path, how) as two:
        client, _ = back(two.home, token)
        ids = sent(client, "one", f"wait {gate}")
        two.wait_for(f"run wait {gate}")
        client.cut()
        error = refused(two.other, token, 0)
        assert (error.code, error.wait) == ("try-later", 1)
        gate.touch()
        client, welcome = back_at_last(two.other, token, 0)
        assert (welcome.received, welcome.missed, welcome.sent) == (2, 0, 2)
        assert told(client, 2) == [(ids[0], "one"), (ids[1], "done")]
        assert client.ask("pid") == str(two.other.process.pid)
        assert client.ask("state") == "2"
        client.cut()
        client, welcome = back_at_last(two.home, token, 4)
        with client:
            assert (welcome.received, welcome.missed, welcome.sent) == (4, 0, 4)
            assert client.ask("pid") == str(two.home.process.pid)
        assert (two.ran("opened ann"), two.ran("closed ann")) == (3, 2)
    assert " relayed " not in two.home.log


def test_a_session_whose_client_is_still_connected_is_handed_over_to_a_home_that_differs(
    tmp_path: Path, token: bytes
) -> None:
    with differing(tmp_path, "service") as two, back(two.home, token)[0] as first:
        assert first.ask("state") == "1"
        client, welcome = back_at_last(two.other, token, 1)
        with client:
            assert (welcome.received, welcome.missed) == (1, 0)
            assert first.body() == ServerBye(reason="replaced")
            assert client.ask("state") == "1"


# --- moves, drains and deaths, seen by the client library -------------------------------------------------------


class Moved:
    """A session of the client library behind a proxy that can be cut and pointed elsewhere."""

    def __init__(self, proxy: FaultProxy, session: ClientSession) -> None:
        self.proxy = proxy
        self.session = session
        self.back_after: list[float] = []
        self._is_back = asyncio.Event()
        session.on_back = self._back

    def _back(self, seconds: float) -> None:
        self.back_after.append(seconds)
        self._is_back.set()

    async def move(self, server: ServerProcess) -> None:
        """Cut the connection, and lead the next one to `server`; wait until the session is back."""
        self.proxy.target = server.address
        self._is_back.clear()
        await self.proxy.cut()
        await self.is_back()

    async def is_back(self) -> None:
        async with asyncio.timeout(60):
            await self._is_back.wait()

    def lead(self, server: ServerProcess) -> None:
        """Lead the next connection to `server`."""
        self.proxy.target = server.address
        self._is_back.clear()


@contextlib.asynccontextmanager
async def through(server: ServerProcess, token: bytes) -> AsyncIterator[Moved]:
    """Resume a session through a proxy."""
    async with FaultProxy(server.address) as proxy, session_of(proxy.address, token) as session:
        yield Moved(proxy, session)


async def test_a_session_moves_again_and_again_and_nothing_is_unknown_doubled_or_lost(
    two: Two, token: bytes
) -> None:
    async with through(two.home, token) as moved:
        asked = 0
        for number in range(6):
            messages = [f"{number} {place}" for place in range(20)]
            answers = asyncio.gather(*(moved.session.ask(message) for message in messages))
            await moved.move(two.other if number % 2 == 0 else two.home)
            assert await answers == messages
            asked += len(messages)
        assert await moved.session.ask("state") == str(asked + 1)
        assert await moved.session.ask("pid") == str(two.home.process.pid)
    assert max(two.ran(f"run {number} {place}") for number in range(6) for place in range(20)) == 1
    await asyncio.to_thread(two.wait_for, "closed ann")
    assert (two.ran("opened ann"), two.ran("closed ann")) == (1, 1)


async def test_a_home_that_stops_is_relayed_to_until_the_session_is_idle(tmp_path: Path, token: bytes) -> None:
    gate = tmp_path / "gate"
    home = started(tmp_path, "--plain", "--drain-seconds", "15")
    with started(tmp_path, "--plain") as other:
        two = Two(tmp_path, home, other)
        async with through(home, token) as moved:
            waits = asyncio.create_task(moved.session.ask(f"wait {gate}"))
            await asyncio.to_thread(two.wait_for, f"run wait {gate}")
            await moved.move(other)
            moved.lead(other)
            home.signal(signal.SIGTERM)
            await asyncio.to_thread(other.logged, " stopping ")
            assert not waits.done()
            gate.touch()
            assert await waits == "done"
            assert await asyncio.to_thread(home.wait, 20) == 0
            home.process.close()
            assert await moved.session.ask("pid") == str(other.process.pid)
        assert two.ran(f"run wait {gate}") == 1
        assert "cancelled" not in (tmp_path / "runs").read_text()
        assert " drain-cut " not in other.log


def test_a_busy_session_of_a_home_that_stops_can_still_be_resumed_through_a_relay(
    tmp_path: Path, token: bytes
) -> None:
    gate = tmp_path / "gate"
    home = started(tmp_path, "--plain", "--drain-seconds", "15")
    with started(tmp_path, "--plain") as other:
        two = Two(tmp_path, home, other)
        client, _ = back(home, token)
        (id,) = sent(client, f"wait {gate}")
        two.wait_for(f"run wait {gate}")
        client.cut()
        home.signal(signal.SIGTERM)
        other.logged(" stopping ")
        client, welcome = back(other, token, 0)
        assert (welcome.received, welcome.open) == (1, [id])
        assert client.body() == ServerBye(reason="drained")
        gate.touch()
        assert told(client, 1) == [(id, "done")]
        client.send(client.conversation.bye("drained"))
        client.closed()
        client, welcome = back_at_last(other, token, 1)
        with client:
            assert (welcome.received, welcome.missed, welcome.sent) == (1, 0, 1)
            assert client.ask("pid") == str(other.process.pid)
        assert home.wait(60) == 0
        home.process.close()


@pytest.mark.parametrize("in_time", [True, False], ids=["in time", "too late"])
async def test_a_relaying_process_that_stops_says_goodbye_and_nothing_is_lost(
    tmp_path: Path, token: bytes, in_time: bool
) -> None:
    gate = tmp_path / "gate"
    other = started(tmp_path, "--plain", "--drain-seconds", "15" if in_time else "0.5")
    with started(tmp_path, "--plain") as home:
        two = Two(tmp_path, home, other)
        async with through(home, token) as moved:
            assert await moved.session.ask("state") == "1"
            await moved.move(other)
            moved.lead(home)
            waits = asyncio.create_task(moved.session.ask(f"wait {gate}"))
            await asyncio.to_thread(two.wait_for, f"run wait {gate}")
            other.signal(signal.SIGTERM)
            await asyncio.to_thread(home.logged, " stopping ")
            if in_time:
                gate.touch()
            await moved.is_back()
            assert await asyncio.to_thread(other.wait, 5) == 0
            other.process.close()
            gate.touch()
            assert await waits == "done"
            assert await moved.session.ask("state") == "3"
        assert two.ran(f"run wait {gate}") == 1
        assert home.log.count(" drain-cut ") == (0 if in_time else 1)


async def test_a_home_that_is_killed_while_it_is_relayed_to_leaves_unknown_what_was_in_flight_and_nothing_else(
    tmp_path: Path, token: bytes
) -> None:
    home = started(tmp_path, "--plain")
    with started(tmp_path, "--plain") as other:
        two = Two(tmp_path, home, other)
        before = descriptors(other)
        async with through(home, token) as moved:
            assert await moved.session.ask("state") == "1"
            await moved.move(other)
            assert await moved.session.ask("state") == "2"
            waits = asyncio.create_task(moved.session.ask(f"wait {tmp_path}/never"))
            await asyncio.to_thread(two.wait_for, f"run wait {tmp_path}/never")
            moved.lead(other)
            threading.Thread(target=home.kill).start()
            with pytest.raises(OutcomeUnknown):
                await waits
            await moved.is_back()
            assert await moved.session.ask("state") == "1"  # the session is new to the process that has claimed it
            assert await moved.session.ask("pid") == str(other.process.pid)
        await asyncio.to_thread(until, lambda: descriptors(other) == before)
        other.logged(" process-dead ")
        assert other.log.count(" process-dead ") == 1
        assert not list((tmp_path / "data" / "relay").glob("*"))[1:], "the socket of the killed process is left"
