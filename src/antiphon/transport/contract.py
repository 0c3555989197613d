"""Contract between a connection and the transport below it: what each may call on the other.

A transport states what it can do; a connection never looks at its type.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from antiphon.transport.endpoint import Buffer


class Fence(Protocol):
    """Holds reading back after a time in which the process has not run (`server.home.fence`)."""

    state: bytearray
    """Two doubles for the endpoints: the monotonic time of the last look, and 1 while it is closed."""

    def check(self) -> bool:
        """Return whether it is open."""

    def wait(self, go_on: Callable[[], object], /) -> None:
        """Call `go_on` once it is open."""


class Receiver(Protocol):
    """An `asyncio.Protocol` that gets received bytes in a shared buffer; the other methods are asyncio's."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def received(self, buffer: bytearray, size: int) -> None:
        """Take the first `size` bytes of `buffer`, which is overwritten after the call."""

    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class SecureReceiver(Receiver, Protocol):
    """A `Receiver` above TLS."""

    def peer_lags(self) -> None:
        """Note that the peer does not take what TLS itself sends."""


class ServerTransport(Protocol):
    """What a server's connection calls on its transport; methods without a docstring are those of asyncio."""

    @property
    def can_half_close(self) -> bool:
        """Whether one direction can be closed alone: a peer that sends no more still gets answers."""

    @property
    def write_framed(self) -> Callable[[bytes, str | bytes], None] | None:
        """Function that writes a header and its payload without joining them; None if the transport has none."""

    def set_protocol(self, protocol: Any) -> None:
        """Serve another `Receiver` from now on."""

    def hand_to(self, received: Callable[[bytearray, int], object]) -> None:
        """Call `received` with received bytes from now on, instead of the protocol."""

    def limit_reading(self, size: int) -> None:
        """Read at most `size` bytes at once from now on; 0 for as many as the buffer takes."""

    @property
    def write(self) -> Callable[[Buffer], None]:
        """Function that writes bytes."""

    def write_eof(self) -> None:
        """Close the sending direction. Precondition: `can_half_close`."""

    def get_write_buffer_size(self) -> int: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
