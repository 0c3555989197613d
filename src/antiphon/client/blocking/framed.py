"""Framed sockets: they send and receive whole frames, each behind four bytes that hold its length.

The peer needs nothing of Antiphon: Erlang's `{packet,4}`, Netty's length-field frames and Twisted's
`Int32StringReceiver` speak the same.
"""

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct
from typing import Any, Self

from antiphon.errors import ConnectionLost, FrameTooLarge, NotText, Problem, SettingInvalid
from antiphon.identity.certificates import binding_of, fingerprint_of
from antiphon.language import N_
from antiphon.wire.kinds import MESSAGE_LIMIT

LENGTH = Struct(">I")
"""The length before each frame: how many bytes follow, in network byte order."""
LONGEST = 0xFFFF_FFFF
PIECE = 64 * 1024
"""Bytes that are read at once: memory is taken as bytes come, not as the length announces them."""
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""Raised by a socket without timeout that would have to wait."""
_WRONG_TYPE = Problem(N_("must be {wanted}, not {value}"))


class FramedSocket(socket.socket):
    """A TCP or Unix stream socket that also has `send_text`, `receive_text`, `send_bytes`, `receive_bytes`.

    Create, connect, bind and close it like any `socket.socket`; `accept` and `dup` also return framed sockets. The
    socket's timeout (`settimeout`) is for a whole frame; single bytes do not extend it.

    Use it from one thread at a time; without TLS and without a timeout, one thread may send while another
    receives. Do not call `recv` inside a frame.
    """

    frame_limit: int = MESSAGE_LIMIT
    """Bytes in one frame, its length not counted, from either side; it may be set at any time."""
    _came: bytes | bytearray = b""
    """The received part of a frame that is not whole yet, its length included. The class has it because TLS
    sockets are made without `__init__`."""
    _torn = False
    """Whether a frame was sent in part only: the peer could not understand anything that followed."""

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:  # noqa: A002 - the name in `socket.socket`
        """Make a socket as `socket.socket` does.

        Raises:
            SettingInvalid: it is no stream socket, such as one of UDP, which cuts frames and loses them.
        """
        super().__init__(family, type, proto, fileno)
        try:
            _check_stream(self.type)
        except SettingInvalid:
            if fileno is None:
                self.close()
            else:
                self.detach()  # it stays the caller's
            raise

    @classmethod
    def wrap(cls, sock: socket.socket) -> Self:
        """Return a framed socket in place of `sock`, which is closed to the caller (`detach`).

        Raises:
            SettingInvalid: it is no stream socket; it stays the caller's.
        """
        _check_stream(sock.type)
        timeout = sock.gettimeout()
        framed = cls(sock.family, sock.type, sock.proto, fileno=sock.detach())
        framed.settimeout(timeout)
        return framed

    def accept(self) -> tuple[Self, Any]:
        """Return a connection, framed and with this socket's limit, and the peer's address."""
        sock, address = super().accept()
        framed = sock if isinstance(sock, type(self)) else self.wrap(sock)
        framed.frame_limit = self.frame_limit
        return framed, address

    def dup(self) -> Self:
        """Return a second socket on the same connection; a partly received frame stays with the first."""
        twin = super().dup()
        twin.frame_limit = self.frame_limit
        return twin

    @property
    def binding(self) -> bytes | None:
        """The channel binding `tls-server-end-point` (RFC 5929), None without TLS."""
        return None

    @property
    def partial(self) -> int:
        """Bytes received of a frame that is not whole yet."""
        return len(self._came)

    # --- sending --------------------------------------------------------------------------------------------

    def send_text(self, text: str) -> None:
        """Send `text` as one frame of UTF-8; otherwise like `send_bytes`.

        Raises:
            NotText: it holds half a surrogate pair, which UTF-8 cannot encode.
            TypeError: `text` is not a `str`.
        """
        if not isinstance(text, str):
            raise TypeError(f"send_text takes str, not {type(text).__name__}; send_bytes takes bytes")
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise NotText from None
        self.send_bytes(data)

    def send_bytes(self, data: bytes, *, meanwhile: Callable[[bytes], None] | None = None) -> None:
        """Send `data`, up to `frame_limit` bytes, as one frame, in as many pieces as the system takes.

        Two sides that only write to each other wait for ever. With `meanwhile`, this side reads while its peer
        does not take the frame, and calls `meanwhile` with each frame that comes; it must not send.

        Raises:
            FrameTooLarge: nothing was sent.
            ConnectionLost: the peer has closed, or an earlier frame could not be sent to its end.
            OSError: as sockets do; `TimeoutError` after the socket's timeout. Nothing can be sent any more.
            TypeError: `data` is text.
        """
        if isinstance(data, str):
            raise TypeError("send_bytes takes bytes, not str; send_text takes str")
        if len(data) > min(self.frame_limit, LONGEST):
            raise FrameTooLarge(size=len(data), kind="frame", limit=min(self.frame_limit, LONGEST))
        if self._torn:
            raise self._lost()
        rest = memoryview(LENGTH.pack(len(data)) + data)
        self._torn = True
        if meanwhile is None:
            with self._one_timeout() as step:
                while rest:
                    step()
                    rest = rest[self.send(rest) :]
        else:
            self._exchange(rest, meanwhile)
        self._torn = False

    def _exchange(self, rest: memoryview, meanwhile: Callable[[bytes], None]) -> None:
        """Send `rest`, and read whenever the peer does not take it, in one thread as TLS needs it."""
        timeout = self.gettimeout()
        deadline = None if timeout is None else time.monotonic() + timeout
        self.settimeout(0)
        try:
            while rest:
                try:
                    rest = rest[self.send(rest) :]
                    continue
                except NOT_NOW as error:
                    events = selectors.EVENT_READ
                    if not isinstance(error, ssl.SSLWantReadError):
                        events |= selectors.EVENT_WRITE
                try:
                    frame = self.receive_bytes()
                except NOT_NOW:
                    self._await(events, deadline)
                else:
                    if frame is None:
                        raise self._lost()
                    meanwhile(frame)
        finally:
            self._restore(timeout)

    def _await(self, events: int, deadline: float | None) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self, events)
            left = None if deadline is None else deadline - time.monotonic()
            if (left is not None and left <= 0) or not selector.select(left):
                raise TimeoutError("timed out")

    # --- receiving ------------------------------------------------------------------------------------------

    def receive_text(self) -> str | None:
        """Return the next frame as text; otherwise like `receive_bytes`.

        Raises:
            NotText: the frame is not UTF-8. It is dropped; the next one can be received.
        """
        data = self.receive_bytes()
        try:
            return None if data is None else data.decode()
        except UnicodeDecodeError:
            raise NotText from None

    def receive_bytes(self) -> bytes | None:
        """Return the next frame, or None if the peer has closed after the last one (an empty frame is `b""`).

        A partly received frame is kept after a timeout, or when a non-blocking socket has no more bytes: the next
        call goes on from there.

        Raises:
            FrameTooLarge: the peer announces more than `frame_limit`; known by the length alone. Close.
            ConnectionLost: the peer has closed in the middle of a frame.
            OSError: as sockets do; `TimeoutError` after the socket's timeout.
        """
        came = self._came = bytearray(self._came)
        with self._one_timeout() as step:
            while lacking := self._lacking(came):
                step()
                data = self.recv(min(lacking, PIECE))
                if not data:
                    if came:
                        raise self._lost()
                    return None
                came += data
        self._came = b""
        return bytes(memoryview(came)[LENGTH.size :])

    def _lacking(self, came: bytearray) -> int:
        """Return how many bytes are needed next, for the length or for the frame."""
        if len(came) < LENGTH.size:
            return LENGTH.size - len(came)
        (size,) = LENGTH.unpack_from(came)
        if size > self.frame_limit:
            raise FrameTooLarge(size=size, kind="frame", limit=self.frame_limit)
        return int(LENGTH.size + size - len(came))

    @contextmanager
    def _one_timeout(self) -> Iterator[Callable[[], None]]:
        """Yield a function to call before each step, so that all steps together have the socket's timeout."""
        timeout = self.gettimeout()
        if not timeout:
            yield lambda: None
            return
        deadline = time.monotonic() + timeout

        def step() -> None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self.settimeout(left)

        try:
            yield step
        finally:
            self._restore(timeout)

    def _restore(self, timeout: float | None) -> None:
        if self.fileno() != -1:  # else it was closed meanwhile
            self.settimeout(timeout)

    def _lost(self) -> ConnectionLost:
        try:
            peer = self.getpeername()
        except OSError:
            peer = ""
        address = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer)
        return ConnectionLost(address=address or "the peer")


def _check_stream(kind: int) -> None:
    if kind != socket.SOCK_STREAM:
        value = getattr(kind, "name", str(kind))
        raise SettingInvalid(source="FramedSocket", problem=_WRONG_TYPE, wanted="SOCK_STREAM", value=value)


class FramedTlsSocket(FramedSocket, ssl.SSLSocket):
    """A framed socket over TLS: set `context.sslsocket_class = FramedTlsSocket`, then `context.wrap_socket(...)`.

    A close that TLS does not confirm reads as a close unless `suppress_ragged_eofs=False`: the protocol above must
    say whether a frame was the last.
    """

    @property
    def binding(self) -> bytes | None:
        """The channel binding `tls-server-end-point` (RFC 5929) of the certificate that the server has sent.

        Raises:
            ValueError: this is the server's side, or the certificate's signature has no hash function (Ed25519).
        """
        return binding_of(self._certificate)

    @property
    def fingerprint(self) -> str:
        """The hash of the server's public key as addresses carry it, `sha256`, a colon and 43 characters.

        Raises:
            ValueError: this is the server's side, or the key is of an unknown kind.
        """
        return fingerprint_of(self._certificate)

    @property
    def _certificate(self) -> bytes:
        return self.getpeercert(binary_form=True) or b""
