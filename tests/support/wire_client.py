"""A client that does only what a test tells it to, without its transport: the steps of the protocol.

`raw.RawClient` has a socket under it, `joined.JoinedClient` a connection in memory.
"""

import secrets
from abc import ABC, abstractmethod
from base64 import b64encode
from types import TracebackType
from typing import Any, Self

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


class Closed(Exception):
    """The server has closed the connection."""


class WireClient(ABC):
    """One connection, step by step; `next()` returns the next event."""

    def __init__(self) -> None:
        self.conversation = ClientConversation()
        self.binding: bytes | None = None

    # --- the transport --------------------------------------------------------------------------------------

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send bytes as they are."""

    @abstractmethod
    def post(self, data: bytes) -> None:
        """Queue bytes that are sent while `next` waits."""

    @abstractmethod
    def read(self) -> bytes:
        """Return the next bytes of the server.

        Raises:
            Closed: the server has closed the connection.
        """

    @abstractmethod
    def half_close(self) -> None:
        """Send no more; read on."""

    @abstractmethod
    def cut(self) -> None:
        """Break the connection off with a reset: on plain TCP a mere close looks like a half-close."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    # --- steps ----------------------------------------------------------------------------------------------

    def next(self) -> Event:
        """Return the next event.

        Raises:
            Closed: the server has closed the connection.
        """
        while (event := self.conversation.next()) is None:
            self.conversation.feed(self.read())
        return event

    def body(self) -> Body:
        """Return the body of the next control frame; skip heartbeats."""
        while True:
            event = self.next()
            if isinstance(event, Control):
                return event.body
            assert isinstance(event, Frame), event
            assert event.kind == Kind.HEARTBEAT, event

    def hello(self) -> Hello:
        """Read HELLO and return it."""
        body = self.body()
        assert isinstance(body, Hello), body
        return body

    def error(self) -> Error:
        """Return the next control body, which must be an ERROR."""
        body = self.body()
        assert isinstance(body, Error), body
        return body

    def ended_with(self) -> str:
        """Return the code of the next ERROR, which must end the connection."""
        error = self.error()
        self.closed()
        return error.code

    def closed(self) -> None:
        """Wait for the end of the connection; ignore all frames before it."""
        try:
            while True:
                self.next()
        except Closed:
            self.close()

    def request(self, kind: Kind, body: Body, token: bytes = b"") -> Body:
        """Send a control frame of the sign-in and return the body that answers it."""
        _, data = self.conversation.resume(token, body) if token else self.conversation.request(kind, body)
        self.send(data)
        return self.body()

    def register(self, name: str, password: str, hello: Hello) -> Body:
        """Register an account."""
        salt = secrets.token_bytes(hello.scram.salt_length)
        verifier = make_verifier(Password(password), salt, hello.scram.iterations)
        credential = Credential(
            salt=salt,
            iterations=verifier.iterations,
            stored_key=verifier.stored_key,
            server_key=verifier.server_key,
        )
        return self.request(Kind.REGISTER, Register(name=name, credential=credential))

    def authenticate(self, name: str, password: str, **fields: Any) -> Body:
        """Run a whole SCRAM exchange; return WELCOME, or the body that came instead."""
        mechanism = mechanism_for(self.binding)
        nonce = b64encode(secrets.token_bytes(24)).decode()
        exchange = ClientExchange(mechanism, name, Password(password), self.binding, nonce)
        first = Authenticate(mechanism=mechanism, data=exchange.first(), **fields)
        challenge = self.request(Kind.AUTHENTICATE, first)
        if not isinstance(challenge, Challenge):
            return challenge
        answer = self.request(Kind.CHALLENGE, ChallengeAnswer(data=exchange.answer(challenge.data)))
        if isinstance(answer, Welcome):
            exchange.verify(answer.data or b"", "the test's server")
        return answer

    def sign_in(self, name: str, password: str, *, new: bool = False) -> Welcome:
        """Read HELLO, register if `new`, and authenticate; return the WELCOME of the open session."""
        hello = self.hello()
        if new:
            registered = self.register(name, password, hello)
            assert isinstance(registered, bodies.Identified), registered
        welcome = self.authenticate(name, password)
        assert isinstance(welcome, Welcome), welcome
        return welcome

    def resume(self, token: bytes, received: int | None = None) -> Body:
        """Resume a session on this connection, after HELLO; `received` is the number of its frames received."""
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
        """Return the answer to `id`, which must be the next frame except for heartbeats."""
        while True:
            event = self.next()
            assert isinstance(event, Frame), event
            if event.kind != Kind.HEARTBEAT:
                assert event.id == id, event
                return event.payload if event.kind == Kind.MESSAGE else None

    def message_with(self, token: bytes, message: Payload) -> int:
        """Send a message with any `token`; return its id."""
        id = self.conversation.next_id()
        self.send(encode_message(id, message, token=token))
        return id

    def leave(self) -> None:
        """Send BYE and wait for the end of the connection."""
        self.send(self.conversation.bye("left"))
        self.closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
