"""Write buffer of a connection: joins frames into few writes, and holds them back while the peer does not read."""

from antiphon.transport.contract import ServerTransport
from antiphon.wire.kinds import KIB

BATCH_LIMIT = 64 * KIB
"""Bytes in one write: few system calls for small answers, and no pile of large ones in the transport."""
QUEUE_LIMIT = 256 * KIB
"""Bytes that may wait in either direction before the connection stops taking more (promise 12)."""
ENTRY_QUEUE_LIMIT = 16 * KIB
"""Bytes received before sign-in that may wait: more than any honest client sends ahead."""
PUSHED_LIMIT = 2 * QUEUE_LIMIT
"""Bytes that may wait for a peer that is pushed to: what the transport holds, and as much again."""


class WriteBuffer:
    """Bytes on their way to a transport, which sets `paused` while it can take no more."""

    __slots__ = ("_counted", "_parts", "_size", "_written", "paused", "transport", "wrote")

    def __init__(self, transport: ServerTransport) -> None:
        """Start empty."""
        self.transport = transport
        self._parts: list[bytes] = []
        self._size = 0
        self._written = self._counted = 0
        self.paused = False
        """The transport can take no more now."""
        self.wrote = False
        """Something was written since somebody last set this to False."""

    @property
    def waiting(self) -> int:
        """Bytes that the peer has not taken, with what TLS adds to them."""
        return self._size + self.transport.get_write_buffer_size()

    @property
    def overfull(self) -> bool:
        """Whether too much is pushed to a peer that takes nothing."""
        return self.paused and self.waiting > PUSHED_LIMIT

    @property
    def taken(self) -> int:
        """Bytes that the peer has taken in all, likewise."""
        return self._written - self.transport.get_write_buffer_size()

    def credit(self, size: int) -> None:
        """Count bytes that the fast path has written to the transport itself."""
        if size:
            self._written += size
            self.wrote = True

    def take_written(self) -> int:
        """Return how many bytes were written since the last call."""
        written, self._counted = self._written - self._counted, self._written
        return written

    def add(self, data: bytes) -> None:
        """Append `data`; it is sent with the next flush, or at once when a batch is full."""
        self._parts.append(data)
        self._size += len(data)
        if self._size >= BATCH_LIMIT:
            self.flush()

    def put(self, data: bytes) -> None:
        """Append `data` and flush."""
        if self._parts or self.paused or len(data) > BATCH_LIMIT:
            self.add(data)
            self.flush()
        else:
            self._write(data)

    def flush(self) -> None:
        """Write batch by batch, until nothing waits or the transport can take no more."""
        while self._parts and not self.paused:
            parts, size = self._parts, self._size
            self._parts, self._size = [], 0  # before writing: the transport may call us from within
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            if size > BATCH_LIMIT:
                self._parts, self._size = [data[BATCH_LIMIT:]], size - BATCH_LIMIT
                data = data[:BATCH_LIMIT]
            self._write(data)

    def finish(self) -> None:
        """Write everything, whether or not the transport can take it; nothing may be added after it."""
        data = b"".join(self._parts)
        self._parts, self._size = [], 0
        if data:
            self._write(data)

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        self.wrote = True
        self.transport.write(data)
