"""TLS transport: nothing stays in the shared buffers, and it behaves as the plain transport does."""

import asyncio
import contextlib
import ssl
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.testing.memory import MemoryTransport
from antiphon.transport import tls as transport_tls
from antiphon.transport.endpoint import PythonRecordLayer, RecordLayer
from antiphon.transport.handshake import ClosedEarly
from antiphon.transport.tls import ANSWERS_LIMIT, RECORD, SharedBuffers, TlsTransport
from antiphon.wire.kinds import KIB
from support.raw import tls_context

RUBBISH = b"\x17\x03\x03\x00\x20" + bytes(100)
"""An invalid record, and more bytes."""


class Above(asyncio.Protocol):
    """The protocol above TLS: notes its calls, and echoes if `echoes` is set."""

    def __init__(self, *, echoes: bool = False) -> None:
        self.heard: list[object] = []
        self.echoes = echoes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.transport = transport
        self.heard.append("made")

    def received(self, buffer: bytes | bytearray, size: int) -> None:
        data = bytes(buffer[:size])
        self.heard.append(data)
        if self.echoes:
            self.transport.write(data)

    def eof_received(self) -> None:
        self.heard.append("end")

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def peer_lags(self) -> None:
        self.heard.append("lags")

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.append("lost" if exc is None else exc)


class Client(asyncio.Protocol):
    """A client of OpenSSL alone; `pieces` holds the received pieces."""

    def __init__(self) -> None:
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls_context().wrap_bio(self._incoming, self.outgoing)
        self.pieces: list[bytes] = []
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport
        self.go_on()

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self._incoming.write(data)
        self.go_on()

    def eof_received(self) -> bool:
        self.ended = True
        return True

    def go_on(self) -> None:
        """Take a step of the handshake."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.send(self.outgoing.read())

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self.transport.write(data)

    def sealed(self, data: bytes) -> bytes:
        """Return the records of `data`."""
        at = 0
        while at < len(data):
            at += self.tls.write(data[at:])
        return self.outgoing.read()

    def say(self, data: bytes) -> None:
        self.send(self.sealed(data))

    def goodbye(self) -> bytes:
        """Return a close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self.outgoing.read()

    def read(self) -> bytes:
        """Return the decrypted bytes, with `b"."` for the server's close_notify."""
        read = b""
        try:
            while part := self.tls.read(RECORD):
                read += part
        except ssl.SSLWantReadError:
            return read
        except ssl.SSLZeroReturnError:  # the answer to our close_notify
            pass
        return read + b"."


class Ending(Client):
    """A client that sends no TLS."""

    def go_on(self) -> None:
        """Send nothing."""


class Dripping(Client):
    """A client whose bytes are received one by one."""

    def __init__(self, drip: Callable[[bytes], None]) -> None:
        super().__init__()
        self.drip = drip

    def send(self, data: bytes) -> None:
        for byte in data:
            self.drip(bytes([byte]))


class Pair:
    """A client and the server's end on two transports in memory."""

    def __init__(self, tls: TlsTransport, above: Above, client: Client) -> None:
        self.tls, self.above, self.client = tls, above, client
        MemoryTransport.join(tls, client)


Connect = Callable[..., Pair]


@pytest.fixture(autouse=True, params=dict.fromkeys([PythonRecordLayer, RecordLayer]))
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_tls, "RecordLayer", request.param)


@pytest.fixture
def buffers() -> SharedBuffers:
    return SharedBuffers()


@pytest.fixture
def connect(context: ssl.SSLContext, buffers: SharedBuffers) -> Connect:
    def connect(*, echoes: bool = False) -> Pair:
        above = Above(echoes=echoes)
        return Pair(TlsTransport(context, buffers, above), above, Client())

    return connect


async def turns(count: int = 20) -> None:
    """Let the event loop run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def opened(pair: Pair) -> Pair:
    await pair.tls.opened()
    await turns()
    pair.client.pieces.clear()
    return pair


@pytest.mark.parametrize("size", [1, 100, RECORD - 1, RECORD, RECORD + 1, 60 * KIB])
async def test_one_read_is_handed_over_and_answered_in_one_piece(connect: Connect, size: int) -> None:
    pair = await opened(connect(echoes=True))
    pair.client.say(bytes(size))
    await turns()
    assert pair.above.heard == ["made", bytes(size)]
    assert len(pair.client.pieces) == 1
    assert pair.client.read() == bytes(size)


async def test_a_stream_byte_by_byte_leaves_nothing_in_the_shared_buffers(
    context: ssl.SSLContext, buffers: SharedBuffers
) -> None:
    above = Above()
    tls = TlsTransport(context, buffers, above)

    def drip(data: bytes) -> None:
        tls.data_received(data)
        assert buffers.incoming.pending == buffers.outgoing.pending == 0

    pair = await opened(Pair(tls, above, Dripping(drip)))
    pair.client.say(b"one")
    pair.client.say(b"another")
    pair.client.send(pair.client.goodbye())
    assert above.heard == ["made", b"one", b"another", "end"]


async def test_bytes_with_the_end_of_the_handshake_follow_connection_made(
    context: ssl.SSLContext, buffers: SharedBuffers
) -> None:
    class Eager(Client):
        def go_on(self) -> None:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                self.tls.write(b"at once")
            self.send(self.outgoing.read())

    above = Above()
    pair = Pair(TlsTransport(context, buffers, above), above, Eager())
    await pair.tls.opened()
    assert above.heard == ["made", b"at once"]


async def test_interleaved_connections_do_not_mix(connect: Connect) -> None:
    pairs = [connect(echoes=True) for _ in range(3)]  # their handshakes are interleaved
    for pair in pairs:
        await opened(pair)
    said = [b"a" * 100, b"b" * (RECORD + 100), b"c"]
    sealed = [pair.client.sealed(data) for pair, data in zip(pairs, said, strict=True)]
    for part in (slice(0, 10), slice(10, 90), slice(90, None)):
        for pair, data in zip(pairs, sealed, strict=True):
            pair.client.send(data[part])
        await turns()
    assert [pair.client.read() for pair in pairs] == said


async def test_invalid_bytes_end_one_connection_with_an_alert_and_no_other(
    connect: Connect, buffers: SharedBuffers
) -> None:
    one, other = await opened(connect()), await opened(connect(echoes=True))
    one.client.send(RUBBISH)
    await turns()
    assert buffers.incoming.pending == buffers.outgoing.pending == 0
    assert one.above.heard == ["made", "lost"]
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        one.client.read()
    other.client.say(b"still here")
    await turns()
    assert other.client.read() == b"still here"


async def test_a_close_notify_is_answered_and_nothing_after_it_is_read(
    connect: Connect, buffers: SharedBuffers
) -> None:
    pair = await opened(connect(echoes=True))
    pair.client.send(pair.client.sealed(b"last") + pair.client.goodbye() + b"rubbish")
    await turns()
    assert pair.above.heard == ["made", b"last", "end", "lost"]
    assert pair.client.read() == b"last."
    assert pair.client.ended
    assert buffers.incoming.pending == 0


async def test_close_waits_for_the_peer_even_if_reading_is_paused(connect: Connect) -> None:
    pair = await opened(connect())
    pair.tls.pause_reading()
    pair.client.say(b"never looked at")
    pair.tls.write(b"last words")
    pair.tls.close()
    pair.tls.write(b"too late")
    await turns()
    assert pair.client.read() == b"last words."
    assert pair.client.ended
    pair.client.send(RUBBISH)
    await turns()
    assert pair.above.heard == ["made"]
    pair.client.transport.close()
    await turns()
    assert pair.above.heard == ["made", "lost"]


async def test_openssl_frees_a_lost_connection(connect: Connect) -> None:
    pair = await opened(connect())
    kept = weakref.ref(pair.tls._tls)
    pair.client.transport.abort()
    await turns()
    assert pair.above.heard == ["made", "lost"]
    assert kept() is None
    assert pair.tls._records.tls is None


async def test_writing_to_a_peer_that_is_just_lost_does_no_harm(connect: Connect, buffers: SharedBuffers) -> None:
    pair = await opened(connect())
    pair.tls._below.abort()
    pair.tls.write(b"too late")
    pair.tls.close()
    await turns()
    assert pair.above.heard == ["made", "lost"]
    assert buffers.outgoing.pending == 0


async def test_the_end_of_bytes_without_close_notify_ends_the_connection(connect: Connect) -> None:
    pair = await opened(connect())
    pair.client.transport.write_eof()
    await turns()
    assert pair.above.heard == ["made", "lost"]


@pytest.mark.parametrize("hello", [b"GET / HTTP/1.1\r\n\r\n", bytes(64)], ids=["http", "zeros"])
async def test_a_failed_handshake_is_raised_to_the_waiter_alone(
    context: ssl.SSLContext, buffers: SharedBuffers, hello: bytes
) -> None:
    above, end = Above(), Ending()
    tls = TlsTransport(context, buffers, above)
    MemoryTransport.join(tls, end)
    end.transport.write(hello)
    with pytest.raises(ssl.SSLError):
        await tls.opened()
    await turns()
    assert end.ended
    assert above.heard == []
    assert buffers.incoming.pending == buffers.outgoing.pending == 0


async def test_a_peer_lost_in_the_handshake_is_raised_to_the_waiter(connect: Connect) -> None:
    pair = connect()
    pair.client.transport.abort()
    with pytest.raises(ClosedEarly):
        await pair.tls.opened()
    assert pair.above.heard == []


async def test_a_cancelled_handshake_opens_nothing(connect: Connect) -> None:
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    pair = connect()
    waiting = asyncio.ensure_future(pair.tls.opened())
    await asyncio.sleep(0)
    waiting.cancel()  # as a deadline does; the client answers before `abort` is called
    await turns()
    assert pair.above.heard == []
    pair.tls.abort()
    await turns()
    assert pair.client.ended
    assert pair.above.heard == faults == []


async def test_queued_bytes_are_counted_and_pause_the_protocol(connect: Connect) -> None:
    pair = await opened(connect())
    pair.tls.set_write_buffer_limits(high=RECORD)
    pair.client.transport.pause_reading()
    pair.tls.write(bytes(2 * RECORD))
    assert pair.above.heard == ["made", "pause"]
    assert 2 * RECORD < pair.tls.get_write_buffer_size() < 2 * RECORD + 100
    pair.client.transport.resume_reading()
    await turns()
    assert pair.above.heard == ["made", "pause", "resume"]
    assert pair.tls.get_write_buffer_size() == 0


async def test_while_reading_is_paused_nothing_is_handed_over(connect: Connect) -> None:
    pair = await opened(connect())
    pair.tls.pause_reading()
    pair.client.say(b"later")
    await turns()
    assert pair.above.heard == ["made"]
    pair.tls.resume_reading()
    await turns()
    assert pair.above.heard == ["made", b"later"]


class Odd:
    """TLS that counts reads, sends bytes by itself, and writes one record at a time."""

    reads = 0
    says = b""
    fault: type[BaseException] | None = None
    """Raised after the bytes that it sends by itself."""

    def __init__(self, tls: ssl.SSLObject) -> None:
        self._tls = tls

    @classmethod
    def _create(cls, *args: Any, **options: Any) -> "Odd":
        return cls(ssl.SSLObject._create(*args, **options))  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        if name == "_sslobj":  # or TlsTransport would bypass this wrapper
            raise AttributeError(name)
        return getattr(self._tls, name)

    def do_handshake(self) -> None:
        self._tls.do_handshake()
        self._speak()

    def read(self, *args: Any) -> Any:
        self.reads += 1
        self._speak()
        return self._tls.read(*args)

    def unwrap(self) -> None:
        self._speak()
        self._tls.unwrap()

    def write(self, data: bytes | memoryview) -> int:
        return self._tls.write(data[:RECORD])

    def _speak(self) -> None:
        for at in range(0, len(self.says), RECORD):
            self.write(self.says[at : at + RECORD])
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def odd(context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "sslobject_class", Odd)


@pytest.mark.usefixtures("odd")
async def test_a_peer_that_makes_tls_answer_and_reads_nothing_is_cut(connect: Connect) -> None:
    pair = await opened(connect())
    pair.client.transport.pause_reading()
    pair.tls._tls.says = bytes(512)  # type: ignore[attr-defined] # as its answer to a key update
    said = 0
    while "lost" not in pair.above.heard:
        assert pair.tls.get_write_buffer_size() <= ANSWERS_LIMIT
        pair.client.say(b"x")
        said += 1
        await turns(3)
    assert said > ANSWERS_LIMIT // 2048
    assert pair.above.heard.index("lags") < pair.above.heard.index("lost")


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize("when", ["handshake", "read", "goodbye"])
async def test_another_exception_leaves_nothing_in_the_shared_buffers(
    connect: Connect, buffers: SharedBuffers, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    pair = connect()
    if when != "handshake":
        await opened(pair)
    monkeypatch.setattr(Odd, "says", b"by itself")
    monkeypatch.setattr(Odd, "fault", MemoryError)
    if when == "handshake":
        with pytest.raises(ConnectionResetError):
            await pair.tls.opened()
    elif when == "read":
        pair.client.say(b"hello")
        await turns()
    else:
        with pytest.raises(MemoryError):
            pair.tls.close()
    assert buffers.incoming.pending == buffers.outgoing.pending == 0


@pytest.mark.usefixtures("odd")
async def test_bytes_of_several_records_are_sent_in_one_piece(connect: Connect) -> None:
    pair = await opened(connect())
    pair.tls.write(bytes(60 * KIB))
    await turns()
    assert len(pair.client.pieces) == 1
    assert pair.client.read() == bytes(60 * KIB)


@pytest.mark.usefixtures("odd")
async def test_the_protocol_is_not_paused_before_connection_made(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Odd, "says", bytes(100 * KIB))  # with the end of the handshake
    pair = connect()
    await pair.tls.opened()
    assert pair.above.heard == ["made"]


@pytest.mark.usefixtures("odd")
async def test_a_completed_record_is_read_at_once(connect: Connect) -> None:
    pair = await opened(connect())
    sealed = pair.client.sealed(bytes(RECORD))
    pair.tls.data_received(sealed[:-1])
    before = pair.tls._tls.reads  # type: ignore[attr-defined]
    pair.tls.data_received(sealed[-1:])
    assert pair.above.heard == ["made", bytes(RECORD)]
    assert pair.tls._tls.reads - before <= 3  # type: ignore[attr-defined]
