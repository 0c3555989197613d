"""Leak checks: references to watched objects and, in `make fuzz`, memory; blocks of memory; Python's memory.

Other threads, caches and lists of free objects take memory now and then: what is checked must take it each time.
"""

import ctypes
import gc
import sys
import tracemalloc
from array import array
from collections.abc import Callable, Sequence
from functools import cache

TRIES = 8
ROUNDS = 100


@cache
def _counter() -> Callable[[], int]:
    """Return a function that counts memory in use: that of the sanitizer; else 0, as counting is slow."""
    try:
        counted = ctypes.CDLL(None).__sanitizer_get_current_allocated_bytes
    except AttributeError:
        return lambda: 0
    counted.restype = ctypes.c_size_t
    gc.freeze()  # existing objects need not be visited each time
    return counted


def _measure(watched: Sequence[object], into: "array[int]") -> None:
    for place, it in enumerate(watched, 1):
        into[place] = sys.getrefcount(it)
    into[0] = _counter()()


def assert_nothing_stays(play: Callable[[], object], watched: Sequence[object] = ()) -> None:
    """Repeat `play`: a cache grows once, a leak grows each time."""
    seen = []
    before, after = (array("q", bytes(8 * (1 + len(watched)))) for _ in range(2))
    for attempt in range(TRIES):
        for into in before, after:
            if into is after:
                play()
            if attempt:
                gc.collect()  # it empties Python's free lists too, which may have grown
            _measure(watched, into)
        memory, *references = changed = [now - then for then, now in zip(before, after, strict=True)]
        if memory <= 0 and not any(references):
            return
        seen.append(changed)
    raise AssertionError(f"each time something stays (memory, then references): {seen}")


def assert_no_block_stays(once: Callable[[], object]) -> None:
    """Repeat `once` often: lists of free objects and other threads grow now and then, a leak each time."""
    grown = []
    for _ in range(TRIES):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(ROUNDS):
            once()
            gc.collect(0)
        gc.collect()
        grown.append(sys.getallocatedblocks() - before)
        if grown[-1] < ROUNDS // 2:
            return
    raise AssertionError(f"in each {ROUNDS} rounds blocks stay: {grown}")


def assert_takes_less(play: Callable[[], object], limit: int) -> None:
    """Repeat `play`: at no moment it takes `limit` bytes of Python's memory."""
    _assert_less(lambda: _memory_of(play)[1], limit)


def assert_keeps_less(play: Callable[[], object], limit: int) -> None:
    """Repeat `play`: it does not leave `limit` bytes of Python's memory taken, those of its result included."""
    _assert_less(lambda: _memory_of(play)[0], limit)


def _memory_of(play: Callable[[], object]) -> tuple[int, int]:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = play()
        after, most = tracemalloc.get_traced_memory()
        del result
    finally:
        tracemalloc.stop()
    return after - before, most - before


def _assert_less(measure: Callable[[], int], limit: int) -> None:
    seen = []
    for _ in range(TRIES):
        seen.append(measure())
        if seen[-1] < limit:
            return
    raise AssertionError(f"each time it is more than {limit} bytes: {seen}")
