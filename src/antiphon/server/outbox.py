"""What a connection has to say: joined into few writes, and held back while the peer does not take it."""

from collections.abc import Callable

from antiphon.transport.contract import ServerTransport
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB

BATCH_LIMIT = 64 * KIB
"""Bytes in one write: few system calls for small answers, and no pile of large ones below us."""

QUEUE_LIMIT = 256 * KIB
"""Bytes that may wait in either direction before the connection stops taking more (promise 12)."""
ENTRY_QUEUE_LIMIT = 16 * KIB
"""The same of what comes before sign-in: more than any honest client sends ahead."""
PUSHED_LIMIT = 2 * QUEUE_LIMIT
"""Bytes that may wait for a peer that is pushed to: what the transport holds, and as much again."""


class Outbox:
    """Bytes on their way to `transport`, which says `paused` when it can take no more."""

    __slots__ = ("_parts", "_size", "_transport", "_written", "paused", "spoke")

    def __init__(self, transport: ServerTransport) -> None:
        """Begin with nothing to say."""
        self._transport = transport
        self._parts: list[bytes] = []
        self._size = 0
        self._written = 0
        self.paused = False
        """The transport can take no more now."""
        self.spoke = False
        """Something was written since somebody last set this to False."""

    @property
    def write(self) -> Callable[[bytes], object]:
        """What writes past us, for whoever knows that nothing waits here, and has it credited."""
        return self._transport.write

    @property
    def write_framed(self) -> Callable[[bytes, Payload], object] | None:
        """The same with a header and a payload, where the transport can do that."""
        return self._transport.write_framed

    @property
    def waiting(self) -> int:
        """Bytes that the peer has not taken, those of TLS around what was written included."""
        return self._size + self._transport.get_write_buffer_size()

    @property
    def overfull(self) -> bool:
        """Whether a peer that takes nothing is pushed to for too long."""
        return self.paused and self.waiting > PUSHED_LIMIT

    @property
    def taken(self) -> int:
        """Bytes that the peer has taken in all, likewise."""
        return self._written - self._transport.get_write_buffer_size()

    def credit(self, size: int) -> None:
        """Know of bytes that went to the transport past us."""
        if size:
            self._written += size
            self.spoke = True

    def add(self, data: bytes) -> None:
        """Have `data` sent with the next flush, or at once where a batch is full."""
        self._parts.append(data)
        self._size += len(data)
        if self._size >= BATCH_LIMIT:
            self.flush()

    def put(self, data: bytes) -> None:
        """Send `data` now, behind what waits, as far as the transport can take it."""
        if self._parts or self.paused or len(data) > BATCH_LIMIT:
            self.add(data)
            self.flush()
        else:
            self._written += len(data)
            self.spoke = True
            self._transport.write(data)

    def flush(self) -> None:
        """Write what waits, batch by batch, until the transport can take no more."""
        while self._parts and not self.paused:
            parts, size = self._parts, self._size
            self._parts, self._size = [], 0  # before writing: the transport may call us back from within
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            if size > BATCH_LIMIT:
                self._parts, self._size = [data[BATCH_LIMIT:]], size - BATCH_LIMIT
                data = data[:BATCH_LIMIT]
            self._written += len(data)
            self.spoke = True
            self._transport.write(data)

    def finish(self) -> None:
        """Write everything, whether or not the transport can take it: nothing comes after this."""
        data = b"".join(self._parts)
        self._parts, self._size = [], 0
        if data:
            self._written += len(data)
            self.spoke = True
            self._transport.write(data)
