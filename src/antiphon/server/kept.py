"""A dialogue between two servers: what one that stops keeps of it, and another goes on with."""

from collections.abc import Iterable, Iterator
from typing import Self

import msgspec

from antiphon.wire.frames import Payload


class Kept(msgspec.Struct, array_like=True):
    """Counts, frames that were not acknowledged, and messages that wait."""

    received: int
    first: int
    frames: list[bytes]
    waiting: list[tuple[int, bool, bytes]]
    """id, whether it is text, and the message as bytes"""

    @classmethod
    def of(cls, received: int, first: int, frames: list[bytes], waiting: Iterable[tuple[int, Payload]]) -> Self:
        """Return what is to be kept."""
        packed = [
            (id, True, message.encode()) if isinstance(message, str) else (id, False, message)
            for id, message in waiting
        ]
        return cls(received, first, frames, packed)

    def messages(self) -> Iterator[tuple[int, Payload]]:
        """Yield the messages that wait, with their ids."""
        for id, is_text, message in self.waiting:
            yield id, message.decode() if is_text else message

    def encode(self) -> bytes:
        """Return it as bytes."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes | None) -> Self | None:
        """Return what `data` holds; None where that is nothing."""
        try:
            return msgspec.msgpack.decode(data or b"", type=cls)
        except msgspec.MsgspecError:
            return None
