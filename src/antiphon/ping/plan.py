"""Plan of a load: what the options of `antiphon ping` want sent, and when."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Number and times of the messages to send."""

    size: int = 64
    """Bytes of a message."""
    depth: int = 1
    """Most unanswered messages at once on each connection."""
    interval: float = 0.0
    """Closed loop: least seconds from a message to the one that its answer triggers."""
    rate: float | None = None
    """Open loop: messages a second over all connections; None for a closed loop."""
    count: int | None = None
    """Messages in all; None for no limit."""
    duration: float | None = None
    """Seconds to send messages for; None for no limit."""
    patience: float = 10.0
    """Seconds to wait for answers after the last message."""
    seed: int = 0
    """Seed of the random text of the messages."""
