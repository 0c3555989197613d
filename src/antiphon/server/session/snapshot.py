"""Snapshot of a channel: what a stopping server saves of a session for the next one."""

from collections.abc import Iterable, Iterator
from typing import Self

import msgspec

from antiphon.server.session.queue import Answered, Waiting
from antiphon.server.session.replay import ReplayBuffer
from antiphon.server.session.subscriptions import KeptTopics


class Snapshot(msgspec.Struct, array_like=True):
    """Counts, unacknowledged frames, messages that wait in the queue, and subscriptions."""

    received: int
    """frames received"""
    first: int
    """number of the first of `frames`"""
    frames: list[bytes]
    waiting: list[tuple[int, bool | None, bytes]]
    """id, whether it is text, and the message as bytes; with None the frame that answers it"""
    known: bool = True
    """whether client and server agree on the counts"""
    topics: KeptTopics | None = None

    @classmethod
    def of(cls, replay: ReplayBuffer, waiting: Iterable[tuple[int, Waiting]], topics: KeptTopics) -> Self:
        """Return the snapshot of these counts and frames, messages and subscriptions."""
        packed = [(id, *_packed(message)) for id, message in waiting]
        return cls(replay.received, replay.first, replay.frames(), packed, replay.known, topics)

    def messages(self) -> Iterator[tuple[int, Waiting]]:
        """Yield the messages that wait, with their ids."""
        for id, is_text, message in self.waiting:
            yield id, Answered(message) if is_text is None else message.decode() if is_text else message

    def encode(self) -> bytes:
        """Return the snapshot as bytes, for the store."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes | None) -> Self | None:
        """Return the snapshot in `data`; None if there is none or it cannot be read."""
        try:
            return msgspec.msgpack.decode(data or b"", type=cls)
        except msgspec.MsgspecError:
            return None


def _packed(message: Waiting) -> tuple[bool | None, bytes]:
    if isinstance(message, Answered):
        return None, message.frame
    return (True, message.encode()) if isinstance(message, str) else (False, message)
