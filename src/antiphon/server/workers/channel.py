"""Channel between a supervisor and one worker: messages over a Unix socket, sockets of clients with them.

Each worker has two: one for itself and its clients, one for topics, whose floods hold up nothing of the other.

A frame is four bytes, the length of a message, and the message. The system keeps passed sockets in the order of
the bytes that they were sent with, but may hand over several at once: they are queued until their messages come.
"""

import array
import asyncio
import contextlib
import select
import socket
import struct
from collections import deque
from collections.abc import Callable

from antiphon.server.workers.messages import Message, decode, encode

SIZE = struct.Struct("!I")
READ_SIZE = 65_536
SOCKETS_MOST = 64
"""Most sockets that one call of the system hands over."""
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

Receive = Callable[[Message, socket.socket | None], None]
"""Takes a message, and the socket that came with it: None if none was sent, or the system has dropped it."""


class Channel:
    """One end of a channel, in the running event loop. `start` begins to read."""

    def __init__(
        self,
        end: socket.socket,
        receive: Receive,
        lost: Callable[[], None],
        carried: type[Message] | None = None,
    ) -> None:
        """Read nothing yet.

        Args:
            end: the socket; it is closed by `close`.
            receive: called with each message.
            lost: called once, when the other end is gone.
            carried: the kind of message that has a socket with it, if any.
        """
        end.setblocking(False)  # noqa: FBT003 - the socket module's signature
        self._end = end
        self._receive = receive
        self._lost = lost
        self._carried = carried
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._sockets: deque[socket.socket | None] = deque()
        self._waiting = bytearray()
        """Bytes that the system has not taken."""
        self._open = True
        self.drained: Callable[[], None] = _nothing
        """Called when the system takes messages again, after it took no more."""

    def start(self) -> None:
        """Begin to read, or go on after `pause`."""
        if self._open:
            self._loop.add_reader(self._end, self._read)

    def pause(self) -> None:
        """Read nothing until `start`."""
        if self._open:
            self._loop.remove_reader(self._end)

    @property
    def waiting(self) -> int:
        """Bytes that were sent and wait for the other end to read."""
        return len(self._waiting)

    def send(self, message: Message) -> None:
        """Send a message; it waits here while the other end does not read. After the end it is dropped."""
        if not self._open:
            return
        was_empty = not self._waiting
        self._waiting += _framed(message)
        if was_empty:
            self._flush()
            if self._waiting and self._open:
                self._loop.add_writer(self._end, self._writable)

    def try_to_send(self, message: Message) -> bool:
        """Send a message now, or return False: something waits, or the system takes no more.

        After True the other end will read the message, even if this process dies at once.
        """
        if not self._open or self._waiting:
            return False
        data = _framed(message)
        try:
            sent = self._end.send(data)
        except OSError:  # no room; a lost end is noticed by the reader
            sent = 0
        if sent < len(data):
            self._loop.add_writer(self._end, self._writable)
        if sent:  # systems take so few bytes whole or not at all
            self._waiting += data[sent:]
        return sent > 0

    def try_to_pass(self, message: Message, client: socket.socket) -> bool:
        """Send a message and a socket now, or return False: something waits, or the system takes no more."""
        if not self._open or self._waiting:
            return False
        data = _framed(message)
        try:
            sent = socket.send_fds(self._end, [data], [client.fileno()])
        except OSError:  # no room, or too many sockets on their way; a lost end is noticed by the reader
            return False
        if sent < len(data):
            self._waiting += data[sent:]
            self._loop.add_writer(self._end, self._writable)
        return True

    def finish(self) -> None:
        """Receive what the other end has sent before its process ended; `lost` is called."""
        if not self._open:
            return
        readable = select.poll()  # not `select`, which takes only low numbers
        readable.register(self._end, select.POLLIN)
        while self._open and readable.poll(0):
            self._read()

    def close(self) -> None:
        """Close it; `lost` is not called any more."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._end)
            self._loop.remove_writer(self._end)
            self._end.close()
            for client in self._sockets:
                if client is not None:
                    client.close()

    def _flush(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: self._end.send(self._waiting)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:  # the other end is gone: the reader notices it
            self._waiting.clear()

    def _writable(self) -> None:
        self._flush()
        if not self._waiting:
            self._loop.remove_writer(self._end)
            self.drained()

    def _read(self) -> None:
        try:
            data, found, flags, _ = self._end.recvmsg(READ_SIZE, socket.CMSG_SPACE(4 * SOCKETS_MOST), _CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, found, flags = b"", [], 0
        for level, kind, numbers in found:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._keep(numbers)
        if flags & socket.MSG_CTRUNC:  # this process may open no more files: the system has dropped the socket
            self._sockets.append(None)
        if not data:
            self.close()
            self._lost()
            return
        self._received += data
        self._take_frames()

    def _keep(self, numbers: bytes) -> None:
        descriptors = array.array("i")
        descriptors.frombytes(numbers[: len(numbers) - len(numbers) % descriptors.itemsize])
        for number in descriptors:
            client = socket.socket(fileno=number)
            client.set_inheritable(False)
            self._sockets.append(client)

    def _take_frames(self) -> None:
        received, at = self._received, 0
        try:
            while self._open and len(received) >= at + SIZE.size:
                (size,) = SIZE.unpack_from(received, at)
                begin = at + SIZE.size
                if len(received) < begin + size:
                    break
                at = begin + size
                message = decode(received[begin:at])
                carries = self._carried is not None and isinstance(message, self._carried)
                self._receive(message, self._sockets.popleft() if carries and self._sockets else None)
        finally:
            del received[:at]  # also if one of them failed


def _nothing() -> None:
    """Do nothing."""


def _framed(message: Message) -> bytes:
    data = encode(message)
    return SIZE.pack(len(data)) + data


def send_now(end: socket.socket, message: Message) -> None:
    """Send a message over a socket that blocks, without an event loop; if the other end is gone, do nothing."""
    with contextlib.suppress(OSError):
        end.sendall(_framed(message))


def receive_now(end: socket.socket) -> Message | None:
    """Return the next message from a socket that blocks, None if the other end is gone."""
    head = _exactly(end, SIZE.size)
    data = head and _exactly(end, SIZE.unpack(head)[0])
    return decode(data) if data else None


def _exactly(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            more = end.recv(size - len(data))
        except OSError:
            return b""
        if not more:
            return b""
        data += more
    return data
