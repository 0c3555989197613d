"""The client's end of a connection without an event loop: bytes, the entry's questions, heartbeats, the goodbye.

How it comes about is `blocking_dial.py`'s, what is said on it `blocking_session.py`'s. Nothing happens between
two calls: every call sends, waits for at most the seconds that it is given, and sends heartbeats meanwhile.
"""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator

from antiphon.client.exchange import Receiver
from antiphon.client.framed import LENGTH, NOT_NOW, FramedSocket
from antiphon.client.manners import FAREWELLS, HANG_UP_SECONDS, beat_seconds
from antiphon.errors import AntiphonError, ConnectionLost, PeerSilent, SessionClosed, TimedOut, from_wire
from antiphon.wire.bodies import Body, Error, Hello, Limits, ServerBye, Welcome
from antiphon.wire.conversation import ClientConversation, Control, Event
from antiphon.wire.frames import COUNTED, Refused
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST, SERVER_CONTROL_LIMIT, TOKEN_SIZE, Flag, Kind

GLANCE = 1024
"""Frames that are taken without waiting, at the most: a server that never stops must not hold a program."""
LEAST_WAIT = 0.001
"""Seconds: a socket whose timeout is 0 would not wait at all."""


class Deadline:
    """A moment by which something must be done."""

    def __init__(self, seconds: float) -> None:
        """Begin now."""
        self.seconds = seconds
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; TimeoutError if there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class BlockingConnection:
    """One connection to a server, used by one thread at a time."""

    def __init__(self, sock: FramedSocket, address: str, seconds: float) -> None:
        """Speak on `sock`; `address` is how errors name the server; to send may take `seconds`."""
        self.address = address
        self.binding = sock.binding
        """The TLS channel's binding (tls-server-end-point), None on plain TCP."""
        self.conversation = ClientConversation()
        """What makes frames of the session."""
        self.seconds = seconds
        """The time of a request, and of sending one frame."""
        self.reason: AntiphonError | None = None
        """Why the connection has ended, or will; None after a goodbye."""
        self.closed = False
        self._socket = sock
        self._replies: dict[int, Body | AntiphonError | None] = {}
        self._receiver: Receiver | None = None
        self._early: list[Event] = []
        """What came behind WELCOME, before there was a receiver."""
        self._owed: deque[bytes] = deque()
        """Frames to be sent as soon as nothing else is being sent or taken."""
        self._busy = self._said_bye = False
        self._spoke = time.monotonic()
        self._pause = self._silence = math.inf  # until HELLO has said
        sock.frame_limit = COUNTED + SERVER_CONTROL_LIMIT

    def __repr__(self) -> str:
        """Show neither token nor payloads."""
        return f"BlockingConnection({self.address!r})"

    # --- the entry ------------------------------------------------------------------------------------------

    @property
    def hello(self) -> Hello:
        """What the server speaks and wants; `greet` waits for it."""
        assert self.conversation.hello is not None
        return self.conversation.hello

    @property
    def limits(self) -> Limits:
        """What the server wants to be kept to."""
        return self.hello.limits

    @property
    def token(self) -> bytes:
        """The session's token, to resume it on another connection."""
        return self.conversation.token

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""
        return not (self._said_bye or self.closed or self.reason is not None)

    def greet(self, seconds: float) -> None:
        """Wait for HELLO.

        Raises:
            AntiphonError: something else came, or nothing.
        """
        self._must(lambda: self.conversation.hello is not None, seconds)

    def request(self, kind: Kind, body: Body, *, token: bytes = b"") -> Body:
        """Send a control frame and return the body of its answer; RESUME takes a token.

        Raises:
            AntiphonError: as the server refused it, or as the connection was lost.
        """
        id, data = self.conversation.resume(token, body) if token else self.conversation.request(kind, body)
        self._replies[id] = None
        self._write(data)
        self._must(lambda: self._replies[id] is not None, self.seconds)
        reply = self._replies.pop(id)
        if isinstance(reply, AntiphonError):
            raise reply
        assert reply is not None
        return reply

    def _must(self, until: Callable[[], bool], seconds: float) -> None:
        try:
            if not self.wait(until, Deadline(seconds)):
                raise self.reason or ConnectionLost(address=self.address)
        except TimeoutError:
            raise TimedOut(address=self.address, seconds=f"{seconds:g}") from None

    # --- the session ----------------------------------------------------------------------------------------

    def attach(self, receiver: Receiver) -> None:
        """Give `receiver` the frames of the session that this connection holds, what has come already first."""
        self._receiver = receiver
        early, self._early = self._early, []
        with contextlib.suppress(AntiphonError), self._ending():
            for event in early:
                self._take(event)
        self._pay()

    def send(self, data: bytes) -> None:
        """Send a frame of the session, or what will be sent next; where that fails, the connection is `closed`."""
        self._owed.append(data)
        self._pay()

    def look(self) -> None:
        """Take what has come already, and send the heartbeat that is due; does not wait."""
        with contextlib.suppress(AntiphonError, *NOT_NOW):
            for _ in range(GLANCE):
                self._receive(0)
        self._beat()

    def heartbeat(self) -> None:
        """Say that this side is still there."""
        if self._receiver is not None and (acknowledgement := self._receiver.acknowledgement()):
            self.send(acknowledgement)
        self.send(self.conversation.heartbeat())

    # --- the end --------------------------------------------------------------------------------------------

    def leave(self, seconds: float) -> None:
        """Say goodbye, wait for the server's, for at most `seconds`, and close."""
        with contextlib.suppress(TimeoutError):
            self._say_bye("left")
            self.wait(lambda: self.closed, Deadline(seconds))
        self.abort()

    def hang_up(self) -> None:
        """Say goodbye and close, whatever the server does."""
        self.seconds = HANG_UP_SECONDS
        self._say_bye("left")
        self.abort()

    def abort(self) -> None:
        """Close at once, saying nothing: the session stays for a while."""
        self.closed = True
        self._socket.close()

    def _say_bye(self, reason: str) -> None:
        if not (self._said_bye or self.closed):
            self._said_bye = True
            self.send(self.conversation.bye(reason))

    def _end(self, error: AntiphonError) -> AntiphonError:
        """Close, as nothing that still comes is believed; return why, which is the first reason there was."""
        self.reason = self.reason or error
        self.abort()
        return self.reason

    # --- bytes ----------------------------------------------------------------------------------------------

    def wait(self, until: Callable[[], bool], deadline: Deadline) -> bool:
        """Take what comes until there is what is waited for, or the connection is closed; send heartbeats.

        Return whether there is what is waited for.

        Raises:
            TimeoutError: the time is over.
        """
        heard = time.monotonic()
        while not until():
            if self.closed:
                return False
            self._beat()
            now = time.monotonic()
            if now >= deadline.at:
                raise TimeoutError("timed out")
            if now >= heard + self._silence:
                self._end(PeerSilent(seconds=f"{self._silence:g}"))
                continue
            wake = min(deadline.at, heard + self._silence, self._spoke + self._pause)
            partial = self._socket.partial
            try:
                self._receive(max(LEAST_WAIT, wake - now))
            except TimeoutError:
                if self._socket.partial == partial:
                    continue
            except AntiphonError:  # it has closed the connection, and is the reason
                continue
            heard = time.monotonic()
        return True

    def _beat(self) -> None:
        if time.monotonic() >= self._spoke + self._pause and self.open:
            self.heartbeat()

    def _pay(self) -> None:
        """Send what is owed, unless a frame is being sent or taken: then whoever does that will."""
        with contextlib.suppress(AntiphonError):
            while self._owed and not (self._busy or self.closed):
                self._write(self._owed.popleft())

    def _write(self, data: bytes) -> None:
        """Send one frame.

        Raises:
            AntiphonError: why the connection is closed now.
        """
        if self.closed:
            raise self.reason or ConnectionLost(address=self.address)
        self._socket.settimeout(self.seconds)
        with self._ending():
            try:
                self._socket.send_bytes(data[LENGTH.size :], meanwhile=self._feed)
            except TimeoutError:  # half a frame may be on its way: nothing can follow it
                raise TimedOut(address=self.address, seconds=f"{self.seconds:g}") from None
            except OSError:
                self._hear_last_words()
                raise
        self._spoke = time.monotonic()

    def _hear_last_words(self) -> None:
        """Read on from a server that takes nothing any more: it may have said why."""
        with contextlib.suppress(TimeoutError):
            while not self.closed:
                self._receive(HANG_UP_SECONDS)

    def _receive(self, seconds: float) -> None:
        """Take one frame, or the end of the connection.

        Raises:
            TimeoutError: none came in time.
            AntiphonError: why the connection is closed now.
        """
        if self.closed:
            raise self.reason or ConnectionLost(address=self.address)
        self._socket.settimeout(seconds)
        with self._ending():
            frame = self._socket.receive_bytes()
            if frame is None:
                raise ConnectionLost(address=self.address)
            self._feed(frame)
        self._pay()

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Turn what ends the connection into the one reason for its end; a wait that is over is none.

        Nothing else is sent meanwhile.
        """
        busy, self._busy = self._busy, True
        try:
            yield
        except (TimeoutError, *NOT_NOW):
            raise
        except (OSError, ConnectionLost):
            raise self._end(ConnectionLost(address=self.address)) from None
        except AntiphonError as error:
            raise self._end(error) from None
        finally:
            self._busy = busy

    # --- what comes -----------------------------------------------------------------------------------------

    def _feed(self, frame: bytes) -> None:
        self.conversation.feed(LENGTH.pack(len(frame)) + frame)
        while not self.closed and (event := self.conversation.next()) is not None:
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, Control):
            self._take_control(event)
        elif isinstance(event, Refused):
            raise event.error
        elif self._receiver is None:
            self._early.append(event)
        elif event.kind == Kind.MESSAGE:
            self._receiver.message(event.id, event.payload, last=bool(event.flags & Flag.LAST))
        elif event.kind == Kind.END:
            self._receiver.end(event.id, None)

    def _take_control(self, control: Control) -> None:
        body = control.body
        if isinstance(body, Hello):
            self._silence = body.limits.silence
            self._pause = beat_seconds(body.limits)
        elif isinstance(body, ServerBye):
            self._take_bye(body)
        elif isinstance(body, Error):
            self._refused(control, from_wire(body.code, body.text, body.hint, body.wait))
        else:
            if isinstance(body, Welcome):
                largest = min(self.hello.limits.message, MESSAGE_LIMIT_MOST)
                self._socket.frame_limit = COUNTED + max(TOKEN_SIZE + largest, SERVER_CONTROL_LIMIT)
            if control.id in self._replies:
                self._replies[control.id] = body

    def _refused(self, control: Control, error: AntiphonError) -> None:
        if control.id == 0:
            raise error
        if control.id in self._replies:
            self._replies[control.id] = error
        elif self._receiver is None:
            self._early.append(control)
        else:
            self._receiver.end(control.id, error)

    def _take_bye(self, bye: ServerBye) -> None:
        if bye.reason == "closed":
            self.reason = self.reason or SessionClosed(reason=bye.text)
        elif bye.reason in FAREWELLS:
            self.reason = self.reason or FAREWELLS[bye.reason]()
        if bye.reason == "drained":  # we say our last, between two frames; what we asked before is still answered
            self._say_bye("drained")
        else:
            self.abort()
