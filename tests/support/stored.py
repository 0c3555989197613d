"""Sessions as the contract tests of a store open them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from antiphon.store.contracts import ProcessRecord, SessionRecord, Sessions

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def record(fingerprint: bytes, **changes: object) -> SessionRecord:
    """Return a session of the account 7, opened at noon by the process `one`, which holds it."""
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
        home="one",
        claim=1,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # fields of several types


def process(id: str, **changes: object) -> ProcessRecord:
    """Return a process that takes relays."""
    plain = ProcessRecord(
        id=id,
        pid=1,
        started_at=NOON,
        beat=1,
        relay_address=f"/run/{id}",
        relay_version=1,
        service="echo",
        limits="1048576",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # fields of several types


async def opened(sessions: Sessions, new: SessionRecord, most: int = 10) -> int:
    """Open a session, and return the position of the revocation log."""
    result = await sessions.open(new, most)
    assert result is not None
    return result.position
