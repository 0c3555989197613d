"""A client that does only what a test tells it to: blocking sockets and the protocol core, nothing else.

For attacks and for what no honest client would send. `RawClient.sign_in` is the honest part of one.
"""

import secrets
import select
import socket
import ssl
from base64 import b64encode
from types import TracebackType
from typing import Self

from antiphon.address import Address
from antiphon.identity.certificates import binding_of
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ClientExchange, make_verifier, mechanism_for
from antiphon.wire import bodies
from antiphon.wire.bodies import (
    Authenticate,
    Body,
    Challenge,
    ChallengeAnswer,
    Credential,
    Error,
    Hello,
    Register,
    Resume,
    Welcome,
)
from antiphon.wire.conversation import ClientConversation, Control, Event
from antiphon.wire.frames import Frame, Payload, encode_message
from antiphon.wire.kinds import Kind


def tls_context() -> ssl.SSLContext:
    """Return a client context that trusts anybody; tests compare what they need to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def dial(address: Address, timeout: float = 10, source: str = "") -> socket.socket:
    """Return a bare TCP connection to `address`, from the address `source` of this machine where one is given."""
    host = {"localhost": "127.0.0.1"}.get(address.host, address.host)
    return socket.create_connection((host, address.port), timeout, (source, 0) if source else None)


_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Closed(Exception):
    """The server has closed the connection."""


class RawClient:
    """One connection, step by step. `next()` returns events; `expect(kind)` the next one, which must be of it."""

    def __init__(self, address: Address, timeout: float = 10, source: str = "") -> None:
        """Connect, over TLS if the address says so; nothing is read yet."""
        self.sock: socket.socket = dial(address, timeout, source)
        self.binding: bytes | None = None
        if address.scheme == "tls":
            tls = tls_context().wrap_socket(self.sock)
            self.binding = binding_of(tls.getpeercert(binary_form=True) or b"")
            self.sock = tls
        self.conversation = ClientConversation()
        self._outbox = memoryview(b"")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def post(self, data: bytes) -> None:
        """Have bytes sent while `next` waits: one thread does both, as TLS wants it."""
        self._outbox = memoryview(bytes(self._outbox) + data)

    def next(self) -> Event:
        """Return the next event.

        Raises:
            Closed: the server has closed the connection.
        """
        while (event := self.conversation.next()) is None:
            try:
                data = self._exchange() if self._outbox else self.sock.recv(65536)
            except (ConnectionError, ssl.SSLError) as error:
                raise Closed from error
            if not data:
                raise Closed
            self.conversation.feed(data)
        return event

    def _exchange(self) -> bytes:
        """Send what is posted until something comes; what cannot be sent any more is dropped, to read why."""
        timeout = self.sock.gettimeout()
        self.sock.setblocking(False)
        try:
            while self._outbox:
                try:
                    self._outbox = self._outbox[self.sock.send(self._outbox) :]
                except _NOT_NOW:
                    pass
                except OSError:
                    self._outbox = memoryview(b"")
                try:
                    return self.sock.recv(65536)
                except _NOT_NOW:
                    ready = select.select([self.sock], [self.sock] if self._outbox else [], [], timeout)
                    if not any(ready):
                        raise TimeoutError from None
        finally:
            self.sock.settimeout(timeout)
        return self.sock.recv(65536)

    def body(self) -> Body:
        """Return the body of the next control frame; heartbeats are passed over."""
        while True:
            event = self.next()
            if isinstance(event, Control):
                return event.body
            assert isinstance(event, Frame), event
            assert event.kind == Kind.HEARTBEAT, event

    def hello(self) -> Hello:
        """Return HELLO."""
        body = self.body()
        assert isinstance(body, Hello), body
        return body

    def error(self) -> Error:
        """Return the next control body, which must be an ERROR."""
        body = self.body()
        assert isinstance(body, Error), body
        return body

    def ended_with(self) -> str:
        """Return the code of the ERROR that ends the connection, and see that it does end."""
        error = self.error()
        self.closed()
        return error.code

    def closed(self) -> None:
        """Wait for the end of the connection; heartbeats and anything else before it are passed over."""
        try:
            while True:
                self.next()
        except Closed:
            self.sock.close()

    def request(self, kind: Kind, body: Body, token: bytes = b"") -> Body:
        """Send a control frame of the entry; return what answers."""
        _, data = self.conversation.resume(token, body) if token else self.conversation.request(kind, body)
        self.send(data)
        return self.body()

    def register(self, name: str, password: str, hello: Hello) -> Body:
        """Become known."""
        salt = secrets.token_bytes(hello.scram.salt_length)
        verifier = make_verifier(Password(password), salt, hello.scram.iterations)
        credential = Credential(
            salt=salt,
            iterations=verifier.iterations,
            stored_key=verifier.stored_key,
            server_key=verifier.server_key,
        )
        return self.request(Kind.REGISTER, Register(name=name, credential=credential))

    def authenticate(self, name: str, password: str) -> Body:
        """Do a whole exchange; return WELCOME or what was said instead."""
        mechanism = mechanism_for(self.binding)
        nonce = b64encode(secrets.token_bytes(24)).decode()
        exchange = ClientExchange(mechanism, name, Password(password), self.binding, nonce)
        challenge = self.request(Kind.AUTHENTICATE, Authenticate(mechanism=mechanism, data=exchange.first()))
        if not isinstance(challenge, Challenge):
            return challenge
        answer = self.request(Kind.CHALLENGE, ChallengeAnswer(data=exchange.answer(challenge.data)))
        if isinstance(answer, Welcome):
            exchange.verify(answer.data or b"", "the test's server")
        return answer

    def sign_in(self, name: str, password: str, *, new: bool = False) -> Welcome:
        """Greet, register if `new`, authenticate; the session is open after this."""
        hello = self.hello()
        if new:
            registered = self.register(name, password, hello)
            assert isinstance(registered, bodies.Identified), registered
        welcome = self.authenticate(name, password)
        assert isinstance(welcome, Welcome), welcome
        return welcome

    def resume(self, token: bytes, received: int | None = None) -> Body:
        """Take a session up on this connection, after HELLO; `received` says how many of its frames have come."""
        return self.request(Kind.RESUME, Resume(received=received), token)

    @property
    def token(self) -> bytes:
        """The session's token."""
        return self.conversation.token

    def ask(self, message: Payload) -> Payload | None:
        """Send a message and return its answer."""
        id, data = self.conversation.message(message)
        self.send(data)
        return self.answer(id)

    def answer(self, id: int) -> Payload | None:
        """Return the answer to `id`, which must come next but for heartbeats."""
        while True:
            event = self.next()
            assert isinstance(event, Frame), event
            if event.kind != Kind.HEARTBEAT:
                assert event.id == id, event
                return event.payload if event.kind == Kind.MESSAGE else None

    def message_with(self, token: bytes, message: Payload) -> int:
        """Send a message that carries `token`, whatever it is; return its id."""
        id = self.conversation.next_id()
        self.send(encode_message(id, message, token=token))
        return id

    def leave(self) -> None:
        """Say goodbye and see the connection end."""
        self.send(self.conversation.bye("left"))
        self.closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()
