"""Framed sockets against a peer that knows nothing of Antiphon: four bytes of length, then the frame."""

import contextlib
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.client.blocking.framed import FramedSocket, FramedTlsSocket
from antiphon.data.certificate import Certificate, load_or_make
from antiphon.data.folder import DataFolder
from antiphon.errors import ConnectionLost, FrameTooLarge, NotText, SettingInvalid
from support.leaks import assert_takes_less
from support.raw import tls_context

LARGE = 8 * 1024 * 1024
"""Bytes in a frame that no socket takes at once."""
HUGE = struct.pack(">I", 0xFFFFFFFF)

Pair = tuple[FramedSocket, socket.socket]


def packed(*frames: bytes) -> bytes:
    """Return frames as Twisted's Int32StringReceiver and Erlang's {packet,4} write them."""
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Give a framed socket and its peer, which is a plain one; both with a time limit."""
    ours, peer = socket.socketpair()
    with FramedSocket.wrap(ours) as framed, peer:
        framed.settimeout(60)
        peer.settimeout(60)
        yield framed, peer


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return load_or_make(DataFolder.open(tmp_path_factory.mktemp("tls") / "data"), ["localhost"])


@contextlib.contextmanager
def secured(certificate: Certificate) -> Iterator[tuple[FramedTlsSocket, FramedTlsSocket]]:
    """Give both ends of a TLS connection, both framed, the client's first."""
    asking = tls_context()
    asking.sslsocket_class = certificate.context.sslsocket_class = FramedTlsSocket
    with (
        certificate.context.wrap_socket(FramedSocket(), server_side=True) as listener,
        ThreadPoolExecutor(1) as pool,
    ):
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(60)
        assert isinstance(listener, FramedTlsSocket)
        listener.frame_limit = LARGE
        accepted = pool.submit(listener.accept)
        plain = socket.create_connection(listener.getsockname(), timeout=60)
        with asking.wrap_socket(plain, server_hostname="localhost") as client, accepted.result()[0] as server:
            assert isinstance(client, FramedTlsSocket)
            client.frame_limit = LARGE
            server.settimeout(60)
            yield client, server


@contextlib.contextmanager
def both(kind: str, certificate: Certificate) -> Iterator[tuple[FramedSocket, FramedSocket]]:
    """Give two framed ends of a connection, over TCP's stand-in or over TLS."""
    if kind == "tls":
        with secured(certificate) as ends:
            yield ends
    else:
        left, right = (FramedSocket.wrap(sock) for sock in socket.socketpair())
        with left, right:
            for sock in (left, right):
                sock.settimeout(60)
                sock.frame_limit = LARGE
            yield left, right


KINDS = pytest.mark.parametrize("kind", ["plain", "tls"])


# --- the format ---------------------------------------------------------------------------------------------


def test_a_frame_is_its_length_in_four_bytes_and_itself(pair: Pair) -> None:
    framed, peer = pair
    framed.send_bytes(b"\x00\xff")
    framed.send_text("Привет")
    framed.send_text("")
    expected = b"\x00\x00\x00\x02\x00\xff" + b"\x00\x00\x00\x0c" + "Привет".encode() + b"\x00\x00\x00\x00"
    assert peer.recv(100) == expected


def test_frames_of_a_plain_peer_are_received_as_bytes_and_as_text(pair: Pair) -> None:
    framed, peer = pair
    peer.sendall(packed(b"\x00\xff", "Привет".encode(), b""))
    assert framed.receive_bytes() == b"\x00\xff"
    assert framed.receive_text() == "Привет"
    assert framed.receive_text() == ""


def test_a_stream_that_comes_byte_by_byte_gives_the_same_frames(pair: Pair) -> None:
    framed, peer = pair
    frames = [b"one", b"", "два".encode(), bytes(300)]
    framed.settimeout(0)
    received = []
    for byte in packed(*frames):
        peer.sendall(bytes([byte]))
        with contextlib.suppress(BlockingIOError):
            received.append(framed.receive_bytes())
    assert received == frames


def test_a_stream_that_is_cut_in_two_anywhere_gives_the_same_frames(pair: Pair) -> None:
    framed, peer = pair
    framed.settimeout(0)
    frames = [b"one", b"", "два".encode()]
    stream = packed(*frames)
    for cut in range(len(stream) + 1):
        received = []
        for part in (stream[:cut], stream[cut:]):
            peer.sendall(part)
            with contextlib.suppress(BlockingIOError):
                while True:
                    received.append(framed.receive_bytes())
        assert received == frames, cut


@given(st.lists(st.text(max_size=200), max_size=20))
def test_any_texts_arrive_as_they_were(texts: list[str]) -> None:
    left, right = (FramedSocket.wrap(sock) for sock in socket.socketpair())
    with left, right:
        for text in texts:
            left.send_text(text)
        left.shutdown(socket.SHUT_WR)
        assert list(iter(right.receive_text, None)) == texts


def test_bytes_that_are_no_text_are_told_and_the_next_frame_comes(pair: Pair) -> None:
    framed, peer = pair
    peer.sendall(packed(b"\xff", b"next"))
    with pytest.raises(NotText):
        framed.receive_text()
    assert framed.receive_text() == "next"


def test_text_that_utf8_cannot_hold_is_not_sent(pair: Pair) -> None:
    framed, peer = pair
    with pytest.raises(NotText):
        framed.send_text("\ud800")
    framed.send_text("next")
    assert peer.recv(100) == packed(b"next")


def test_bytes_as_text_and_text_as_bytes_are_told_with_what_takes_them(pair: Pair) -> None:
    framed, peer = pair
    mistaken: Any = framed
    with pytest.raises(TypeError, match="send_text takes str, not bytes; send_bytes takes bytes"):
        mistaken.send_text(b"x")
    with pytest.raises(TypeError, match="send_bytes takes bytes, not str; send_text takes str"):
        mistaken.send_bytes("x")
    framed.send_text("next")
    assert peer.recv(100) == packed(b"next")


# --- sockets without a stream -------------------------------------------------------------------------------

NO_STREAMS = pytest.mark.parametrize(
    ("family", "kind"),
    [
        (socket.AF_INET, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET),
    ],
    ids=["UDP", "Unix datagrams", "Unix packets"],
)


@NO_STREAMS
def test_a_socket_that_cuts_frames_is_refused(family: int, kind: socket.SocketKind) -> None:
    with pytest.raises(SettingInvalid, match=f"must be SOCK_STREAM, not {kind.name}"):
        FramedSocket(family, kind)


@NO_STREAMS
def test_such_a_socket_of_the_callers_stays_the_callers(family: int, kind: socket.SocketKind) -> None:
    with socket.socket(family, kind) as sock:
        with pytest.raises(SettingInvalid, match=f"must be SOCK_STREAM, not {kind.name}"):
            FramedSocket.wrap(sock)
        with pytest.raises(SettingInvalid):
            FramedSocket(fileno=sock.fileno())
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == kind


# --- the limit ----------------------------------------------------------------------------------------------


def test_a_header_that_claims_4_gib_is_refused_before_memory_is_taken(pair: Pair) -> None:
    framed, peer = pair
    peer.sendall(HUGE)

    def receive() -> None:
        with pytest.raises(FrameTooLarge, match="4294967295 bytes in one frame are too many: 1048576 are allowed"):
            framed.receive_bytes()

    assert_takes_less(receive, 64 * 1024)


def test_memory_is_taken_as_bytes_come_and_not_as_they_are_promised(pair: Pair) -> None:
    framed, peer = pair
    framed.frame_limit = 1 << 30
    framed.settimeout(0)
    peer.sendall(struct.pack(">I", 1 << 30) + b"little")

    def receive() -> None:
        with pytest.raises(BlockingIOError):
            framed.receive_bytes()

    assert_takes_less(receive, 256 * 1024)


def test_the_limit_passes_and_one_byte_more_does_not(pair: Pair) -> None:
    framed, peer = pair
    framed.frame_limit = 5
    peer.sendall(packed(b"12345", b"123456"))
    assert framed.receive_bytes() == b"12345"
    for _ in range(2):  # nothing behind it has a meaning
        with pytest.raises(FrameTooLarge):
            framed.receive_bytes()
    framed.send_bytes(b"12345")
    with pytest.raises(FrameTooLarge):
        framed.send_bytes(b"123456")
    assert peer.recv(100) == packed(b"12345")


# --- the end ------------------------------------------------------------------------------------------------


def test_the_end_behind_a_frame_is_none_and_no_error(pair: Pair) -> None:
    framed, peer = pair
    peer.sendall(packed(b"last"))
    peer.close()
    assert framed.receive_bytes() == b"last"
    assert framed.receive_bytes() is None
    assert framed.receive_text() is None


@pytest.mark.parametrize("part", [b"\x00", b"\x00\x00\x00", packed(b"whole")[:4], packed(b"whole")[:-1]])
def test_the_end_inside_a_frame_is_an_error(pair: Pair, part: bytes) -> None:
    framed, peer = pair
    peer.sendall(part)
    peer.close()
    with pytest.raises(ConnectionLost):
        framed.receive_bytes()


def test_the_peer_is_named_where_it_has_an_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with FramedSocket.wrap(socket.create_connection(("127.0.0.1", port))) as framed:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"\x00")
                accepted.shutdown(socket.SHUT_WR)
                with pytest.raises(ConnectionLost, match=f"127.0.0.1:{port}"):
                    framed.receive_bytes()


# --- time ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def dripping(act: Callable[[], object]) -> Iterator[threading.Event]:
    """Do `act` again and again, with pauses, until the event is set."""
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.05):
            act()

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


@KINDS
def test_a_peer_that_drips_a_frame_does_not_extend_the_time(kind: str, certificate: Certificate) -> None:
    with both(kind, certificate) as (framed, peer):
        framed.settimeout(0.3)
        peer.sendall(struct.pack(">I", 1000))
        dripped = []
        with (
            dripping(lambda: dripped.append(peer.send(b"."))),  # a frame of 50 seconds
            pytest.raises(TimeoutError),
        ):
            framed.receive_bytes()
        assert framed.gettimeout() == 0.3
        peer.sendall(b"." * (1000 - len(dripped)))
        framed.settimeout(60)
        assert framed.receive_bytes() == b"." * 1000, "what had come was kept"


@KINDS
def test_a_peer_that_takes_a_frame_in_drips_does_not_extend_the_time(kind: str, certificate: Certificate) -> None:
    with both(kind, certificate) as (framed, peer):
        framed.settimeout(0.3)
        with dripping(lambda: peer.recv(1024)), pytest.raises(TimeoutError):
            framed.send_bytes(bytes(LARGE))
        assert framed.gettimeout() == 0.3
        for _ in range(2):  # half a frame is on its way
            with pytest.raises(ConnectionLost):
                framed.send_bytes(b"next")


@KINDS
def test_a_frame_that_no_socket_takes_at_once_arrives_whole(kind: str, certificate: Certificate) -> None:
    data = bytes(range(256)) * (LARGE // 256)
    with both(kind, certificate) as (framed, peer), ThreadPoolExecutor(1) as pool:
        sending = pool.submit(framed.send_bytes, data)
        assert peer.receive_bytes() == data
        sending.result()


def test_signals_interrupt_neither_sending_nor_receiving(pair: Pair) -> None:
    framed, peer = pair
    framed.frame_limit = LARGE
    came: SimpleQueue[int] = SimpleQueue()
    before = signal.signal(signal.SIGUSR1, lambda number, _: came.put(number))
    main = threading.get_ident()

    def echo() -> None:
        came.get(timeout=60)  # while the main thread waits for us to take what it sends
        data = b""
        while len(data) < LARGE + 4:
            data += peer.recv(LARGE)
        while not came.empty():
            came.get()
        came.get(timeout=60)  # and while it waits for the answer
        peer.sendall(data)

    try:
        with dripping(lambda: signal.pthread_kill(main, signal.SIGUSR1)), ThreadPoolExecutor(1) as pool:
            echoing = pool.submit(echo)
            framed.send_bytes(bytes(LARGE))
            assert framed.receive_bytes() == bytes(LARGE)
            echoing.result()
    finally:
        signal.signal(signal.SIGUSR1, before)


# --- both at once -------------------------------------------------------------------------------------------


@KINDS
def test_two_sides_that_send_at_once_do_not_wait_for_each_other(kind: str, certificate: Certificate) -> None:
    with both(kind, certificate) as (framed, peer), ThreadPoolExecutor(1) as pool:

        def send_and_then_read() -> bytes | None:
            peer.send_bytes(b"1" * LARGE)
            peer.send_bytes(b"2")
            return peer.receive_bytes()

        talking = pool.submit(send_and_then_read)
        came: list[bytes] = []
        framed.send_bytes(b"0" * LARGE, meanwhile=came.append)
        assert talking.result() == b"0" * LARGE
        while len(came) < 2:
            came.append(framed.receive_bytes() or b"")
        assert came == [b"1" * LARGE, b"2"]
        assert framed.gettimeout() == 60


def test_a_peer_that_neither_reads_nor_writes_ends_the_wait_in_time(pair: Pair) -> None:
    framed, _ = pair
    framed.frame_limit = LARGE
    framed.settimeout(0.2)
    with pytest.raises(TimeoutError):
        framed.send_bytes(bytes(LARGE), meanwhile=print)


def test_a_peer_that_closes_while_we_send_is_lost(pair: Pair) -> None:
    framed, peer = pair
    framed.frame_limit = LARGE
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionLost):
        framed.send_bytes(bytes(LARGE), meanwhile=print)


# --- it is a socket -----------------------------------------------------------------------------------------


def test_a_listening_framed_socket_accepts_framed_sockets_with_its_limit() -> None:
    with FramedSocket() as listener, FramedSocket() as asking:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(60)
        listener.frame_limit = 7
        asking.connect(listener.getsockname())
        accepted, address = listener.accept()
        with accepted:
            assert type(accepted) is FramedSocket
            assert (address, accepted.frame_limit) == (asking.getsockname(), 7)
            assert accepted.gettimeout() is None, "as of socket.socket"
            asking.send_text("hello")
            assert accepted.receive_text() == "hello"


def test_a_duplicate_is_framed_and_has_the_limit(pair: Pair) -> None:
    framed, peer = pair
    framed.frame_limit = 7
    with framed.dup() as twin:
        assert (type(twin), twin.frame_limit, twin.gettimeout()) == (FramedSocket, 7, 60)
        twin.send_text("hello")
        assert peer.recv(100) == packed(b"hello")


def test_a_socket_that_was_wrapped_or_detached_is_somebody_elses() -> None:
    ours, peer = socket.socketpair()
    ours.settimeout(3)
    with peer:
        framed = FramedSocket.wrap(ours)
        assert (ours.fileno(), framed.gettimeout(), framed.binding) == (-1, 3, None)
        with socket.socket(fileno=framed.detach()) as plain:
            plain.sendall(b"x")
        assert peer.recv(100) == b"x"


# --- TLS ----------------------------------------------------------------------------------------------------


def test_over_tls_it_is_an_ssl_socket_that_knows_its_channel_binding(certificate: Certificate) -> None:
    with secured(certificate) as (client, server):
        assert isinstance(client, ssl.SSLSocket)
        assert (client.binding, client.fingerprint) == (certificate.binding, certificate.fingerprint)
        assert server.frame_limit == LARGE
        with pytest.raises(ValueError):  # it has been shown no certificate
            _ = server.binding
        client.send_text("Привет")
        assert server.receive_text() == "Привет"
        server.send_bytes(b"\x00\xff")
        assert client.receive_bytes() == b"\x00\xff"
        server.close()
        assert client.receive_bytes() is None


def test_a_tls_stream_that_breaks_inside_a_frame_is_an_error(certificate: Certificate) -> None:
    with secured(certificate) as (client, server):
        server.sendall(packed(b"whole")[:-1])
        server.close()
        with pytest.raises(ConnectionLost):
            client.receive_bytes()


def test_the_names_are_public() -> None:
    import antiphon.blocking

    assert antiphon.blocking.FramedSocket is FramedSocket
    assert Path(antiphon.blocking.__file__ or "").name == "blocking.py"
