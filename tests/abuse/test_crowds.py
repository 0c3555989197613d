"""Too many connections (promise 8): the admission limits hold, and honest people get in all the same."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.address import Address
from antiphon.client.aio.connect import session_on
from antiphon.client.aio.dial import dial as connect
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers
from antiphon.identity.passwords import Password
from antiphon.server.server import Server
from support.processes import PASSWORD, run_antiphon
from support.raw import RawClient, dial
from support.serving import ATTACKER, Honest, Serving, seed, serving
from support.wire_client import Closed

A_SOURCE = 5
"""Connections allowed from one source in these tests."""
LONG: dict[str, Any] = {"handshake_seconds": 60, "first_frame_seconds": 60, "entry_seconds": 60}
"""Deadlines so long that none frees a place while a test checks the limits."""


@contextlib.contextmanager
def crowd(address: Address, size: int, source: str = ATTACKER) -> Iterator[list[socket.socket]]:
    """Hold `size` silent connections."""
    with contextlib.ExitStack() as connections:
        yield [connections.enter_context(dial(address, source=source)) for _ in range(size)]


def counted(server: Serving) -> int:
    return server.read(lambda server: server._host.limits.count)


def wait_for_count(server: Serving, count: int) -> None:
    """Wait until the server counts so many connections; each check is an iteration of the server's event loop."""
    deadline = time.monotonic() + 60
    while counted(server) != count:
        assert time.monotonic() < deadline


def turned_away(server: Serving, source: str) -> bool:
    """Return whether the server closes a connection from `source` before it sends anything."""
    try:
        with server.client(source) as client:
            client.hello()
            return False
    except (Closed, OSError):
        return True


@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_one_source_that_takes_all_its_places_keeps_no_other_out(tmp_path: Path, plain: bool) -> None:
    token = seed(tmp_path / "data")[0]
    with (
        serving(tmp_path / "data", plain=plain, entry_source=A_SOURCE, **LONG) as server,
        Honest(server.address, token),
        crowd(server.address, A_SOURCE) as idle,
    ):
        wait_for_count(server, A_SOURCE)
        assert turned_away(server, ATTACKER)
        with server.client("127.0.0.3") as other:
            assert other.sign_in("ann", PASSWORD).name == "ann"
            assert turned_away(server, ATTACKER)
        idle[0].close()
        wait_for_count(server, A_SOURCE - 1)
        assert not turned_away(server, ATTACKER)


def test_who_has_signed_in_takes_no_place_at_the_door(tmp_path: Path) -> None:
    tokens = seed(tmp_path / "data", sessions=2 * A_SOURCE)
    with serving(tmp_path / "data", plain=True, entry_source=A_SOURCE, **LONG) as server:
        with contextlib.ExitStack() as sessions:
            for token in tokens:
                sessions.enter_context(server.session(token))
            assert counted(server) == 0
        assert not turned_away(server, "127.0.0.1")
        wait_for_count(server, 0)


def test_beyond_the_first_places_newcomers_are_dropped_whatever_their_source(tmp_path: Path) -> None:
    token = seed(tmp_path / "data")[0]
    with (
        serving(tmp_path / "data", plain=True, entry_begin=3, entry_rate=100, entry_most=50, **LONG) as server,
        Honest(server.address, token),
        crowd(server.address, 3),
    ):
        wait_for_count(server, 3)
        assert [turned_away(server, f"127.0.0.{last}") for last in range(3, 13)] == [True] * 10


def test_between_the_first_places_and_the_last_some_are_dropped_and_beyond_it_all(tmp_path: Path) -> None:
    token = seed(tmp_path / "data")[0]
    most = 40
    with (
        serving(
            tmp_path / "data", plain=True, entry_begin=2, entry_rate=30, entry_most=most, entry_source=1000, **LONG
        ) as server,
        Honest(server.address, token),
        contextlib.ExitStack() as inside,
    ):
        dropped = 0
        deadline = time.monotonic() + 60
        while counted(server) < most:
            client = inside.enter_context(RawClient(server.address, source=ATTACKER))
            try:
                client.hello()
            except Closed:
                dropped += 1
            assert time.monotonic() < deadline
        assert dropped > 0
        assert all(turned_away(server, "127.0.0.3") for _ in range(20))


def test_our_client_that_is_dropped_tries_again_by_itself_and_gets_in(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    dropped = threading.Event()
    with serving(tmp_path / "data", entry_source=1, **LONG) as server:

        def note_drops(server: Server) -> None:
            admit = server._host.limits.admit

            def noting(address: str) -> bool:
                admitted = admit(address)
                if not admitted:
                    dropped.set()
                return admitted

            server._host.limits.admit = noting  # type: ignore[method-assign]

        server.read(note_drops)
        with crowd(server.address, 1, "127.0.0.1") as (idle,):
            wait_for_count(server, 1)

            def leave() -> None:
                dropped.wait()
                idle.close()

            leaving = threading.Thread(target=leave)
            leaving.start()
            try:
                done = run_antiphon(
                    "connect", str(server.address), "--name", "ann", home=tmp_path, stdin="hello\n",
                    ANTIPHON_PASSWORD=PASSWORD,
                )  # fmt: skip
            finally:
                dropped.set()
                leaving.join()
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
        assert dropped.is_set()


def test_thirty_from_one_address_at_once_all_get_in(tmp_path: Path) -> None:
    """A class behind one address with far fewer places than it needs; some sign in, some resume."""
    tokens = seed(tmp_path / "data", "inside", sessions=25)
    seed(tmp_path / "data")  # an account keeps ten sessions at most

    async def take_part(address: Address, token: bytes | None) -> None:
        known = KnownServers(tmp_path / "known_servers")
        dialled = await connect(address, known, 30)
        sign_in = SignIn(dialled.connection, timeout=30)
        if token is None:
            welcome = await sign_in.authenticate("ann", Password(PASSWORD))
        else:
            welcome = await sign_in.resume(token)
        async with session_on(address, known, dialled, welcome) as session:
            assert await session.ask("here") == "here"

    async def everybody(address: Address) -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(take_part(address, token) for token in [*tokens[1:], *[None] * 6]))

    with serving(tmp_path / "data", entry_source=10) as server, Honest(server.address, tokens[0]):
        asyncio.run(everybody(server.address))
        log = server.server.log_path
    assert " dropped " in log.read_text("utf-8"), "nobody had to try again: the test shows nothing"
