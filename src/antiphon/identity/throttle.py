"""How fast passwords may be guessed (promise 4; NIST SP 800-63B-4, 3.2.2), and by what the failures are counted.

Rules only: the counts are in a store, and the time is passed in.
"""

import hmac
import math
from datetime import datetime

FREE_FAILURES = 4
"""Failures in a row after which nobody waits yet: people mistype."""
MOST_FAILURES = 100
"""Failures in a row after which a name is locked (NIST SP 800-63B-4, 3.2.2)."""
LONGEST_DELAY = 3600.0
"""Seconds between two attempts at the most."""


def delay(failures: int) -> float:
    """Return the seconds that must pass after so many failures in a row; infinity where the name is locked."""
    if failures >= MOST_FAILURES:
        return math.inf
    if failures <= FREE_FAILURES:
        return 0.0
    return min(2.0 ** (failures - FREE_FAILURES - 1), LONGEST_DELAY)


def wait(failures: int, failed_at: datetime, at: datetime) -> float:
    """Return the seconds from `at` until the next attempt may be made: 0 for now, infinity for never.

    `failed_at` is when the last of the `failures` was counted. Where it lies in the future, a clock was set back:
    the distance counts, so that a clock that was a day off locks nobody out for a day.
    """
    elapsed = abs((at - failed_at).total_seconds())
    return max(0.0, delay(failures) - elapsed)


def name_mark(name_key: str, key: bytes) -> bytes:
    """Return by what the failures of a name are counted, whether anybody has it or not: a keyed hash, 32 bytes.

    `name_key` is the name's key, or what was claimed when it is no name; `key` is the key ring's `mock_key`, which
    never changes. A stolen store so does not tell which names were tried: people type passwords there.
    """
    return hmac.digest(key, b"failures\0" + name_key.encode(), "sha256")


def source_mark(name: bytes, source: bytes, key: bytes) -> bytes:
    """Return by what an address is known to one name, whose mark is `name`: a keyed hash, 32 bytes."""
    return hmac.digest(key, b"source\0" + name + source, "sha256")
