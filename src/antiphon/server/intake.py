"""Who takes what a connection reads: one who looks at each frame, or a shortcut while there is nothing to see."""

import asyncio
from collections.abc import Callable

from antiphon.transport.plain import PlainTransport

Receive = Callable[[bytes | bytearray, int], object]
"""Takes the first bytes of a buffer, which holds others afterwards."""


class Intake:
    """The receiver of one connection."""

    __slots__ = ("_careful", "_transport", "receive")

    def __init__(self, careful: Receive) -> None:
        """Have everything looked at by `careful`."""
        self._careful = careful
        self._transport: PlainTransport | None = None
        self.receive = careful
        """What to call with what comes, where the transport does not do so."""

    def of(self, transport: asyncio.BaseTransport) -> None:
        """Have a transport that can do so hand over what comes with no step between."""
        if isinstance(transport, PlainTransport):
            self._transport = transport

    def look(self) -> None:
        """Have what comes looked at."""
        if self.receive is not self._careful:
            self._hand_to(self._careful)

    def pass_by(self, shortcut: Receive) -> None:
        """Have it take a shortcut."""
        self._hand_to(shortcut)

    def _hand_to(self, receive: Receive) -> None:
        self.receive = receive
        if self._transport is not None:
            self._transport.hand_to(receive)
