"""Relay link: a connection between two processes of a server that carries one relayed connection.

Bytes go in parts with a header, each way under a credit of `WINDOW`: whoever sends has at most so many on the way
that the far end has not taken. So neither process keeps more for a slow client or a slow handler, and what stands
beside the bytes (drain, end, close) is never stuck behind them.
"""

import asyncio
from enum import IntEnum
from struct import Struct
from typing import Any, Protocol, cast

from antiphon.transport.contract import ServerTransport
from antiphon.transport.endpoint import Buffer
from antiphon.wire.kinds import KIB

RELAY_VERSION = 1
"""Version of the parts. Processes of different versions do not relay to each other; `HAND_ON` stays as it is."""
WINDOW = 64 * KIB
"""Bytes of one direction that may be on the way."""
CLOSE_SECONDS = 5.0
"""Time in which the far end must close, too: TLS waits for it."""
_PART_MOST = 16 * KIB
"""Bytes in one part of data: what stands behind it does not wait for more."""
_TAKEN_STEP = WINDOW // 4
"""Bytes taken that are reported at once; fewer go with the next part, or with `report`."""
_HEADER = Struct(">BI")
"""kind, length of the payload"""
_COUNT = Struct(">I")


class Part(IntEnum):
    """Kinds of parts, and who says them."""

    OPEN = 1
    """relaying process, first: a client wants to resume a session"""
    HAND_ON = 2
    """the same, first: the session of this fingerprint is wanted, but cannot be relayed"""
    READY = 3
    """home, to OPEN: it runs"""
    GO = 4
    """relaying process, to READY: the client is still there, and this is its RESUME (`opening.Opening`)"""
    ADMITTED = 5
    """home: the client holds the session, bytes follow"""
    REFUSED = 6
    """home: the client is refused: a code of an error"""
    MOVED = 7
    """home: the session has its home elsewhere, or nowhere now"""
    DATA = 8
    """both"""
    TAKEN = 9
    """both: so many bytes were taken"""
    DRAIN = 10
    """relaying process: it stops, the client should say goodbye"""
    EOF = 11
    """both: no data follows"""
    CLOSE = 12
    """home: close the client's connection after what was sent"""


_PARTS = frozenset(map(int, Part)) - {Part.DATA, Part.TAKEN}


class LinkEnd(Protocol):
    """User of one end of a link."""

    def said(self, part: Part, payload: bytes) -> None:
        """Take a part that is neither data nor a count."""

    def data(self, data: bytearray) -> None:
        """Take bytes of the far end's; report them by `RelayLink.took` when they are passed on."""

    def credited(self) -> None:
        """Go on: the far end has taken bytes."""

    def lost(self) -> None:
        """Let go: the link is closed."""


class RelayLink:
    """One end of a link. It is a `Receiver` of the transport below."""

    __slots__ = (
        "_behind", "_credit", "_held", "_lost", "_owed", "_queue", "_rest", "_taken", "_transport", "end",
    )  # fmt: skip

    def __init__(self, end: LinkEnd) -> None:
        """Serve `end`; nothing is said before there is a transport."""
        self.end: LinkEnd = end
        self._transport: ServerTransport | None = None
        self._rest = bytearray()
        """The beginning of a part that has not come whole."""
        self._queue = bytearray()
        """Bytes beyond the credit."""
        self._behind: list[Part] = []
        """Parts that follow the queue."""
        self._credit = WINDOW
        self._taken = 0
        """Bytes of the far end's that were taken and not reported."""
        self._owed = 0
        """Bytes of the far end's that were not reported as taken: at most the credit that it has."""
        self._held = False
        self._lost = False

    # --- saying -----------------------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Bytes beyond the credit: they wait here."""
        return len(self._queue)

    @property
    def untaken(self) -> int:
        """Bytes sent that the far end has not taken."""
        return WINDOW - self._credit + len(self._queue)

    def say(self, part: Part, payload: bytes = b"") -> None:
        """Say something beside the bytes: it overtakes those that are queued."""
        self._write(_HEADER.pack(part, len(payload)) + payload)

    def say_behind(self, part: Part) -> None:
        """Say something behind all bytes."""
        if self._queue:
            self._behind.append(part)
        else:
            self.say(part)

    def send(self, data: Buffer) -> None:
        """Send bytes as far as the credit goes; the rest is queued."""
        if self._queue or len(data) > min(self._credit, _PART_MOST):
            self._queue += data
            self._flush()
        elif data:
            self._credit -= len(data)
            self._write(_HEADER.pack(Part.DATA, len(data)) + data)

    def _flush(self) -> None:
        while self._queue and self._credit:
            data = bytes(self._queue[: min(self._credit, _PART_MOST)])
            del self._queue[: len(data)]
            self._credit -= len(data)
            self._write(_HEADER.pack(Part.DATA, len(data)) + data)
        if not self._queue:
            behind, self._behind = self._behind, []
            for part in behind:
                self.say(part)

    def took(self, size: int) -> None:
        """Note that bytes of the far end's were passed on."""
        self._taken += size
        if self._taken >= _TAKEN_STEP:
            self.report()

    def report(self) -> None:
        """Report what was taken."""
        if self._taken:
            self._write(b"")

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._lost:
            return
        if self._taken:
            data = _HEADER.pack(Part.TAKEN, _COUNT.size) + _COUNT.pack(self._taken) + data
            self._owed -= self._taken
            self._taken = 0
        self._transport.write(data)

    def hold(self) -> None:
        """Take nothing more until `serve` is called."""
        self._held = True

    def serve(self, end: LinkEnd) -> None:
        """Serve another end from now on, with what has come meanwhile."""
        self.end = end
        self._held = False
        if self._rest:
            self.received(bytearray(), 0)
        if self._lost:
            end.lost()

    def close(self) -> None:
        """Close after what was said, and at last without the far end."""
        if self._transport is not None and not self._lost:
            self._transport.close()
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._end)

    def _end(self) -> None:
        if not self._lost:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- called by the transport ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("Any", transport)

    def received(self, buffer: bytearray, size: int) -> None:
        """Take parts."""
        if self._rest:
            self._rest += memoryview(buffer)[:size]
            buffer, size, self._rest = self._rest, len(self._rest), bytearray()
        at = 0
        while size - at >= _HEADER.size and not self._held:
            kind, length = _HEADER.unpack_from(buffer, at)
            end = at + _HEADER.size + length
            if length > WINDOW:
                self._break()
                return
            if end > size:
                break
            self._take(kind, buffer[at + _HEADER.size : end])
            at = end
        if at < size:
            self._rest = buffer[at:size]

    def _take(self, kind: int, payload: bytearray) -> None:
        if kind == Part.DATA:
            self._owed += len(payload)
            if self._owed > WINDOW:
                self._break()
            else:
                self.end.data(payload)
        elif kind == Part.TAKEN and len(payload) == _COUNT.size:
            self._credit = min(WINDOW, self._credit + _COUNT.unpack(payload)[0])
            self._flush()
            self.end.credited()
        elif kind in _PARTS:
            self.end.said(Part(kind), bytes(payload))
        else:
            self._break()

    def _break(self) -> None:
        """Close because of what the far end says; nothing more is taken."""
        self._held = True
        self.abort()

    def eof_received(self) -> bool:
        """Close: the far end does."""
        return False

    def pause_writing(self) -> None:
        """Do nothing: the credit bounds what is on the way."""

    def resume_writing(self) -> None:
        """Likewise."""

    def peer_lags(self) -> None:
        """Likewise."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell the end."""
        self._lost = True
        self.end.lost()
