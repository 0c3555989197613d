"""Validity of a certificate: what there is to say of it before its first day, near its last one, and after it."""

from datetime import datetime, timedelta
from typing import Literal

EXPIRY_NOTICE = timedelta(days=21)
"""Time before the end from which it is told. Authorities renew 30 days before it: then nothing is told at all."""

Condition = Literal["certificate-not-yet-valid", "certificate-expires", "certificate-expired"]
"""Event in the log, and word among the problems of a server."""


def condition_of(valid_from: datetime | None, expires_at: datetime | None, now: datetime) -> Condition | None:
    """Return what to say of a certificate at the time `now`; None if there is nothing, or no certificate."""
    if expires_at is not None and expires_at <= now:
        return "certificate-expired"
    if valid_from is not None and valid_from > now:
        return "certificate-not-yet-valid"
    if expires_at is not None and expires_at - now < EXPIRY_NOTICE:
        return "certificate-expires"
    return None
