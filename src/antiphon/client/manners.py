"""What both clients hold to once they are in: time limits, what a goodbye means, what a message may be.

No I/O here: `connection.py` does it in asyncio, `blocking_connection.py` without.
"""

from antiphon.errors import (
    AntiphonError,
    MessageTooLarge,
    NotText,
    ServerStopping,
    SessionEnded,
    SessionReplaced,
)
from antiphon.wire.bodies import Limits
from antiphon.wire.frames import Payload

FAREWELLS: dict[str, type[AntiphonError]] = {
    "drained": ServerStopping,
    "replaced": SessionReplaced,
    "revoked": SessionEnded,
    "expired": SessionEnded,
}
"""What the server's last words mean for whoever is still waiting."""
HANG_UP_SECONDS = 1.0
"""How long TLS may take to say goodbye on a connection that nobody needs."""
LEAST_BEAT = 0.05
"""Seconds between two looks at the clock, at the least: a server may say that its heartbeat is 0."""


def beat_seconds(limits: Limits) -> float:
    """Return after how many seconds of sending nothing a heartbeat is sent: in half the time that is asked for."""
    return max(limits.heartbeat / 2, LEAST_BEAT)


def check_message(message: Payload, limits: Limits) -> int:
    """Check that the server will take a message; return its size in bytes.

    Raises:
        MessageTooLarge: it would end the connection.
        NotText: it holds half a surrogate pair, which UTF-8 cannot.
    """
    try:
        size = len(message.encode()) if isinstance(message, str) else len(message)
    except UnicodeEncodeError:
        raise NotText from None
    if size > limits.message:
        raise MessageTooLarge(size=size, limit=limits.message)
    return size
