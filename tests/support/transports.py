"""A transport that records what is asked of it."""

import asyncio


class RecordingTransport(asyncio.Transport):
    """Passes nothing on; `unsent` is what the peer has not taken."""

    write_framed = None

    def __init__(self, *, can_half_close: bool = True, unsent: int = 0) -> None:
        super().__init__()
        self.can_half_close = can_half_close
        self.unsent = unsent
        self.written = bytearray()
        self.asked: list[str] = []
        """What was asked beside writing, in order."""

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take any."""

    def limit_reading(self, size: int) -> None:
        """Read nothing, whatever the limit."""

    def hand_to(self, received: object) -> None:
        self.asked.append("hand_to")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.asked.append("write_eof")

    def close(self) -> None:
        self.asked.append("close")

    def abort(self) -> None:
        self.asked.append("abort")

    def pause_reading(self) -> None:
        self.asked.append("pause_reading")

    def resume_reading(self) -> None:
        self.asked.append("resume_reading")
