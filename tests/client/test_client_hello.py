"""What both clients offer in TLS, read from the bytes of their first message (docs/protocol.md, "TCP or TLS")."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from antiphon.address import Address
from antiphon.client.aio import dial as dial_waiting
from antiphon.client.blocking import dial as dial_blocking
from antiphon.client.trust import KnownServers
from antiphon.errors import TlsFailed

SUITES = {0x1301, 0x1302, 0x1303}
"""TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256 (RFC 8446, B.4)."""
NO_RENEGOTIATION = 0x00FF
"""A signal that stands among the suites and is none (RFC 5746)."""
SERVER_NAME, ALPN, RESUMED, EARLY_DATA, VERSIONS = 0, 16, 41, 42, 43
"""Numbers of extensions."""
ALERT = bytes.fromhex("15 0303 0002 02 28")

Dial = Callable[[Address, Path], None]


class Hello(NamedTuple):
    """A ClientHello (RFC 8446, 4.1.2)."""

    suites: set[int]
    extensions: dict[int, bytes]

    @classmethod
    def read(cls, message: bytes) -> "Hello":
        rest = message[5 + 4 + 2 + 32 :]  # record, handshake, version, random
        rest = rest[1 + rest[0] :]  # session id
        size = int.from_bytes(rest[:2], "big")
        suites = {code for (code,) in struct.iter_unpack(">H", rest[2 : 2 + size])}
        rest = rest[2 + size :]
        rest = rest[1 + rest[0] + 2 :]  # compression, length of the extensions
        extensions = {}
        while rest:
            kind, size = struct.unpack_from(">HH", rest)
            extensions[kind] = rest[4 : 4 + size]
            rest = rest[4 + size :]
        return cls(suites, extensions)


class Listener:
    """A server that reads one ClientHello and refuses it."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._said = b""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        client, _ = self._socket.accept()
        with client:
            while len(self._said) < 5 or len(self._said) < 5 + int.from_bytes(self._said[3:5], "big"):
                self._said += client.recv(65536)
            client.sendall(ALERT)

    def hello(self) -> Hello:
        self._thread.join()
        return Hello.read(self._said)

    def close(self) -> None:
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def by_waiting(address: Address, known: Path) -> None:
    asyncio.run(dial_waiting.dial(address, KnownServers(known), 60))


def by_blocking(address: Address, known: Path) -> None:
    dial_blocking.dial(address, KnownServers(known), 60)


@pytest.mark.parametrize("dial", [by_waiting, by_blocking], ids=["asyncio", "blocking"])
@pytest.mark.parametrize(("host", "named"), [("localhost", b"localhost"), ("127.0.0.1", None)])
def test_a_client_offers_tls_1_3_with_three_suites_the_name_of_the_host_and_nothing_else(
    listener: Listener, tmp_path: Path, dial: Dial, host: str, named: bytes | None
) -> None:
    with pytest.raises(TlsFailed):
        dial(Address("tls", host, listener.port, None, None), tmp_path / "known")
    suites, extensions = listener.hello()
    assert suites - {NO_RENEGOTIATION} == SUITES
    assert extensions[VERSIONS] == b"\x02\x03\x04"
    assert extensions.keys().isdisjoint({ALPN, EARLY_DATA, RESUMED})
    assert (extensions[SERVER_NAME][5:] if SERVER_NAME in extensions else None) == named
