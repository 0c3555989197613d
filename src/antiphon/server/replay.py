"""What a session has sent and its client has not acknowledged, to be sent again on another connection."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Self

import msgspec

from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB

REPLAY_LIMIT = 256 * KIB
"""Bytes that are kept of a session; the oldest frames make way."""


class Replay:
    """Frames by their number: the first one of a session has number 0."""

    __slots__ = ("_frames", "_size", "first")

    def __init__(self, first: int = 0, frames: Iterable[bytes] = ()) -> None:
        """Begin with `frames`, of which the first has the number `first`."""
        self.first = first
        """The number of the oldest frame that is kept."""
        self._frames = deque(frames)
        self._size = sum(map(len, self._frames))

    @property
    def sent(self) -> int:
        """How many frames there were in all."""
        return self.first + len(self._frames)

    @property
    def full(self) -> bool:
        """Whether the next frame may push out one that was not acknowledged."""
        return self._size >= REPLAY_LIMIT

    def keep(self, frame: bytes) -> None:
        """Keep one more frame."""
        self._frames.append(frame)
        self._size += len(frame)
        while self._size > REPLAY_LIMIT:
            self._drop()

    def acknowledge(self, received: int) -> None:
        """Forget the frames before number `received`; one that was never sent is no news."""
        while self._frames and self.first < received:
            self._drop()

    def kept(self) -> list[bytes]:
        """Return the frames that are kept, in order."""
        return list(self._frames)

    def _drop(self) -> None:
        self._size -= len(self._frames.popleft())
        self.first += 1


class Kept(msgspec.Struct, array_like=True):
    """What one server leaves of a dialogue for the next."""

    received: int
    first: int
    frames: list[bytes]
    waiting: list[tuple[int, bool, bytes]]
    """id, whether it is text, and the message as bytes"""

    @classmethod
    def of(cls, received: int, replay: Replay, waiting: Iterable[tuple[int, Payload]]) -> Self:
        """Return what is left of a dialogue: how many messages came, what was sent, which messages still wait."""
        messages = [
            (id, isinstance(message, str), message.encode() if isinstance(message, str) else message)
            for id, message in waiting
        ]
        return cls(received, replay.first, replay.kept(), messages)

    @classmethod
    def parse(cls, data: bytes | None) -> Self | None:
        """Return what `dump` wrote, None where there is nothing that can be read."""
        try:
            return msgspec.msgpack.decode(data or b"", type=cls)
        except msgspec.MsgspecError:
            return None

    def dump(self) -> bytes:
        """Return it as bytes."""
        return msgspec.msgpack.encode(self)

    def replay(self) -> Replay:
        """Return what was sent."""
        return Replay(self.first, self.frames)

    def messages(self) -> Iterator[tuple[int, Payload]]:
        """Yield the messages that wait."""
        for id, is_text, message in self.waiting:
            yield id, message.decode() if is_text else message
