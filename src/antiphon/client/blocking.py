"""The blocking client: `connect` signs in, the `Session` that it returns asks and is answered.

No thread and no event loop stands behind it: what is to happen happens inside the calls, `heartbeat` among them.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from antiphon.address import Address, parse
from antiphon.blocklist import common_passwords
from antiphon.client.blocking_connection import BlockingConnection, Question
from antiphon.client.blocking_dial import dial
from antiphon.client.info import SessionInfo
from antiphon.client.steps import Authentication, expect, make_credential
from antiphon.client.trust import KnownServers
from antiphon.errors import AntiphonError, InputMissing, Problem, RegistrationClosed
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password, check
from antiphon.language import N_
from antiphon.settings import ClientSettings
from antiphon.wire.bodies import Identified, Identify, Register, Welcome
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import Kind

PIPELINED = 256
"""Messages of one `ask_many` that may be on their way."""

_NAME = Problem(N_("The name"))
_HOW_NAME = Problem(N_("name=, or name@host in the address"))
_PASSWORD = Problem(N_("The password"))
_HOW_PASSWORD = Problem(N_("password="))

Secret = str | Password
"""A password; as `Password` it does not print."""


def connect(
    address: str | Address,
    *,
    name: str | None = None,
    password: Secret | Callable[[], Secret] | None = None,
    register: bool = False,
    timeout: float = 10.0,
    known_servers: str | PathLike[str] | None = None,
    language: str = "en",
) -> "Session":
    """Sign in at `address` (`tls://ann@host:7862#sha256:...`, or a part of it) and return the open session.

    The server is trusted if the address carries its key's fingerprint, if `known_servers` has its key (by default
    the file that `antiphon connect` keeps), or if the system's authorities vouch for it; otherwise nothing is
    sent. The file is read only.

    Args:
        address: where the server is.
        name: whom to sign in as; by default the name in the address.
        password: the password, or a function that returns it, such as `getpass.getpass`: it is called once the
            server is trusted, and no connection is held meanwhile.
        register: become known under this name if it is new.
        timeout: seconds for the connection, for each step of the sign-in, for sending a message, and by default
            for each answer. The system's resolver keeps a time of its own.
        known_servers: the file of server keys that are known.
        language: of greeting and refusals: `en` or `ru`.

    Raises:
        UsageError: the address, the name, the password or an argument cannot be used, or one is missing.
        ConnectError: no connection came about.
        SignInError: the server said no. A refused sign-in is not tried again.
        ProtocolError: the server broke the protocol, or it could not be trusted (`TrustError`).
        ServerError: the server or its store failed.
        TimedOut: something took longer than `timeout`.
    """
    settings = ClientSettings(
        name=name, register=register, timeout=timeout, known_servers=Path(known_servers) if known_servers else None
    )
    place = parse(address) if isinstance(address, str) else address
    return _Entry(place, settings, password, language).enter()


class _Entry:
    """One way in."""

    def __init__(
        self,
        address: Address,
        settings: ClientSettings,
        password: Secret | Callable[[], Secret] | None,
        language: str,
    ) -> None:
        name = settings.name or address.name
        if name is None:
            raise InputMissing(what=_NAME, how=_HOW_NAME)
        if password is None:
            raise InputMissing(what=_PASSWORD, how=_HOW_PASSWORD)
        self._name = prepare(name).display
        self._address = address
        self._password = password
        self._language = language
        self._settings = settings
        self._known = KnownServers(settings.known_servers)

    def enter(self) -> "Session":
        connection = self._dial()
        try:
            new = self._settings.register and self._is_free(connection)
            password = self._password
            if not isinstance(password, Secret):
                connection.hang_up()
                password = password()
                connection = self._dial()
            if isinstance(password, str):
                password = Password(password)
            if new:
                self._register(connection, password)
            welcome = self._authenticate(connection, password)
            return Session(connection, SessionInfo.of(welcome), self._settings.timeout)
        except BaseException:
            connection.abort()
            raise

    def _dial(self) -> BlockingConnection:
        return dial(self._address, self._known, self._settings.timeout)

    def _is_free(self, connection: BlockingConnection) -> bool:
        if not connection.hello.registration:
            raise RegistrationClosed
        asked = Identify(name=self._name, language=self._language)
        return bool(expect(connection.request(Kind.IDENTIFY, asked), Identified).free)

    def _register(self, connection: BlockingConnection, password: Password) -> None:
        check(password.text, connection.hello.password_minimum, name=self._name, common=common_passwords())
        credential = make_credential(password, connection.hello.scram)
        wanted = Register(name=self._name, credential=credential, language=self._language)
        expect(connection.request(Kind.REGISTER, wanted), Identified)

    def _authenticate(self, connection: BlockingConnection, password: Password) -> Welcome:
        proving = Authentication(connection.hello, connection.binding, self._name, password, self._language)
        challenge = connection.request(Kind.AUTHENTICATE, proving.first())
        welcome = connection.request(Kind.CHALLENGE, proving.proof(challenge))
        return proving.proven(welcome, connection.address)


class Session:
    """A signed-in conversation; a context manager that leaves at its end.

    One thread uses it at a time. The server cuts a connection from which it hears nothing for its silence limit
    (40 s by default): a session that has nothing to say must call `heartbeat` before that. Every call that waits
    sends heartbeats by itself.

    Where `timeout` is an argument it is in seconds, by default the one of `connect`; `math.inf` waits for as long
    as the server shows that it is there.
    """

    def __init__(self, connection: BlockingConnection, info: SessionInfo, timeout: float) -> None:
        """Use `connect`."""
        self.info = info
        """Who is signed in, and what the server said about that."""
        self._connection = connection
        self._timeout = timeout

    def __repr__(self) -> str:
        """Show who, and where; no secret is kept here."""
        return f"<Session of {self.info.name} at {self.address}>"

    @property
    def address(self) -> str:
        """The server's address, without name and fingerprint."""
        return self._connection.address

    def ask(self, message: Payload, *, timeout: float | None = None) -> Payload | None:
        """Send `message` and return its answer, the first one where the service gives several; None for none.

        Text is answered by text or bytes, as the service likes. When `TimedOut` is raised the message may have
        been handled all the same; the session goes on.

        Raises:
            MessageTooLarge, NotText: the message cannot be sent.
            ServiceFailed: the service failed on it; the session goes on.
            TimedOut: no answer came in time.
            ConnectError, SignInError, ProtocolError, ServerError: the connection has ended, with the reason.
        """
        question = self._connection.ask(message)
        try:
            return self._take(question, timeout)
        finally:
            self._connection.forget(question)

    def ask_stream(self, message: Payload, *, timeout: float | None = None) -> Iterator[Payload]:
        """Send `message` now, and return an iterator over all its answers; each may take `timeout` seconds.

        Raises:
            AntiphonError: as `ask`; what concerns the answers, from the iterator.
        """
        return self._answers(self._connection.ask(message), timeout)

    def _answers(self, question: Question[Payload], timeout: float | None) -> Iterator[Payload]:
        try:
            while (answer := self._take(question, timeout)) is not None:
                yield answer
        finally:  # who leaves early wants no more
            self._connection.forget(question)

    def ask_many(self, messages: Iterable[Payload], *, timeout: float | None = None) -> Iterator[Payload | None]:
        """Send messages one behind the other, at most 256 ahead of the answers, and yield the answers in order.

        Nothing is sent before the first answer is asked for. The first message that is refused, here or there,
        ends it with its error, in its place. When the server stops, what it has taken is still answered; then
        `ServerStopping` is raised.

        Raises:
            AntiphonError: as `ask`.
        """
        connection = self._connection
        waiting: deque[Question[Payload]] = deque()
        failure: AntiphonError | None = None
        try:
            for message in messages:
                try:
                    connection.look()
                    waiting.append(connection.ask(message))
                except AntiphonError as error:  # those before it have their answers first
                    failure = error
                    break
                while waiting and (waiting[0].ready or len(waiting) == PIPELINED):
                    yield self._one(waiting, timeout)
            while waiting:
                yield self._one(waiting, timeout)
            if failure is not None:
                raise failure
        finally:
            for question in waiting:
                connection.forget(question)

    def _one(self, waiting: deque[Question[Payload]], timeout: float | None) -> Payload | None:
        answer = self._take(waiting[0], timeout)
        self._connection.forget(waiting.popleft())
        return answer

    def send(self, message: Payload) -> None:
        """Send `message` and want no answer: the server handles it and says nothing, not even that it refused it.

        Raises:
            AntiphonError: as `ask`.
        """
        self._connection.send(message)

    def receive(self, *, timeout: float | None = None) -> Payload | None:
        """Return the next message that the server says unasked; None when it has said goodbye.

        Raises:
            TimedOut: nothing came in time.
            AntiphonError: the connection has ended, with the reason.
        """
        return self._take(self._connection.pushes, timeout)

    def __iter__(self) -> Iterator[Payload]:
        """Yield what the server says unasked, for as long as it is there; as `receive`."""
        while (message := self.receive(timeout=math.inf)) is not None:
            yield message

    def heartbeat(self) -> None:
        """Tell the server that we are still there, and take what has come meanwhile.

        Raises:
            AntiphonError: the connection has ended, with the reason.
        """
        self._connection.look()
        self._connection.heartbeat()

    def close(self) -> None:
        """Leave: the session ends, when everything that was sent before has been handled.

        That is waited for, for at most the `timeout` of `connect`. Closing twice is no error.
        """
        self._connection.leave(self._timeout)

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; where the program is to end at once (Ctrl-C), without waiting."""
        if kind is None or issubclass(kind, Exception):
            self.close()
        else:
            self._connection.hang_up()

    def _take(self, question: Question[Payload], timeout: float | None) -> Payload | None:
        return self._connection.take(question, self._timeout if timeout is None else timeout)
