"""Blocking connection: the socket around `protocol/connection.py`, used in the thread of the caller.

`dial.py` makes connections, `session.py` uses them. Nothing happens between two calls: every call sends, waits
for at most the seconds that it is given, and sends heartbeats meanwhile.
"""

import contextlib
import math
import select
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator

from antiphon.client.home_process import HomeProcess
from antiphon.client.protocol.connection import ConnectionProtocol, Receiver, State
from antiphon.errors import AntiphonError, TimedOut
from antiphon.wire.bodies import Body, Hello, Limits
from antiphon.wire.kinds import Kind

PIECE = 64 * 1024
"""Bytes that are read at once."""
TOGETHER = 32 * 1024
"""Bytes of frames that are joined into one write. Each write has `seconds`: over a slow path it must be small."""
GLANCE = 1024
"""Pieces that are read without waiting, at the most: a server that never stops must not hold a program."""
LEAST_WAIT = 0.001
"""Seconds: a wait of 0 would not wait at all."""
MOST_WAIT = 3600.0
"""Seconds that the system waits at a time; more milliseconds than a month has would not fit its number."""
LAST_WORDS_SECONDS = 1.0
"""Seconds to read on from a server that takes nothing any more: it may have said why."""
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""Raised by a socket without timeout that would have to wait."""
_OPEN, _OVER = State.OPEN, (State.ENDED, State.FAILED)  # its members are slow to look up


class Deadline:
    """The moment by which a call must be done."""

    def __init__(self, seconds: float) -> None:
        """Start now."""
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

    def __init__(self, sock: socket.socket, address: str, binding: bytes | None, seconds: float) -> None:
        """Use `sock`; `address` is how errors name the server. A request, or sending a frame, takes `seconds`."""
        self.address = address
        self.binding = binding
        """The TLS channel's binding (tls-server-end-point), None on plain TCP."""
        self.seconds = seconds
        """Time limit of a request, and of sending one frame."""
        self.closed = False
        self.home = HomeProcess()
        sock.settimeout(0)  # for good: `_readable` waits
        self._socket = sock
        self._readable = _waiting_for(sock)
        self._protocol = ConnectionProtocol(address)
        self.conversation = self._protocol.conversation
        """The encoder of the session's frames."""
        self._owed: list[bytes] = []
        """Frames to send as soon as no other frame is being sent or handled."""
        self._busy = False

    def __repr__(self) -> str:
        """Show neither token nor payloads."""
        return f"BlockingConnection({self.address!r})"

    # --- before the session ---------------------------------------------------------------------------------

    @property
    def hello(self) -> Hello:
        """HELLO. Precondition: `greet` has returned."""
        return self._protocol.hello

    @property
    def limits(self) -> Limits:
        """The limits that HELLO sets."""
        return self._protocol.limits

    @property
    def token(self) -> bytes:
        """The session's token, to resume it on another connection."""
        return self.conversation.token

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""
        return self._protocol.state is _OPEN and not self.closed

    @property
    def reason(self) -> AntiphonError | None:
        """Why the connection ended, or will; None after the client's own goodbye."""
        return self._protocol.reason

    def greet(self, seconds: float) -> None:
        """Wait for HELLO.

        Raises:
            AntiphonError: something else came, or nothing.
        """
        self._await(lambda: self._protocol.greeting.reply is not None, seconds)
        if isinstance(error := self._protocol.greeting.reply, AntiphonError):
            raise error

    def request(self, kind: Kind, body: Body, *, token: bytes = b"", seconds: float | None = None) -> Body:
        """Send a control frame and return the body of its answer; RESUME takes a token.

        It takes at most `seconds`, by default those of the connection.

        Raises:
            AntiphonError: the server refused the request, or the connection was lost.
        """
        pending = self._protocol.request(kind, body, token=token)
        self._heed()
        self._await(lambda: pending.reply is not None, self.seconds if seconds is None else seconds)
        reply = pending.reply
        assert reply is not None
        if isinstance(reply, AntiphonError):
            raise reply
        return reply

    def _await(self, until: Callable[[], bool], seconds: float) -> None:
        """Wait for a reply; the end of the connection is one too."""
        try:
            self.wait(until, Deadline(seconds))
        except TimeoutError:
            raise TimedOut(address=self.address, seconds=f"{seconds:g}") from None

    # --- the session ----------------------------------------------------------------------------------------

    def attach(self, receiver: Receiver) -> None:
        """Give `receiver` the frames of the session, those that have come already first."""
        with self._occupied():
            self._protocol.attach(receiver)
        self._heed()

    def send(self, data: bytes, *, alone: bool = False) -> None:  # noqa: ARG002 - what follows is sent by itself
        """Send a frame of the session, now or next. If that fails, the connection is `closed`."""
        self._owed.append(data)
        self._protocol.heartbeat.spoke = True
        if not self._busy:
            self._pay()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Send the frames of the block in one write, at its end."""
        try:
            with self._occupied():
                yield
        finally:
            self._heed()

    def look(self) -> None:
        """Read what has come already; does not wait."""
        if not self.closed and self._readable(0):
            for _ in range(GLANCE):
                if self.closed or not self._receive(0):
                    break

    def heartbeat(self) -> None:
        """Tell the server that this side is there."""
        self._protocol.say_alive()
        self._heed()

    # --- the end --------------------------------------------------------------------------------------------

    def leave(self, seconds: float) -> None:
        """Say BYE, wait for the server's for at most `seconds`, and close."""
        with contextlib.suppress(TimeoutError):
            self._say_bye()
            self.wait(lambda: self.closed, Deadline(seconds))
        self.abort()

    def hang_up(self) -> None:
        """Say BYE and close, without waiting for the server."""
        self.seconds = LAST_WORDS_SECONDS
        self._say_bye()
        self.abort()

    def abort(self) -> None:
        """Close at once without a word: the session can be resumed for a while."""
        if not self.closed:
            self._protocol.abort()
            self._close()

    def _say_bye(self) -> None:
        self._protocol.say_bye("left")
        self._heed()

    def _close(self) -> None:
        self.closed = True
        self._owed.clear()
        self._socket.close()
        self._protocol.connection_lost()

    # --- waiting --------------------------------------------------------------------------------------------

    def wait(self, until: Callable[[], bool], deadline: Deadline) -> bool:
        """Read until `until` returns true, or the connection is closed; send heartbeats.

        Return whether `until` is true.

        Raises:
            TimeoutError: the time is over.
        """
        listening = False  # what the server did between two calls, nobody has listened to
        while not until():
            if self.closed:
                return False
            now = time.monotonic()
            wake = self._protocol.tick(now, listening=listening)
            self._heed()
            listening = True
            if now >= deadline.at and not self.closed:
                raise TimeoutError("timed out")
            if not self.closed:
                self._receive(max(LEAST_WAIT, min(wake, deadline.at) - now))
        return True

    def _heed(self) -> None:
        """Send what the protocol wants to send, and close if it is over. Follows every call of the protocol."""
        if data := self._protocol.data_to_send():
            self._owed.append(data)
        if not self._busy:
            if self._owed:
                self._pay()
            if self._protocol.state in _OVER and not self.closed:
                self._close()

    @contextlib.contextmanager
    def _occupied(self) -> Iterator[None]:
        """Let nothing else be sent meanwhile."""
        busy, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = busy

    # --- bytes ----------------------------------------------------------------------------------------------

    def _pay(self) -> None:
        """Send the frames that are owed; nothing in a process that was forked."""
        if self._owed and self.home.is_elsewhere:
            self._owed.clear()
        while self._owed and not self.closed:
            self._write(self._owed.pop() if len(self._owed) == 1 else self._joined())

    def _joined(self) -> bytes:
        """Return the next frames that are owed, with `TOGETHER` bytes or as soon as they have more."""
        size = count = 0
        for count, frame in enumerate(self._owed, 1):  # noqa: B007 - the last value is used
            size += len(frame)
            if size >= TOGETHER:
                break
        data = b"".join(self._owed[:count])
        del self._owed[:count]
        return data

    def _write(self, data: bytes) -> None:
        """Send frames whole; read meanwhile if the server does not take them, for it may wait for the same.

        If they cannot be sent within `seconds`, half a frame may be on its way and nothing can follow: the
        connection is closed.
        """
        protocol = self._protocol
        try:
            try:
                sent = self._socket.send(data)
            except NOT_NOW:
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
            with self._occupied():
                self._write_and_read(memoryview(data), time.monotonic() + self.seconds)
        except TimeoutError:
            protocol.fail(TimedOut(address=self.address, seconds=f"{self.seconds:g}"))
        except OSError:
            self._read_last_words()
            protocol.abort()
        self._heed()

    def _write_and_read(self, rest: memoryview, deadline: float) -> None:
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
                continue
            except NOT_NOW as error:
                events = selectors.EVENT_READ
                if not isinstance(error, ssl.SSLWantReadError):
                    events |= selectors.EVENT_WRITE
            try:
                data = self._socket.recv(PIECE)
            except NOT_NOW:
                self._select(events, deadline)
            else:
                if not data:
                    raise ConnectionResetError
                self._protocol.receive(data)
                if self._protocol.state in _OVER:
                    return

    def _select(self, events: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, events)
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TimeoutError("timed out")

    def _read_last_words(self) -> None:
        """Read on from a server that takes nothing any more."""
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        with contextlib.suppress(OSError), self._occupied():
            while self._protocol.state not in _OVER:
                if not self._readable(max(0.0, deadline - time.monotonic())):
                    return
                with contextlib.suppress(*NOT_NOW):
                    if not (data := self._socket.recv(PIECE)):
                        return
                    self._protocol.receive(data)

    def _receive(self, seconds: float) -> bool:
        """Read and handle one piece within `seconds`; return whether anything came, the end included."""
        try:
            if not self._readable(seconds):
                return False
            data = self._socket.recv(PIECE)
        except NOT_NOW:
            return False
        except OSError:
            data = b""
        if not data:
            self._close()
            return True
        self._busy = True
        try:
            self._protocol.receive(data)
        finally:
            self._busy = False
        self._heed()
        return True


def _waiting_for(sock: socket.socket) -> Callable[[float], bool]:
    """Return a function that waits for some seconds until `sock` can be read, and returns whether it can."""
    pending = sock.pending if isinstance(sock, ssl.SSLSocket) else None
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)

        def waits(seconds: float) -> bool:
            if pending is not None and pending():
                return True
            return bool(poll.poll(math.ceil(min(seconds, MOST_WAIT) * 1000) if seconds else 0))

    else:  # Windows

        def waits(seconds: float) -> bool:
            if pending is not None and pending():
                return True
            return bool(select.select([sock], [], [], min(seconds, MOST_WAIT))[0])

    return waits
