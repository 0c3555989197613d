"""Long work that blocks, in a thread: whoever waits for it may be cancelled, and the work then ends soon."""

from collections.abc import Callable
from typing import TypeVar

from antiphon.store.copied import Told
from antiphon.store.thread import StoreThread

Result = TypeVar("Result")


class _Abandoned(Exception):
    """Error in the thread when nobody waits for the work any more."""


async def in_thread(work: Callable[[Told], Result], told: Told) -> Result:
    """Return what `work` returns; `told` is called in the thread.

    If this is cancelled, the work ends at its next call of `told`, and this after it. Work that is stuck, as a
    write to a pipe that nobody reads, is left behind after some seconds.
    """
    abandoned = False

    def watched(done: int, of: int) -> None:
        if abandoned:
            raise _Abandoned
        told(done, of)

    thread = StoreThread("work")
    try:
        return await thread.do(lambda: work(watched))
    finally:
        abandoned = True
        await thread.close()
