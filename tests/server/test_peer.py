"""The other end of a connection."""

import pytest

from antiphon.server.peer import Peer


@pytest.mark.parametrize(
    ("socket_address", "address", "host"),
    [
        (("127.0.0.1", 1024), "127.0.0.1:1024", "127.0.0.1"),
        (("2001:db8::1", 1024, 0, 0), "[2001:db8::1]:1024", "2001:db8::1"),
        (("fe80::1%eth0", 1024, 0, 2), "[fe80::1]:1024", "fe80::1"),
    ],
)
def test_a_peer_has_an_address_for_logs_and_a_host_for_limits(
    socket_address: tuple[object, ...], address: str, host: str
) -> None:
    peer = Peer.at(socket_address, None)
    assert (peer.address, peer.host, peer.binding) == (address, host, None)


@pytest.mark.parametrize(("binding", "mechanism"), [(None, "SCRAM-SHA-256"), (b"hash", "SCRAM-SHA-256-PLUS")])
def test_the_mechanism_is_that_of_the_channel(binding: bytes | None, mechanism: str) -> None:
    assert Peer("127.0.0.1:1", "127.0.0.1", binding).mechanism == mechanism
