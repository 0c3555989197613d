"""Closings: the sessions whose connection has ended last, with the reason."""

from collections import deque
from datetime import datetime
from typing import NamedTuple

CLOSINGS_MOST = 50
"""Closings that are kept: a few kilobytes, and more than a person reads."""


class Closing(NamedTuple):
    """The end of the connection of a session."""

    closed_at: datetime
    name: str
    address: str
    opened_at: datetime
    reason: str
    """The event of the log: `left`, `broken-off`, `closed`, `replaced`, `revoked`, `expired`, `cut`."""
    cause: str
    """Of `cut`: the code of the error. Of `revoked`: the reason in the revocation log."""


Closings = deque[Closing]
"""The last ones, the oldest first; `new_closings` makes it."""


def new_closings() -> Closings:
    """Return closings without one."""
    return deque(maxlen=CLOSINGS_MOST)
