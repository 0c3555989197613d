"""The way between two nodes under attack: both ends are real, over TLS on loopback, and one of them is hostile."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from antiphon.identity import node_proof
from antiphon.identity.keys import KeyRing
from antiphon.identity.node_proof import Answer, Challenge, proof_keys
from antiphon.observe.repeats import Repeats
from antiphon.server.home.fence import Fence
from antiphon.server.nodes import listener as node_listener
from antiphon.server.nodes.certificate import NodeCertificate, dialing_context, make_certificate
from antiphon.server.nodes.dialer import AT_ONCE, NodeDialer
from antiphon.server.nodes.ends import NotProved
from antiphon.server.nodes.listener import NodeListener, NodePlace, listen
from antiphon.server.relay import link
from antiphon.store.contracts import ProcessRecord
from antiphon.transport.tls import TlsTransport
from server.relay.test_link import End
from support.auth import RecordingLog
from support.stored import process

HOME, NEAR = "aa" * 8, "bb" * 8
PORTS = ("127.0.0.1", 22000, 22999)
RING = KeyRing.generate(os.urandom)
KEYS = proof_keys(RING)
ANOTHER = proof_keys(KeyRing.generate(os.urandom))
CERTIFICATE = make_certificate()
SECONDS = 60


class Served(asyncio.Protocol):
    """What serves a proved channel: it echoes."""

    def __init__(self) -> None:
        self.came = bytearray()
        self.made: asyncio.Future[TlsTransport] = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made.set_result(transport)

    def received(self, buffer: bytearray, size: int) -> None:
        self.came += buffer[:size]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@dataclass
class Home:
    """A process that lets other nodes in."""

    listener: NodeListener
    log: RecordingLog
    record: ProcessRecord
    port: int
    served: list[Served] = field(default_factory=list)

    async def refused(self, why: str) -> None:
        """Wait until a peer is refused; nobody was let in."""
        async with asyncio.timeout(SECONDS):
            while not (records := self.log.of("relay-refused")):
                await asyncio.sleep(0.01)
        assert [record.fields["why"] for record in records] == [why]
        assert self.served == []
        async with asyncio.timeout(SECONDS):
            while self.listener.unproved:
                await asyncio.sleep(0.01)


def dialer(keys: dict[int, bytes] = KEYS) -> NodeDialer:
    return NodeDialer(NEAR, lambda: keys, Fence(), Repeats(RecordingLog()))


@contextlib.asynccontextmanager
async def listening(keys: dict[int, bytes] = KEYS, shown: NodeCertificate = CERTIFICATE) -> AsyncIterator[Home]:
    sock, address = listen(*PORTS)
    log = RecordingLog()

    def begin(far: str) -> Served:
        assert far == NEAR
        one.served.append(Served())
        return one.served[-1]

    repeats = Repeats(log)
    place = NodePlace(sock, address, shown)
    taking = NodeListener(place, HOME, lambda: keys, begin, fence=Fence(), log=log, repeats=repeats)
    record = process(HOME, node_address=address, certificate=shown.digest.hex())
    one = Home(taking, log, record, sock.getsockname()[1])
    taking.start()
    try:
        yield one
    finally:
        for each in one.served:
            each.transport.abort()
        await taking.close()
        repeats.finish()
        sock.close()


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with listening() as one:
        yield one


@contextlib.asynccontextmanager
async def channel(home: Home) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect as an attacker does: over TLS, and without looking at the certificate."""
    reader, writer = await asyncio.open_connection("127.0.0.1", home.port, ssl=dialing_context())
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def challenged(reader: asyncio.StreamReader) -> Challenge:
    data = b""
    while True:
        data += await reader.read(1)
        if found := Challenge.decode(data):
            return found[0]


async def closed(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the home has closed."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        async with asyncio.timeout(SECONDS):
            return await reader.read()
    return b""


# --- who holds the ring --------------------------------------------------------------------------------------


async def test_two_processes_of_one_ring_are_joined(home: Home) -> None:
    near = Served()
    await dialer().connect(home.record, near)
    near.transport.write(b"to the home")
    home.served[0].transport.write(b"back" * 10_000)
    async with asyncio.timeout(SECONDS):
        while home.served[0].came != b"to the home" or len(near.came) < 40_000:
            await asyncio.sleep(0.01)
    assert near.came == b"back" * 10_000
    assert home.listener.unproved == 0
    near.transport.close()
    async with asyncio.timeout(SECONDS):
        await home.served[0].lost.wait()
    assert home.log.of("relay-refused") == []


async def test_a_ring_with_a_new_key_and_one_without_it_still_know_each_other(home: Home) -> None:
    near = Served()
    await dialer(proof_keys(RING.with_new_key(os.urandom))).connect(home.record, near)
    near.transport.abort()


# --- attacks on who listens ----------------------------------------------------------------------------------


async def test_who_says_nothing_is_refused_in_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_listener, "PROOF_SECONDS", 0.2)
    async with channel(home) as (reader, _):
        await challenged(reader)
        assert await closed(reader) == b""
    await home.refused("late")


async def test_slow_bytes_extend_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_listener, "PROOF_SECONDS", 0.3)
    async with channel(home) as (reader, writer):
        await challenged(reader)
        with contextlib.suppress(OSError):
            while not reader.at_eof():
                writer.write(b"\x01")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await reader.read(1)
    await home.refused("late")


async def test_who_does_not_even_begin_tls_is_refused_in_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_listener, "PROOF_SECONDS", 0.2)
    _, writer = await asyncio.open_connection("127.0.0.1", home.port)
    await home.refused("late")
    writer.close()


Forged = Callable[[Challenge], bytes]


def of_another_ring(challenge: Challenge) -> bytes:
    said = node_proof.answer(challenge, ANOTHER, bytes.fromhex(NEAR), os.urandom(32), CERTIFICATE.digest)
    assert said is not None
    return said.encode()


def of_another_channel(challenge: Challenge) -> bytes:
    """Return what a dialer says that was lured to the attacker's own certificate."""
    said = node_proof.answer(challenge, KEYS, bytes.fromhex(NEAR), os.urandom(32), make_certificate().digest)
    assert said is not None
    return said.encode()


def replayed(_: Challenge) -> bytes:
    """Return an answer to an earlier challenge of the same listener."""
    earlier = Challenge.of(bytes.fromhex(HOME), os.urandom(32), KEYS)
    said = node_proof.answer(earlier, KEYS, bytes.fromhex(NEAR), os.urandom(32), CERTIFICATE.digest)
    assert said is not None
    return said.encode()


def reflected(challenge: Challenge) -> bytes:
    """Return what the listener itself would say."""
    said = node_proof.answer(challenge, KEYS, bytes.fromhex(HOME), challenge.nonce, CERTIFICATE.digest)
    assert said is not None
    proof = node_proof.confirmation(challenge, said, KEYS, CERTIFICATE.digest)
    return Answer(said.dialer, said.nonce, said.number, proof).encode()


def of_an_unknown_key(challenge: Challenge) -> bytes:
    return Answer(bytes.fromhex(NEAR), os.urandom(32), 7, bytes(32)).encode()


def with_more_behind_it(challenge: Challenge) -> bytes:
    said = node_proof.answer(challenge, KEYS, bytes.fromhex(NEAR), os.urandom(32), CERTIFICATE.digest)
    assert said is not None
    return said.encode() + b"\x01\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        (lambda _: bytes(77), "malformed"),
        (lambda _: os.urandom(100_000), "malformed"),
        (of_another_ring, "wrong-proof"),
        (of_another_channel, "wrong-proof"),
        (replayed, "wrong-proof"),
        (reflected, "wrong-proof"),
        (of_an_unknown_key, "unknown-key"),
        (with_more_behind_it, "malformed"),
    ],
)
async def test_a_proof_that_is_none_is_refused_and_answered_with_nothing(
    home: Home, forged: Forged, why: str
) -> None:
    async with channel(home) as (reader, writer):
        writer.write(forged(await challenged(reader)))
        assert await closed(reader) == b""
    await home.refused(why)


async def test_what_speaks_no_tls_is_refused(home: Home) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await closed(reader)
    writer.close()
    await home.refused("no-tls")


async def test_who_goes_away_before_it_has_proved_leaves_nothing(home: Home) -> None:
    async with channel(home) as (reader, _):
        await challenged(reader)
    await home.refused("closed")


async def test_a_flood_without_proof_is_bounded_and_keeps_nobody_else_out(home: Home) -> None:
    place = ("127.0.0.1", home.port)
    idle = [socket.create_connection(place, source_address=("127.0.0.2", 0)) for _ in range(300)]
    async with asyncio.timeout(SECONDS):
        while not home.log.of("relay-refused"):
            await asyncio.sleep(0.01)
    near = Served()
    await dialer().connect(home.record, near)
    assert home.listener.unproved == node_listener.UNPROVED_SOURCE
    near.transport.abort()
    for each in idle:
        each.close()
    async with asyncio.timeout(SECONDS):
        while home.listener.unproved:
            await asyncio.sleep(0.01)
    whys = [record.fields["why"] for record in home.log.of("relay-refused")]
    assert (whys.count("too-many"), set(whys)) == (1, {"too-many", "closed"}), "the rest is counted"


async def test_one_process_does_not_flood_another(home: Home) -> None:
    """Of many relays at once none is dropped: they wait for each other."""
    calling, served = dialer(), [Served() for _ in range(200)]
    await asyncio.gather(*(calling.connect(home.record, each) for each in served))
    assert home.log.of("relay-refused") == []
    for each in served:
        each.transport.abort()


async def test_of_relays_to_a_process_that_is_silent_few_wait_there_and_the_others_here() -> None:
    there: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: there.append(writer), "127.0.0.1", 0)
    silent = process(HOME, node_address=f"127.0.0.1:{server.sockets[0].getsockname()[1]}", certificate="00" * 32)
    calling = dialer()
    waiting = [asyncio.create_task(calling.connect(silent, Served())) for _ in range(3 * AT_ONCE)]
    async with asyncio.timeout(SECONDS):
        while len(there) < AT_ONCE:
            await asyncio.sleep(0.01)
        there.pop().transport.abort()  # one makes way for another one
        while len(there) < AT_ONCE:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert len(there) == AT_ONCE
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for writer in there:
        writer.transport.abort()
    server.close()
    await server.wait_closed()


# --- attacks on who connects ---------------------------------------------------------------------------------


async def test_a_machine_in_the_middle_with_its_own_certificate_is_told_nothing(home: Home) -> None:
    middle = make_certificate()
    heard = bytearray()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with channel(home) as (back, forth):  # it passes everything on
            writer.write((await challenged(back)).encode())
            heard.extend(await closed(reader))
            forth.write(bytes(heard))
        writer.close()

    server = await asyncio.start_server(between, "127.0.0.1", 0, ssl=middle.context)
    port = server.sockets[0].getsockname()[1]
    lured = process(HOME, node_address=f"127.0.0.1:{port}", certificate=home.record.certificate)
    with pytest.raises(NotProved, match="another-certificate"):
        await dialer().connect(lured, Served())
    await home.refused("closed")
    assert heard == b""
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("keys", "why"), [({1: bytes(32)}, "closed"), ({9: KEYS[1]}, "unknown-key")], ids=["guessed", "another"]
)
async def test_a_listener_without_the_ring_is_found_out(keys: dict[int, bytes], why: str) -> None:
    async with listening(keys) as impostor:
        with pytest.raises(NotProved, match=why):
            await dialer().connect(impostor.record, Served())
        assert impostor.served == []


@pytest.mark.parametrize(
    ("confirms", "why"),
    [
        (lambda said: bytes(32), "wrong-proof"),
        (lambda said: said.proof, "wrong-proof"),
        (lambda said: bytes(33), "wrong-proof"),
        (lambda said: os.urandom(10_000), "wrong-proof"),
        (lambda said: b"", "closed"),
    ],
)
async def test_a_listener_that_does_not_confirm_is_sent_nothing(
    confirms: Callable[[Answer], bytes], why: str
) -> None:
    said: list[Answer] = []

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(Challenge.of(bytes.fromhex(HOME), os.urandom(32), KEYS).encode())
        said.append(Answer.decode(await reader.readexactly(node_proof.ANSWER_SIZE)))
        writer.write(confirms(said[0]))
        if confirms(said[0]):
            assert await closed(reader) == b""
        writer.close()

    server = await asyncio.start_server(impostor, "127.0.0.1", 0, ssl=CERTIFICATE.context)
    port = server.sockets[0].getsockname()[1]
    record = process(HOME, node_address=f"127.0.0.1:{port}", certificate=CERTIFICATE.digest.hex())
    near = Served()
    with pytest.raises(NotProved, match=why):
        await dialer().connect(record, near)
    assert not near.made.done()
    assert said
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("said", [b"\x02", b"\x01\x02" + bytes(20_000), b"HTTP/1.1 400"])
async def test_a_listener_that_says_something_else_is_left(said: bytes) -> None:
    async def stranger(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        with contextlib.suppress(OSError):
            await writer.drain()

    server = await asyncio.start_server(stranger, "127.0.0.1", 0, ssl=CERTIFICATE.context)
    port = server.sockets[0].getsockname()[1]
    record = process(HOME, node_address=f"127.0.0.1:{port}", certificate=CERTIFICATE.digest.hex())
    with pytest.raises(NotProved, match="malformed"):
        await dialer().connect(record, Served())
    server.close()
    await server.wait_closed()


async def test_another_process_at_the_same_address_is_not_taken_for_it(home: Home) -> None:
    other = process("cc" * 8, node_address=home.record.node_address, certificate=home.record.certificate)
    with pytest.raises(NotProved, match="another-process"):
        await dialer().connect(other, Served())
    await home.refused("closed")


# --- the end -------------------------------------------------------------------------------------------------


async def test_a_link_is_closed_at_last_though_the_far_end_does_not_take_part(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is frozen does not answer the end of TLS."""
    monkeypatch.setattr(link, "CLOSE_SECONDS", 0.1)
    async with channel(home) as (reader, writer):
        said = node_proof.answer(
            await challenged(reader), KEYS, bytes.fromhex(NEAR), os.urandom(32), CERTIFICATE.digest
        )
        assert said is not None
        writer.write(said.encode())
        await reader.readexactly(node_proof.PROOF_SIZE)
        cast("asyncio.ReadTransport", writer.transport).pause_reading()
        served, end = home.served[0], End()
        served.transport.set_protocol(end.link)
        end.link.connection_made(served.transport)
        end.link.close()
        await end.until(lambda: end.is_lost)
        writer.transport.abort()
