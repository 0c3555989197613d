"""Connections from a balancer: who goes on as whom, who is refused, and what stays in the socket."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from antiphon.errors import SettingInvalid
from antiphon.server.listen.balancer import REASONS, naming_clients
from antiphon.server.listen.limits import AdmissionLimits
from antiphon.server.workers.dispatch import Dispatcher
from antiphon.settings import ServerSettings
from support.auth import RecordingLog
from support.documents import read, table
from support.proxy_headers import CLIENT, LOCAL, PORT, TLVS, UNSPECIFIED, header, v1, v2
from support.virtual_time import run_virtually

BALANCER = ("10.0.0.1", 50_000)
STRANGER = ("198.51.100.1", 50_000)
HELLO = b"\x16\x03\x01\x00\x05hello"
NOBODY = header(LOCAL, UNSPECIFIED)


class Port:
    """A listening port behind balancers; `taken` is what goes on."""

    def __init__(self, **settings: Any) -> None:
        self.settings = ServerSettings(**{"proxy_from": "10.0.0.0/24,2001:db8::/32", **settings})
        self.log = RecordingLog()
        self.taken: list[tuple[socket.socket, tuple[Any, ...], float]] = []
        self.sockets: list[socket.socket] = []
        self._take: Callable[..., None]

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        with naming_clients(self.settings, lambda *taken: self.taken.append(taken), self.log) as take:
            self._take = take
            yield

    def accept(self, address: tuple[Any, ...] = BALANCER) -> socket.socket:
        """Have a connection from `address`; return its other end."""
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        self._take(theirs, address, asyncio.get_running_loop().time())
        return ours

    def refused(self) -> list[tuple[object, object]]:
        """Return address and reason of each record of a refusal; there are no other records."""
        assert all((each.level, each.event) == ("warning", "proxy-refused") for each in self.log.records)
        return [(each.fields["address"], each.fields["why"]) for each in self.log.records]


def run(talk: Callable[[Port], Awaitable[None]], **settings: Any) -> Port:
    """Talk to a port in virtual time; afterwards no socket of it is open but those that went on."""
    port = Port(**settings)

    async def main() -> None:
        with port.open():
            await talk(port)

    try:
        run_virtually(main())
        assert all(
            each.fileno() < 0 for each in port.sockets[1::2] if each not in [sock for sock, *_ in port.taken]
        )
    finally:
        for each in port.sockets:
            each.close()
    return port


async def rounds() -> None:
    """Let the loop read what was sent."""
    for _ in range(5):
        await asyncio.sleep(0)


def is_closed(sock: socket.socket) -> bool:
    """Return whether the other end is closed, without a byte."""
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("data", [v1(), v2(), v2(tlvs=TLVS)])
def test_the_client_goes_on_and_what_follows_the_header_stays_in_the_socket(data: bytes) -> None:
    async def talk(port: Port) -> None:
        port.accept().send(data + HELLO)
        await rounds()
        sock, address, accepted_at = port.taken[0]
        assert (address, accepted_at) == ((CLIENT, PORT), 0.0)
        assert sock.recv(100) == HELLO

    assert run(talk).refused() == []


@pytest.mark.parametrize("data", [v1("2001:db8::7"), v2("2001:db8::7")])
def test_a_header_that_comes_byte_by_byte_is_read_and_no_more(data: bytes) -> None:
    async def talk(port: Port) -> None:
        ours = port.accept(("2001:db8::1", 1, 0, 0))
        for byte in data:
            assert not port.taken
            ours.send(bytes([byte]))
            await rounds()
        sock, address, _ = port.taken[0]
        assert address == ("2001:db8::7", PORT)
        with pytest.raises(BlockingIOError):
            sock.recv(1)

    assert run(talk).refused() == []


def test_a_second_header_stays_in_the_socket_and_is_none() -> None:
    async def talk(port: Port) -> None:
        port.accept().send(v2() + v2("192.0.2.66"))
        await rounds()
        assert (port.taken[0][1], port.taken[0][0].recv(1000)) == ((CLIENT, PORT), v2("192.0.2.66"))

    assert run(talk).refused() == []


def test_nobody_else_can_name_a_client() -> None:
    async def talk(port: Port) -> None:
        port.accept(STRANGER).send(v2())
        assert port.taken[0][1] == STRANGER
        assert port.taken[0][0].recv(1000) == v2()

    assert run(talk).refused() == []


def test_what_comes_from_a_balancer_without_a_header_is_refused() -> None:
    async def talk(port: Port) -> None:
        ours = port.accept()
        ours.send(HELLO)
        await rounds()
        assert is_closed(ours)

    port = run(talk)
    assert (port.taken, port.refused()) == ([], [("10.0.0.1:50000", "no header")])


@pytest.mark.parametrize(
    ("data", "why"), [(b"", "sent nothing"), (NOBODY, "sent nothing"), (v2()[:-1], "took too long")]
)
def test_bytes_do_not_extend_the_time_of_a_header(data: bytes, why: str) -> None:
    async def talk(port: Port) -> None:
        ours = port.accept()
        for byte in data:
            await asyncio.sleep(4.9 / len(data))
            ours.send(bytes([byte]))
        await asyncio.sleep(5.01 - asyncio.get_running_loop().time())
        assert is_closed(ours)

    port = run(talk, handshake_seconds=5.0)
    assert (port.taken, port.refused()) == ([], [("10.0.0.1:50000", why)])


@pytest.mark.parametrize(("data", "whys"), [(b"", []), (NOBODY, []), (v1()[:5], ["connection closed"])])
def test_a_check_that_closes_at_once_is_no_fault(data: bytes, whys: list[str]) -> None:
    async def talk(port: Port) -> None:
        for _ in range(3):
            with port.accept() as ours:
                ours.send(data)
        await rounds()

    port = run(talk)
    assert (port.taken, [why for _, why in port.refused()]) == ([], whys * 3)


@pytest.mark.parametrize("data", [NOBODY, b"PROXY UNKNOWN\r\n"])
def test_without_a_client_the_balancer_itself_goes_on_at_its_first_byte(data: bytes) -> None:
    async def talk(port: Port) -> None:
        ours = port.accept()
        ours.send(data)
        await rounds()
        assert not port.taken
        ours.send(HELLO)
        port.accept().send(data + HELLO)
        await rounds()
        assert [(address, sock.recv(99)) for sock, address, _ in port.taken] == [(BALANCER, HELLO)] * 2

    assert run(talk).refused() == []


def test_over_plain_tcp_where_the_server_speaks_first_it_goes_on_at_once() -> None:
    async def talk(port: Port) -> None:
        port.accept().send(NOBODY)
        with port.accept() as check:
            check.send(NOBODY)
        await rounds()
        assert [address for _, address, _ in port.taken] == [BALANCER]

    assert run(talk, plain=True).refused() == []


def test_headers_that_do_not_come_take_a_bounded_number_of_sockets() -> None:
    async def talk(port: Port) -> None:
        slow = [port.accept() for _ in range(3)]
        assert [is_closed(each) for each in slow] == [False, False, True]
        slow[0].send(v1() + HELLO)
        await rounds()
        assert not is_closed(port.accept())

    port = run(talk, entry_begin=1, entry_most=2)
    assert (len(port.taken), port.refused()) == (1, [("10.0.0.1:50000", "too many at once")])


def test_a_fault_with_one_client_keeps_no_other_out() -> None:
    async def main() -> None:
        log = RecordingLog()

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        with (
            naming_clients(ServerSettings(proxy_from="10.0.0.1"), fail, log) as take,
            contextlib.ExitStack() as ends,
        ):
            ours, theirs = map(ends.enter_context, socket.socketpair())
            take(theirs, BALANCER, 0.0)
            ours.send(v1())
            await rounds()
        assert [record.event for record in log.records] == ["fault"]

    run_virtually(main())


def test_limits_count_the_client_and_not_the_balancer() -> None:
    """The supervisor reads the header, before its dispatcher admits; a server of one process does it likewise."""
    limits = AdmissionLimits(100, 0, 100, 1, lambda: 1.0)

    async def main() -> None:
        dispatcher = Dispatcher(limits)
        settings = ServerSettings(proxy_from="10.0.0.1")
        with naming_clients(settings, dispatcher.take, RecordingLog()) as take, contextlib.ExitStack() as ends:
            for client in (CLIENT, CLIENT, "192.0.2.9", "2001:db8::1", "2001:db8::2"):
                ours, theirs = map(ends.enter_context, socket.socketpair())
                take(theirs, BALANCER, 0.0)
                ours.send(v2(client))
            await rounds()
            assert (limits.count, limits.take_dropped()) == (3, 2)
            dispatcher.close()
        assert limits.count == 0

    run_virtually(main())


@pytest.mark.parametrize(
    "value", ["", "10.0.0.1/8", "10.0.0.0/33", "balancer.example", "10.0.0.1,,::1", "10.0.0.1;::1"]
)
def test_a_value_that_names_no_network_is_refused(value: str) -> None:
    with pytest.raises(SettingInvalid, match=r"^--proxy-from: must be addresses or networks"):
        ServerSettings(proxy_from=value)


def test_every_reason_is_documented() -> None:
    rows = table(read("docs/monitoring.md"), "why", "what the balancer did")
    assert [row[0] for row in rows] == list(REASONS)
