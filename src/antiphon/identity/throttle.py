"""Throttle rules for failed sign-ins (promise 4; NIST SP 800-63B-4, 3.2.2): waits, and the keys to count by.

This module holds no state: a store keeps the counts, and the caller passes the time in.
"""

import hmac
import math
from datetime import datetime, timedelta

FREE_FAILURES = 4
"""Failures in a row that cost no wait: people mistype."""
MOST_FAILURES = 100
"""Failures in a row after which a name is locked (NIST SP 800-63B-4, 3.2.2)."""
LONGEST_DELAY = 3600.0
"""Most seconds between two attempts."""
_MOST_DOUBLINGS = 20
"""Doublings of an hour for which failures are kept: 120 years."""


def delay(failures: int) -> float:
    """Return the seconds to wait after this many failures in a row; infinity if the name is locked."""
    if failures >= MOST_FAILURES:
        return math.inf
    if failures <= FREE_FAILURES:
        return 0.0
    return min(2.0 ** (failures - FREE_FAILURES - 1), LONGEST_DELAY)


def wait(failures: int, failed_at: datetime, at: datetime) -> float:
    """Return the seconds from `at` until the next attempt is allowed: 0 for now, infinity for never.

    `failed_at` is the time of the last of the `failures`. If it lies in the future, a clock was set back: the
    distance counts as elapsed time, so that a clock which was a day ahead locks nobody out for a day.
    """
    elapsed = abs((at - failed_at).total_seconds())
    return max(0.0, delay(failures) - elapsed)


def kept_until(failures: int, failed_at: datetime) -> datetime:
    """Return the time up to which failures under a name are worth keeping, for a table that has become full.

    The time doubles with each failure: two hours for one, six weeks for ten. A locked name outlasts all others. So
    a name makes way only for names that failed as often, or for one that failed a long time later.
    """
    doublings = _MOST_DOUBLINGS + 1 if failures >= MOST_FAILURES else min(failures, _MOST_DOUBLINGS)
    return failed_at + timedelta(hours=1 << doublings)


def name_mark(name_key: str, key: bytes) -> bytes:
    """Return the key under which the failures of a name are counted: a keyed hash, 32 bytes.

    The server counts them whether or not the name has an account.

    `name_key` is the key of the name, or the claimed text if it is not a valid name; `key` is the key ring's
    `mock_key`, which never changes. The hash keeps the claimed names out of a stolen store: people sometimes type
    their password as the name.
    """
    return hmac.digest(key, b"failures\0" + name_key.encode(), "sha256")


def source_mark(name: bytes, source: bytes, key: bytes) -> bytes:
    """Return the key of a source address under one name, whose mark is `name`: a keyed hash, 32 bytes."""
    return hmac.digest(key, b"source\0" + name + source, "sha256")
