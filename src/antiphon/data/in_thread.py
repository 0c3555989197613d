"""Long work that blocks, in a thread: whoever waits for it may be cancelled, and the work then ends soon."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from antiphon.store.copied import Told

Result = TypeVar("Result")


class _Abandoned(Exception):
    """Nobody waits for the work any more."""


async def in_thread(work: Callable[[Told], Result], told: Told) -> Result:
    """Return what `work` returns; `told` is called in the thread.

    If this is cancelled, the work ends at its next call of `told`, and this after it.
    """
    abandoned = False

    def watched(done: int, of: int) -> None:
        if abandoned:
            raise _Abandoned
        told(done, of)

    running = asyncio.ensure_future(asyncio.to_thread(work, watched))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        abandoned = True
        with contextlib.suppress(Exception):
            await running
        raise
