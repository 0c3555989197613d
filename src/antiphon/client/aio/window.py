"""Send window of the asyncio client."""

import asyncio

from antiphon.client.protocol.window import WINDOW, WINDOW_BYTES, Window


class WaitingWindow(Window):
    """A window that tasks wait for, first come, first served."""

    def __init__(self) -> None:
        """Start with no message."""
        super().__init__()
        self._turn = asyncio.Lock()
        self._less = asyncio.Event()

    @property
    def blocked(self) -> bool:
        """Whether `enter` would wait."""
        return self._messages >= WINDOW or self._size >= WINDOW_BYTES or self._turn.locked()

    async def enter(self, size: int) -> None:
        """Wait until a message of `size` bytes may be sent, and count it."""
        if self.blocked:
            async with self._turn:
                while self.full:
                    self._less.clear()
                    await self._less.wait()
                self.add(size)
        else:
            self.add(size)

    def remove(self, size: int, messages: int = 1) -> None:
        """Count messages as answered."""
        super().remove(size, messages)
        if self._turn.locked():
            self._less.set()
