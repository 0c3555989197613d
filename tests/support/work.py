"""Work that code does, counted in calls: a busy machine does not change it, as it changes a time."""

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

ANY_TIME = (
    "/asyncio/",
    "/concurrent/",
    "/selectors.py",
    "/threading.py",
    "/_weakrefset.py",
    "/weakref.py",
    "/queue.py",
)
"""Python's own code that runs more or less often, depending on when another thread answers."""


@contextmanager
def calls_counted() -> Iterator["Counter[str]"]:
    """Count the calls that this thread makes in the block, of functions in Python and in C, by name.

    A coroutine or generator counts once, however often it goes on: that depends on when others answer.
    """
    counted: Counter[str] = Counter()
    begun: set[FrameType] = set()  # kept, so that no other frame gets the same identity

    def count(frame: FrameType, event: str, called: object) -> None:
        code: CodeType = frame.f_code
        if any(part in code.co_filename for part in ANY_TIME):
            return
        if event == "call" and frame not in begun:
            begun.add(frame)
            counted[f"{code.co_filename}:{code.co_qualname}"] += 1
        elif event == "c_call":
            counted[f"{code.co_qualname} calls {getattr(called, '__qualname__', called)}"] += 1

    collecting = gc.isenabled()
    gc.disable()  # a collection may call finalizers of objects of other tests
    sys.setprofile(count)
    try:
        yield counted
    finally:
        sys.setprofile(None)
        if collecting:
            gc.enable()
