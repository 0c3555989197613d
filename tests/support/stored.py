"""Sessions as the contract tests of a store open them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from antiphon.store.contracts import SessionRecord, Sessions

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def record(fingerprint: bytes, **changes: object) -> SessionRecord:
    """Return a session of the account 7, opened at noon and held by the server `one`."""
    plain = SessionRecord(
        fingerprint=fingerprint,
        account_id=7,
        name="Вадим",
        epoch=3,
        opened_at=NOON,
        expires_at=NOON + DAY,
        seen_at=NOON,
        owner="one",
        address="::1",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # fields of several types


async def opened(sessions: Sessions, new: SessionRecord, most: int = 10, unheld_by: datetime = NOON - DAY) -> int:
    """Open a session, and return the position of the revocation log."""
    return (await sessions.open(new, most, unheld_by)).position
