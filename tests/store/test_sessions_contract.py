"""What every store of sessions does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import REVOCATIONS_KEPT, Claim, Marks, SessionRecord, Sessions

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def record(fingerprint: bytes, **changes: object) -> SessionRecord:
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
    return await sessions.open(new, most, unheld_by)


async def test_a_session_is_found_as_it_was_opened(sessions: Sessions) -> None:
    await opened(sessions, record(b"\x00one"))
    await opened(sessions, record(b"\x00two", name="ann"))
    assert await sessions.find(b"\x00one") == record(b"\x00one")
    assert await sessions.find(b"\x00") is None


async def test_a_fingerprint_does_not_print() -> None:
    assert "secret" not in repr(record(b"secret"))


async def test_a_fingerprint_belongs_to_one_session(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    with pytest.raises(TryLater):
        await opened(sessions, record(b"one", name="mallory"))
    assert await sessions.find(b"one") == record(b"one")


async def test_an_expired_session_is_found_until_it_is_forgotten(sessions: Sessions) -> None:
    await opened(sessions, record(b"old", expires_at=NOON))
    await opened(sessions, record(b"new", expires_at=NOON + MINUTE))
    assert await sessions.find(b"old") is not None
    await sessions.forget(NOON)
    assert await sessions.find(b"old") is None
    assert await sessions.find(b"new") is not None


async def test_sessions_that_are_held_are_seen_and_others_are_not(sessions: Sessions) -> None:
    for fingerprint in (b"one", b"two", b"three"):
        await opened(sessions, record(fingerprint))
    await sessions.held([b"one", b"two"], NOON + MINUTE)
    assert await sessions.find(b"one") == record(b"one", seen_at=NOON + MINUTE)
    assert await sessions.find(b"two") == record(b"two", seen_at=NOON + MINUTE)
    assert await sessions.find(b"three") == record(b"three")


async def test_forty_thousand_sessions_can_be_held_at_once(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.held([b"%d" % number for number in range(40_000)] + [b"one"], NOON + MINUTE)
    assert await sessions.find(b"one") == record(b"one", seen_at=NOON + MINUTE)


async def test_holding_none_changes_none(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.held([], NOON + MINUTE)
    assert await sessions.find(b"one") == record(b"one")


async def test_a_session_was_seen_when_it_was_released(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.released(b"one", "one", NOON + MINUTE)
    assert await sessions.find(b"one") == record(b"one", seen_at=NOON + MINUTE, owner=None)


async def test_a_session_that_ended_does_not_come_back(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await opened(sessions, record(b"two"))
    await sessions.end(b"one", "one")
    await sessions.end(b"one", "one")
    await sessions.held([b"one"], NOON)
    await sessions.released(b"one", "one", NOON)
    assert await sessions.find(b"one") is None
    assert await sessions.find(b"two") == record(b"two")


async def test_a_closed_store_says_try_later(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.close()
    await sessions.close()
    with pytest.raises(TryLater):
        await sessions.find(b"one")
    with pytest.raises(TryLater):
        await opened(sessions, record(b"two"))


# --- ended from outside -------------------------------------------------------------------------------------


async def told(sessions: Sessions, after: int = 0) -> list[tuple[bytes | None, int | None, str | None, str]]:
    return [
        (entry.fingerprint, entry.account_id, entry.owner, entry.reason)
        for entry in await sessions.revocations(after)
    ]


async def test_a_revoked_session_is_over_and_followers_are_told(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await opened(sessions, record(b"two"))
    assert await sessions.revoke(b"one", "revoked", NOON) is True
    assert await sessions.revoke(b"one", "revoked", NOON) is False
    assert [each.fingerprint for each in await sessions.all()] == [b"two"]
    assert (await told(sessions))[0] == (b"one", None, None, "revoked")


async def test_all_sessions_of_an_account_are_revoked_and_no_others(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await opened(sessions, record(b"two"))
    await opened(sessions, record(b"other", account_id=8))
    assert await sessions.revoke_account(7, "disabled", NOON) == 2
    assert await sessions.revoke_account(7, "disabled", NOON) == 0
    assert [each.fingerprint for each in await sessions.all()] == [b"other"]
    assert await told(sessions) == [(None, 7, None, "disabled")] * 2  # twice: the first may not have been heard


async def test_all_sessions_of_an_account_but_one_are_revoked_and_that_one_goes_on(sessions: Sessions) -> None:
    for fingerprint in (b"one", b"two", b"three"):
        await opened(sessions, record(fingerprint))
    await opened(sessions, record(b"other", account_id=8))
    assert await sessions.revoke_others(7, b"two", 4, "password", NOON) == 2
    assert await sessions.find(b"two") == record(b"two", epoch=4)
    assert {each.fingerprint for each in await sessions.all()} == {b"two", b"other"}
    entries = sorted(await told(sessions), key=str)
    assert entries == [(b"one", None, None, "password"), (b"three", None, None, "password")]


@pytest.mark.parametrize("proved", [None, Marks(b"n" * 32, b"s" * 32)])
async def test_the_transaction_of_an_opening_forgives_what_was_proved(
    sessions: Sessions, proved: Marks | None
) -> None:
    marks = Marks(b"n" * 32, b"s" * 32)
    for _ in range(5):
        assert await sessions.attempt(*marks, NOON) == 0
    await opened(sessions, record(b"one"))
    with pytest.raises(TryLater):  # there is one with its fingerprint
        await sessions.open(record(b"one"), 10, NOON, proved)
    assert await sessions.attempt(*marks, NOON) == 1
    await sessions.open(record(b"two"), 10, NOON, proved)
    assert await sessions.attempt(*marks, NOON) == (0 if proved else 1)


async def test_what_is_kept_for_a_session_is_given_once(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.keep({b"one": b"\x00kept"})
    assert await sessions.claim(b"one", "one", "::1", NOON) == Claim(0, kept=True)
    assert await sessions.take(b"one") == b"\x00kept"
    assert await sessions.take(b"one") is None
    assert await sessions.claim(b"one", "one", "::1", NOON) == Claim(0, kept=False)


async def test_nothing_is_kept_for_a_session_that_is_over(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.keep({b"one": b"kept", b"two": b"kept"})
    await sessions.end(b"one", "one")
    await opened(sessions, record(b"one"))
    assert await sessions.take(b"one") is None
    assert await sessions.take(b"two") is None
    await sessions.keep({})


async def test_revocations_are_numbered_upwards_and_read_from_any_number_on(sessions: Sessions) -> None:
    assert await sessions.position() == 0
    for reason in ("first", "second", "third"):
        await sessions.revoke(b"one", reason, NOON)
    numbers = [entry.id for entry in await sessions.revocations(0)]
    assert numbers == sorted(set(numbers))
    assert [entry.reason for entry in await sessions.revocations(numbers[0])] == ["second", "third"]
    assert await sessions.position() == numbers[-1]


async def test_old_revocations_are_forgotten_and_their_numbers_not_given_again(sessions: Sessions) -> None:
    await sessions.revoke(b"one", "old", NOON)
    newest = await sessions.position()
    await sessions.forget(NOON + REVOCATIONS_KEPT - MINUTE)
    assert len(await sessions.revocations(0)) == 1
    await sessions.forget(NOON + REVOCATIONS_KEPT)
    assert await sessions.revocations(0) == []
    await sessions.revoke(b"one", "new", NOON)
    assert [entry.reason for entry in await sessions.revocations(newest)] == ["new"]


async def test_a_session_that_is_taken_up_elsewhere_is_taken_from_its_server(sessions: Sessions) -> None:
    await opened(sessions, record(b"one", owner="first"))
    await opened(sessions, record(b"two", owner="first"))
    claim = await sessions.claim(b"one", "second", "192.0.2.1", NOON + MINUTE)
    assert await sessions.find(b"one") == record(
        b"one", owner="second", address="192.0.2.1", seen_at=NOON + MINUTE
    )
    assert await told(sessions) == [(b"one", None, "second", "replaced")]
    assert claim == Claim(await sessions.position(), kept=False)


async def test_nobody_is_told_of_a_session_that_its_own_server_takes_up_or_none_held(sessions: Sessions) -> None:
    await opened(sessions, record(b"one", owner="first"))
    assert await sessions.claim(b"one", "first", "::1", NOON) == Claim(0, kept=False)
    await sessions.released(b"one", "first", NOON)
    assert await sessions.claim(b"one", "second", "::1", NOON) == Claim(0, kept=False)
    assert await sessions.revocations(0) == []


async def test_a_session_that_is_over_cannot_be_taken_up(sessions: Sessions) -> None:
    assert await sessions.claim(b"one", "first", "::1", NOON) is None
    assert await sessions.find(b"one") is None


async def test_a_server_that_has_lost_a_session_neither_releases_nor_ends_it(sessions: Sessions) -> None:
    await opened(sessions, record(b"one", owner="second"))
    await sessions.released(b"one", "first", NOON + MINUTE)
    await sessions.end(b"one", "first")
    assert await sessions.find(b"one") == record(b"one", owner="second")


async def test_one_session_too_many_ends_the_oldest_of_the_account(sessions: Sessions) -> None:
    await opened(sessions, record(b"other", account_id=8, opened_at=NOON - DAY))
    for number, name in enumerate((b"one", b"two", b"three")):
        await opened(sessions, record(name, opened_at=NOON + number * MINUTE), most=3)
    assert await sessions.revocations(0) == []
    position = await opened(sessions, record(b"four", opened_at=NOON + 3 * MINUTE), most=3)
    assert {each.fingerprint for each in await sessions.all()} == {b"other", b"two", b"three", b"four"}
    assert await told(sessions) == [(b"one", None, None, "too-many")]
    assert position == await sessions.position()


async def test_sessions_that_nobody_holds_any_more_make_room_first(sessions: Sessions) -> None:
    await opened(sessions, record(b"held", opened_at=NOON - MINUTE, seen_at=NOON))
    await opened(sessions, record(b"left", opened_at=NOON, seen_at=NOON - MINUTE))
    await opened(sessions, record(b"new"), most=2, unheld_by=NOON - MINUTE)
    assert {each.fingerprint for each in await sessions.all()} == {b"held", b"new"}
