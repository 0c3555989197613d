"""Splitting of a connection's bytes into frames, for `--explain`; it checks as little as it can."""

from collections.abc import Iterator

from antiphon.wire.frames import COUNTED_HEADER_SIZE, HEADER_SIZE, LENGTH_SIZE, read_header
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST, TOKEN_SIZE

LARGEST = COUNTED_HEADER_SIZE + TOKEN_SIZE + MESSAGE_LIMIT_MOST
"""The largest valid value of a frame's length field."""


class Splitter:
    """Splits the bytes of one direction into frames; yields None, as the last item, if they are not frames."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._broken = False

    def split(self, data: bytes) -> Iterator[bytes | None]:
        if self._broken:
            return
        self._data += data
        while len(self._data) >= HEADER_SIZE:
            length, _, _, reserved, _ = read_header(self._data)
            if reserved or not COUNTED_HEADER_SIZE <= length <= LARGEST:
                self._broken = True
                self._data.clear()
                yield None
                return
            end = LENGTH_SIZE + length
            if len(self._data) < end:
                return
            frame = bytes(self._data[:end])
            del self._data[:end]
            yield frame
