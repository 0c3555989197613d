import errno
import gc
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from antiphon.errors import AddressUnavailable, PortTaken
from antiphon.server.listen import ports
from antiphon.server.listen.ports import Listening, is_loopback, listen

STARTER = """
import sys
from antiphon.server.listen.ports import listen
held = []
print("ready", flush=True)
for line in sys.stdin:
    host, port = line.split()
    held.append(listen(host, int(port)))
    print(held[-1].port, flush=True)
"""


@pytest.fixture
def taken() -> Iterator[Listening]:
    """Yield a port of localhost that is listened on."""
    listening = listen("localhost", 0)
    yield listening
    listening.close()


def families(listening: Listening) -> list[int]:
    return [each.family for each in listening.sockets]


def test_localhost_is_both_families_with_one_port(taken: Listening) -> None:
    assert families(taken) == [socket.AF_INET, socket.AF_INET6]
    assert {each.getsockname()[1] for each in taken.sockets} == {taken.port}
    assert taken.moved_from is None
    assert taken.hosts == ("localhost",)
    for address in ("127.0.0.1", "::1"):
        socket.create_connection((address, taken.port), timeout=60).close()


def test_listening_sockets_never_block(taken: Listening) -> None:
    with pytest.raises(BlockingIOError):
        taken.sockets[0].accept()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "*"])
def test_a_port_that_is_taken_gives_way_to_the_next(taken: Listening, host: str) -> None:
    listening = listen(host, taken.port)
    listening.close()
    assert taken.port < listening.port <= taken.port + ports.TRIES
    assert listening.moved_from == taken.port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_taken_on_one_family_only_gives_way_too(host: str) -> None:
    one = listen(host, 0)
    both = listen("localhost", one.port)
    one.close()
    both.close()
    assert both.moved_from == one.port


def test_a_port_that_is_bound_and_not_yet_listened_on_can_be_had() -> None:
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        listening = listen("127.0.0.1", bound.getsockname()[1])
        assert listening.moved_from is None
        with pytest.raises(OSError, match="in use"):
            bound.listen()
        listening.close()


def test_strict_fails_instead_of_moving(taken: Listening) -> None:
    with pytest.raises(PortTaken, match=str(taken.port)):
        listen("localhost", taken.port, strict=True)


def test_any_port_is_asked_for_again_when_one_family_has_it_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    listen_on, asked = ports._listen_on, []

    def taken_at_first(places: list[ports.Place], port: int) -> tuple[socket.socket, ...]:
        asked.append(port)
        if len(asked) == 1:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return listen_on(places, port)

    monkeypatch.setattr(ports, "_listen_on", taken_at_first)
    listening = listen("localhost", 0, strict=True)
    listening.close()
    assert asked == [0, 0]
    assert listening.moved_from is None


def test_the_search_ends(taken: Listening) -> None:
    with pytest.raises(PortTaken):
        listen("localhost", taken.port, tries=0)


def test_the_search_goes_on_from_1024_after_the_last_port() -> None:
    assert list(ports._candidates(65534, 3)) == [65534, 65535, 1024, 1025]


def test_a_port_is_free_again_right_after_its_server_has_closed_connections() -> None:
    first = listen("127.0.0.1", 0)
    client = socket.create_connection(("127.0.0.1", first.port), timeout=60)
    first.sockets[0].setblocking(True)
    served, _ = first.sockets[0].accept()
    served.close()  # the side that closes first waits in TIME_WAIT
    first.close()
    client.close()
    second = listen("127.0.0.1", first.port, strict=True)
    second.close()


@pytest.mark.parametrize("host", ["", "no.such.host.invalid", "a" * 64 + ".example", "192.0.2.77", "2001:db8::77"])
def test_a_host_that_is_not_here_is_refused(host: str) -> None:
    with pytest.raises(AddressUnavailable):
        listen(host, 0)


def test_a_port_that_this_user_may_not_take_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind)  # root may take every port
    with pytest.raises(AddressUnavailable, match="this user may not take the port"):
        listen("127.0.0.1", 80)


def test_without_ipv6_localhost_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.socket

    def without_ipv6(family: int = -1, *rest: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return create(family, *rest)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    listening = listen("localhost", 0)
    listening.close()
    assert families(listening) == [socket.AF_INET]


def test_failing_leaves_no_socket_open(taken: Listening) -> None:
    one = listen("::1", 0)
    for host, port in (("localhost", one.port), ("localhost", taken.port), ("192.0.2.77", 0)):
        with pytest.raises((PortTaken, AddressUnavailable)):
            listen(host, port, strict=True)
    one.close()
    gc.collect()  # a socket left open would warn here, and warnings are errors


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.2", True), ("::1", True), ("*", False), ("0.0.0.0", False)],
)
def test_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    listening = listen(host, 0)
    try:
        assert is_loopback(listening.sockets) is loopback
    finally:
        listening.close()


def test_all_addresses_are_told_as_addresses_that_can_be_reached() -> None:
    listening = listen("*", 0)
    try:
        assert listening.hosts
        assert "*" not in listening.hosts
        for host in listening.hosts:
            socket.create_connection((host, listening.port), timeout=60).close()
    finally:
        listening.close()


def test_servers_that_start_at_one_moment_get_ports_of_their_own() -> None:
    first = listen("localhost", 0)
    first.close()
    starters = [
        subprocess.Popen([sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    held: list[str] = []
    try:
        assert all(starter.stdout and starter.stdout.readline() for starter in starters)
        for port in (first.port, first.port, 0, first.port):
            for number, starter in enumerate(starters):
                assert starter.stdin
                starter.stdin.write(f"{'*' if number % 2 else 'localhost'} {port}\n")
            for starter in starters:
                assert starter.stdin
                starter.stdin.flush()
            held += [starter.stdout.readline().strip() for starter in starters if starter.stdout]
    finally:
        for starter in starters:
            starter.communicate()
    assert "" not in held
    assert len(set(held)) == len(held) == 32
    assert [starter.returncode for starter in starters] == [0] * 8
