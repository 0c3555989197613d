"""How both clients find a server and trust it: every address of its name, and the certificate of an authority."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antiphon import blocking, connect
from antiphon.address import Address
from antiphon.client.aio import dial as dial_waiting
from antiphon.client.blocking import dial as dial_blocking
from antiphon.client.happy_eyeballs import failure_of, in_order
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import CertificateRefused, ConnectRefused, HostUnknown, ServerKeyUnknown, TimedOut
from antiphon.services import echo
from antiphon.testing import FaultProxy
from support.certificate_authority import issue_certificate
from support.processes import PASSWORD
from support.serving import seed
from support.sessions import server_here

NAME = "dual.test"
SHORT = 20.0
"""Seconds in which a client finds the second address; a client that tries one after the other needs half of 60."""

Dial = Callable[..., Awaitable[Standing]]


async def by_waiting(address: Address, known: KnownServers, seconds: float = 60) -> Standing:
    dialled = await dial_waiting.dial(address, known, seconds)
    dialled.connection.abort()
    await dialled.connection.closed
    return dialled.standing


async def by_blocking(address: Address, known: KnownServers, seconds: float = 60) -> Standing:
    dialled = await asyncio.to_thread(dial_blocking.dial, address, known, seconds)
    dialled.connection.abort()
    return dialled.standing


@pytest.fixture(params=[by_waiting, by_blocking], ids=["asyncio", "blocking"])
def dial(request: pytest.FixtureRequest) -> Any:
    """Return what connects by either client, and returns what speaks for the key."""
    return request.param


@pytest.fixture
def known(tmp_path: Path) -> KnownServers:
    return KnownServers(tmp_path / "known")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    seed(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what lets the system's resolver answer for `dual.test`, a name that is in no hosts file."""
    real = socket.getaddrinfo

    def told(*hosts: str) -> None:
        def resolve(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
            if host != NAME:
                return real(host, port, *rest, **options)
            return [entry for each in hosts for entry in real(each, port, *rest, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    return told


@pytest.fixture
def silent() -> Iterator[Callable[[str, int], None]]:
    """Return what makes a port of an address silent: its backlog is full, so that the system drops each SYN."""
    with contextlib.ExitStack() as opened:

        def fill(host: str, port: int) -> None:
            listener = opened.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(0)
            for _ in range(4):
                client = opened.enter_context(socket.socket())
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.connect((host, port))

        yield fill


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# --- every address of a name --------------------------------------------------------------------------------


async def test_an_address_that_is_silent_does_not_hold_up_the_next_one(
    dial: Dial, data: Path, known: KnownServers, resolves: Callable[..., None], silent: Callable[[str, int], None]
) -> None:
    async with server_here(data, echo, host="127.0.0.2") as server:
        silent("127.0.0.1", server.port)
        resolves("127.0.0.1", "127.0.0.2")
        began = time.monotonic()
        await dial(replace(server.addresses[0], host=NAME), known)
        assert time.monotonic() - began < SHORT


async def test_an_address_that_refuses_is_passed_over_at_once(
    dial: Dial, data: Path, known: KnownServers, resolves: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (dial_waiting, dial_blocking):
        monkeypatch.setattr(module, "DELAY_SECONDS", 60.0)
    async with server_here(data, echo, host="127.0.0.2") as server:
        resolves("127.0.0.1", "127.0.0.3", "127.0.0.2")
        await dial(replace(server.addresses[0], host=NAME), known)


async def test_an_attempt_that_fails_does_not_end_the_others(
    dial: Dial, data: Path, known: KnownServers, resolves: Callable[..., None], silent: Callable[[str, int], None]
) -> None:
    async with server_here(data, echo, host="127.0.0.2") as server:
        silent("127.0.0.1", server.port)
        resolves("127.0.0.1", "127.0.0.3", "127.0.0.4", "127.0.0.2")
        await dial(replace(server.addresses[0], host=NAME), known)


async def test_where_no_address_answers_the_time_is_kept_and_a_refusal_is_told(
    dial: Dial, known: KnownServers, resolves: Callable[..., None], silent: Callable[[str, int], None]
) -> None:
    port = free_port()
    resolves("127.0.0.2", "127.0.0.3")
    with pytest.raises(ConnectRefused, match="nothing listens there"):
        await dial(Address("tcp", NAME, port), known)
    silent("127.0.0.1", port)
    resolves("127.0.0.1", "127.0.0.2")
    with pytest.raises(TimedOut):
        await dial(Address("tcp", NAME, port), known, 0.6)
    resolves()
    with pytest.raises((ConnectRefused, HostUnknown)):
        await dial(Address("tcp", NAME, port), known)


async def test_a_lost_session_comes_back_by_the_next_address_too(
    data: Path, resolves: Callable[..., None], silent: Callable[[str, int], None]
) -> None:
    async with server_here(data, echo, host="127.0.0.2") as server, FaultProxy(server.addresses[0]) as proxy:
        place = proxy.address
        host = place.host
        resolves(host)
        options: dict[str, Any] = {"name": "ann", "password": PASSWORD, "timeout": 60}
        async with connect(replace(place, host=NAME), **options) as session:
            session_blocking = await asyncio.to_thread(blocking.connect, replace(place, host=NAME), **options)
            silent("127.0.0.3", place.port)
            resolves("127.0.0.3", host)
            await proxy.cut()
            began = time.monotonic()
            assert await session.ask("one") == "one"
            assert await asyncio.to_thread(session_blocking.ask, "two") == "two"
            assert time.monotonic() - began < 2 * SHORT
            await asyncio.to_thread(session_blocking.close)


def test_the_families_alternate_and_the_systems_first_one_stays_first() -> None:
    def entry(family: int, host: str) -> tuple[Any, ...]:
        return family, socket.SOCK_STREAM, 6, "", (host, 1)

    six, four = socket.AF_INET6, socket.AF_INET
    found = [entry(six, "a"), entry(six, "b"), entry(six, "a"), entry(six, "c"), entry(four, "d")]
    assert [endpoint.place[0] for endpoint in in_order(found)] == ["a", "d", "b", "c"]
    assert in_order([]) == []


def test_a_refusal_says_more_than_what_came_before_it() -> None:
    way, refused = OSError(101, "no way"), ConnectionRefusedError(111, "refused")
    assert failure_of([way, refused]) is refused
    assert failure_of([way]) is way
    assert str(failure_of([])) == "no address"


# --- certificates of an authority ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issued", "why"),
    [
        ({"days": -1}, "The certificate of localhost cannot be trusted: it has expired."),
        ({"name": "elsewhere.test"}, "The certificate of localhost cannot be trusted: it is for another name."),
    ],
)
async def test_what_an_authority_would_vouch_for_otherwise_is_refused_with_the_reason(
    dial: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, issued: dict[str, Any], why: str
) -> None:
    known = KnownServers(tmp_path / "known")
    authority, fingerprint = issue_certificate(tmp_path / "d", **issued)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    async with server_here(tmp_path / "d", echo, plain=False, host="localhost") as server:
        bare = replace(server.addresses[0], fingerprint=None)
        with pytest.raises(CertificateRefused) as caught:
            await dial(bare, known)
        assert str(caught.value).startswith(why)
        assert await dial(server.addresses[0], known) is Standing.PINNED
        known.remember(bare.host, fingerprint, bare.port)
        assert await dial(bare, known) is Standing.KNOWN


async def test_a_chain_with_a_gap_is_refused_and_an_authority_that_is_unknown_here_is_nobody(
    dial: Dial, tmp_path: Path, known: KnownServers
) -> None:
    issue_certificate(tmp_path / "public", issuer_named=True)
    issue_certificate(tmp_path / "own")
    async with server_here(tmp_path / "public", echo, plain=False, host="localhost") as server:
        with pytest.raises(
            CertificateRefused, match="certificates between it and an authority that this system knows are missing"
        ):
            await dial(replace(server.addresses[0], fingerprint=None), known)
    async with server_here(tmp_path / "own", echo, plain=False, host="localhost") as server:
        assert await dial(replace(server.addresses[0], fingerprint=None), known) is Standing.UNKNOWN


async def test_a_program_is_told_the_reason_and_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, _ = issue_certificate(tmp_path / "d", days=-1)
    async with server_here(tmp_path / "d", echo, plain=False, host="localhost") as server:
        bare = replace(server.addresses[0], fingerprint=None)
        options: dict[str, Any] = {"name": "ann", "password": PASSWORD, "known_servers": tmp_path / "known"}
        with pytest.raises(ServerKeyUnknown):
            await asyncio.to_thread(blocking.connect, bare, **options)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        with pytest.raises(CertificateRefused):
            await asyncio.to_thread(blocking.connect, bare, **options)
        with pytest.raises(CertificateRefused):
            async with connect(bare, **options):
                pass
