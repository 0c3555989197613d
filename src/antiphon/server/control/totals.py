"""Totals: what a process, or a server, has done since its start, beside the events of its log."""

from collections import Counter

import msgspec

from antiphon.wire.times import TIME_BOUNDS


class Totals(msgspec.Struct, frozen=True):
    """Figures that only grow; those of several processes are added."""

    received_bytes: int = 0
    sent_bytes: int = 0
    """Bytes of frames, without TLS."""
    resumes: dict[str, int] = {}
    """Resumes that clients of the process asked for, by `registry.Resumed`; those that it relayed are events."""
    handled: list[int] = msgspec.field(default_factory=lambda: [0] * (len(TIME_BOUNDS) + 1))
    """Messages by the time of the handler: up to each of `TIME_BOUNDS`, and beyond the last."""
    handler_seconds: float = 0.0
    store_calls: int = 0
    store_seconds: float = 0.0
    log_dropped: int = 0
    """Records that the log could not write."""

    def plus(self, other: "Totals") -> "Totals":
        """Return the figures of both together."""
        return Totals(
            received_bytes=self.received_bytes + other.received_bytes,
            sent_bytes=self.sent_bytes + other.sent_bytes,
            resumes=dict(Counter(self.resumes) + Counter(other.resumes)),
            handled=[ours + theirs for ours, theirs in zip(self.handled, other.handled, strict=True)],
            handler_seconds=self.handler_seconds + other.handler_seconds,
            store_calls=self.store_calls + other.store_calls,
            store_seconds=self.store_seconds + other.store_seconds,
            log_dropped=self.log_dropped + other.log_dropped,
        )
