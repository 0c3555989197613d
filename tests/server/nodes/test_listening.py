"""Where a node takes relays: a port of a range for each process."""

import contextlib
import socket
import sys
from collections.abc import Iterator

import pytest

from antiphon.address import RELAY_PORTS, relay_place
from antiphon.errors import RelayPortsTaken, SettingInvalid
from antiphon.server.nodes import listener
from antiphon.server.nodes.listener import keep, listen
from antiphon.settings import ServerSettings

FIRST, LAST = 23000, 23999
POSTGRES = "postgresql://user@db/antiphon"


@contextlib.contextmanager
def listening(host: str, first: int, last: int) -> Iterator[tuple[socket.socket, str]]:
    sock, address = listen(host, first, last)
    with sock:
        yield sock, address


def test_each_process_takes_the_first_free_port() -> None:
    with listening("127.0.0.1", FIRST, LAST) as (one, address):
        first = one.getsockname()[1]
        assert address == f"127.0.0.1:{first}"
        with listening("127.0.0.1", first, LAST) as (two, _):
            assert first < two.getsockname()[1] <= LAST


def test_without_a_free_port_the_error_names_those_that_were_tried() -> None:
    with listening("127.0.0.1", FIRST, LAST) as (one, _):
        port = one.getsockname()[1]
        with pytest.raises(RelayPortsTaken, match=f"{port} on 127.0.0.1"):
            listen("127.0.0.1", port, port)


def test_a_name_of_several_addresses_is_shown_as_it_is() -> None:
    with listening("localhost", FIRST, LAST) as (sock, address):
        assert address == f"localhost:{sock.getsockname()[1]}"
        assert sock.getsockname()[0] in ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"], ids=["of-a-router", "of-the-others"])
def test_where_the_address_is_not_of_this_machine_it_listens_at_all(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        listener._ANYWHERE, socket.AF_INET, "127.0.0.3" if sys.platform == "linux" else "127.0.0.1"
    )
    with listening(host, FIRST, LAST) as (sock, address):
        assert address == f"{host}:{sock.getsockname()[1]}"
        assert sock.getsockname()[0] == listener._ANYWHERE[socket.AF_INET]


def test_a_machine_that_is_gone_is_found_out_by_the_system() -> None:
    with socket.socket() as sock:
        keep(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if sys.platform == "linux":
            names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            idle, interval, count = (sock.getsockopt(socket.IPPROTO_TCP, name) for name in names)
            assert idle + interval * count <= 10
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 10_000


def test_the_ports_may_be_left_out_and_be_one_or_many() -> None:
    assert relay_place("node1.example.org") == ("node1.example.org", RELAY_PORTS[0], RELAY_PORTS[-1])
    assert relay_place("10.0.0.1:7700") == ("10.0.0.1", 7700, 7700)
    assert relay_place("[2001:db8::1]:7700-7800") == ("2001:db8::1", 7700, 7800)
    assert relay_place("[::1]") == ("::1", RELAY_PORTS[0], RELAY_PORTS[-1])


@pytest.mark.parametrize(
    "place",
    [
        "",
        "*",
        ":7700",
        "node:",
        "node:0",
        "node:9-8",
        "node:1-65536",
        "node:7700-",
        "2001:db8::1",
        "a b:1",
        "[node]",
    ],
)
def test_what_is_no_relay_address_is_refused(place: str) -> None:
    with pytest.raises(SettingInvalid, match=r"--relay-address: must be HOST, HOST:PORT or HOST:PORT-PORT"):
        ServerSettings(relay_address=place, store=POSTGRES)


@pytest.mark.parametrize("store", ["sqlite", "files:there"])
def test_only_a_database_has_nodes(store: str) -> None:
    with pytest.raises(SettingInvalid, match="give --store postgresql://… too"):
        ServerSettings(relay_address="node1.example.org", store=store)
