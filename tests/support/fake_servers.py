"""Fake servers: peers that are not Antiphon, or that lie."""

import asyncio
import contextlib
import secrets
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from antiphon.address import Address
from antiphon.data.certificate import Certificate, load_or_make
from antiphon.data.folder import DataFolder
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, mechanism_for
from antiphon.wire.bodies import Body, Challenge, Hello, Lifetimes, Limits, Scram, Welcome
from antiphon.wire.conversation import Control, ServerConversation
from antiphon.wire.frames import Frame
from antiphon.wire.kinds import Kind

PATIENCE_SECONDS = 60
"""Time limit in seconds for a client that has stopped sending."""


class Peer:
    """The fake's end of one connection; `received` holds all bytes that the client has sent."""

    def __init__(self, sock: socket.socket, binding: bytes | None) -> None:
        """Use the connection `sock`."""
        self.sock = sock
        self.conversation = ServerConversation()
        self.mechanism = mechanism_for(binding)
        self.received = b""

    def hello(self, **fields: object) -> None:
        """Send the HELLO of an honest server, except for `fields`."""
        honest: dict[str, object] = {
            "versions": [1],
            "product": "fake/1",
            "access": "authenticate",
            "mechanisms": [self.mechanism],
            "features": [],
            "limits": Limits(message=1024, heartbeat=20.0, silence=40.0),
            "registration": True,
            "scram": Scram(salt_length=SALT_SIZE, iterations=ITERATIONS),
            "password_minimum": 15,
        }
        self.send(self.conversation.hello(Hello(**(honest | fields))))  # type: ignore[arg-type]

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def next(self) -> Control | Frame | None:
        """Return the client's next frame, or None at the end of the connection."""
        while (event := self.conversation.next()) is None:
            data = self._read()
            if not data:
                return None
            self.conversation.feed(data)
        assert isinstance(event, Control | Frame)
        return event

    def _read(self) -> bytes:
        try:
            data = self.sock.recv(65536)
        except OSError:  # an aborted connection has ended too
            return b""
        self.received += data
        return data

    def control(self) -> Control:
        """Return the client's next control frame."""
        event = self.next()
        assert isinstance(event, Control), event
        return event

    def reply(self, kind: Kind, body: Body) -> None:
        """Answer the client's next control frame."""
        self.send(self.conversation.reply(kind, self.control().id, body))

    def challenge(self, iterations: int = ITERATIONS) -> None:
        """Answer AUTHENTICATE with a challenge that has an invented salt."""
        control = self.control()
        nonce = str(getattr(control.body, "data", b"").decode()).rpartition("r=")[2]
        data = f"r={nonce}{secrets.token_hex(12)},s=c2FsdHNhbHRzYWx0c2FsdA==,i={iterations}"
        self.send(self.conversation.reply(Kind.CHALLENGE, control.id, Challenge(data=data.encode())))

    def welcome(self, data: bytes | None = b"v=" + b"A" * 43 + b"=", greeting: str = "Hello!") -> None:
        """Send WELCOME with a wrong server signature; a resumed session keeps its token."""
        control = self.control()
        token = None if control.kind == Kind.RESUME else bytes(16)
        self.send(self.conversation.welcome(control.id, welcome(data, greeting, token), bytes(16)))

    def rest(self) -> bytes:
        """Return the bytes that the client sends until it closes the connection."""
        before = len(self.received)
        while self._read():
            pass
        return self.received[before:]


def welcome(data: bytes | None, greeting: str, token: bytes | None = bytes(16)) -> Welcome:
    """Return a WELCOME body."""
    return Welcome(
        name="ann",
        first=False,
        last_visit=None,
        last_address=None,
        refusals=0,
        token=token,
        lifetimes=Lifetimes(unheld=1800, total=86400),
        must_change=False,
        greeting=greeting,
        data=data,
    )


class Fake:
    """The address of a fake server, and its connections."""

    def __init__(self, address: Address) -> None:
        """Start without connections."""
        self.address = address
        self.peers: list[Peer] = []


@contextlib.contextmanager
def fake(
    play: Callable[[Peer], None], folder: Path | None = None, certificate: Certificate | None = None
) -> Iterator[Fake]:
    """Listen on a free port of 127.0.0.1 and `play` each connection on a thread.

    The connections use TLS if a `folder` (with or without a certificate) or a `certificate` is given. An exception
    in `play` fails the test when the block ends.
    """
    if folder is not None:
        certificate = load_or_make(DataFolder.open(folder), ["localhost"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        fingerprint = certificate.fingerprint if certificate else None
        scheme = "tls" if certificate else "tcp"
        there = Fake(Address(scheme, "127.0.0.1", port, None, fingerprint))  # type: ignore[arg-type]

        def meet(sock: socket.socket) -> None:
            with contextlib.suppress(ssl.SSLError, ConnectionError), sock:
                sock.settimeout(PATIENCE_SECONDS)
                channel = certificate.context.wrap_socket(sock, server_side=True) if certificate else sock
                with channel:
                    peer = Peer(channel, certificate.binding if certificate else None)
                    there.peers.append(peer)
                    play(peer)

        def serve() -> None:
            with (
                ThreadPoolExecutor() as pool,
                contextlib.suppress(OSError),
            ):  # the listener is closed at the end of the block
                while True:
                    meetings.append(pool.submit(meet, listener.accept()[0]))

        meetings: list[Future[None]] = []
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield there
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            thread.join()
    for meeting in meetings:
        meeting.result()


@contextlib.asynccontextmanager
async def faked(play: Callable[[Peer], None], certificate: Certificate | None = None) -> AsyncIterator[Fake]:
    """Run `fake` for a client in this event loop, without blocking the loop when the fake ends."""
    context = fake(play, certificate=certificate)
    try:
        yield context.__enter__()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
