"""Contract between a connection and the transport below it: what each may ask of the other.

A transport states what it can do. A connection does not look at its type.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from antiphon.transport.endpoint import Buffer


class Receiver(Protocol):
    """An `asyncio.Protocol` that takes bytes out of a buffer that others use after it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`; so with the rest."""

    def received(self, buffer: bytearray, size: int) -> None:
        """Take the first `size` bytes of `buffer`; they are overwritten when this returns."""

    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class ServerTransport(Protocol):
    """What a server's connection asks of its transport, beside what `asyncio.Transport` documents."""

    @property
    def can_half_close(self) -> bool:
        """Whether the peer can be answered after its last byte, and hear our last words before the end."""

    @property
    def write_framed(self) -> Callable[[bytes, str | bytes], None] | None:
        """Function that writes a header and a payload without joining them; None if the transport has none."""

    def hand_to(self, received: Callable[[bytearray, int], object]) -> None:
        """Hand bytes to `received` from now on, and not to the protocol."""

    @property
    def write(self) -> Callable[[Buffer], None]:
        """Function that writes bytes."""

    def write_eof(self) -> None:
        """Close our direction; call it only if `can_half_close`."""

    def get_write_buffer_size(self) -> int: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
