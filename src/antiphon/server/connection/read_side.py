"""Read side of a connection: open, paused, or ended by the peer."""

from enum import Enum, auto

from antiphon.transport.contract import ServerTransport


class _State(Enum):
    OPEN = auto()
    PAUSED = auto()
    ENDED = auto()


class ReadSide:
    """Whether the transport hands over what the peer sends."""

    __slots__ = ("_counted", "_state", "_transport", "received")

    def __init__(self, transport: ServerTransport) -> None:
        """Start open."""
        self._transport = transport
        self._state = _State.OPEN
        self._counted = self.received = 0
        """Bytes: those that were taken with `take_received`, and all of which the connection knows."""

    def take_received(self) -> int:
        """Return how many bytes were received since the last call."""
        received, self._counted = self.received - self._counted, self.received
        return received

    @property
    def paused(self) -> bool:
        """Whether received bytes are left in the socket."""
        return self._state is _State.PAUSED

    @property
    def ended(self) -> bool:
        """Whether the peer has sent its last byte."""
        return self._state is _State.ENDED

    def pause(self, *, paused: bool) -> None:
        """Stop reading, or read on; nothing happens after the peer's last byte."""
        if not self.ended and self.paused != paused:
            self._state = _State.PAUSED if paused else _State.OPEN
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def end(self) -> None:
        """Note that the peer has sent its last byte."""
        self._state = _State.ENDED
