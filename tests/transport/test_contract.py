"""What transports state they can do, and that they can."""

import asyncio
import socket
from typing import Any

import pytest

from antiphon.testing.memory import MemoryTransport
from antiphon.transport.contract import ServerTransport
from antiphon.transport.plain import PlainTransport
from antiphon.transport.tls import TlsTransport


class End(asyncio.Protocol):
    """One end, which notes what it is handed."""

    def __init__(self) -> None:
        self.heard = b""
        self.told = asyncio.Event()
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: ServerTransport = transport  # type: ignore[assignment] # it is one of ours

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.told.set()

    def received(self, buffer: bytearray, size: int) -> None:
        self.data_received(bytes(buffer[:size]))

    def eof_received(self) -> bool:
        return self.transport.can_half_close

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


@pytest.mark.parametrize(
    ("transport", "half_close"), [(PlainTransport, True), (TlsTransport, False), (MemoryTransport, True)]
)
def test_what_a_transport_can_do_is_its_own_statement(transport: Any, half_close: bool) -> None:
    assert transport.can_half_close is half_close
    assert (transport.write_framed is None) is (transport is not PlainTransport)


async def test_one_that_can_half_close_answers_after_the_peer_s_last_byte() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        end = End()
        PlainTransport(near, end, bytearray(64))
        far.sendall(b"question")
        far.shutdown(socket.SHUT_WR)
        await end.told.wait()
        end.transport.write(b"answer")
        end.transport.write_eof()
        assert await asyncio.to_thread(far.recv, 64) == b"answer"
        end.transport.abort()
        await end.gone.wait()


async def test_in_memory_bytes_go_to_whom_they_are_handed() -> None:
    one, other = End(), End()
    MemoryTransport.join(one, other)
    other.transport.write(b"first")
    await one.told.wait()
    handed = asyncio.get_running_loop().create_future()
    one.transport.hand_to(lambda buffer, size: handed.set_result(bytes(buffer[:size])))
    other.transport.write(b"second")
    assert await handed == b"second"
    assert one.heard == b"first"
