"""What every store of sessions does."""

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import LoginFailures, Marks, RevocationLog, Sessions, Store
from store.test_revocations_contract import told
from support.stored import DAY, MINUTE, NOON, opened, record


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
    await sessions.forget(NOON, NOON - DAY)
    assert await sessions.find(b"old") is None
    assert await sessions.find(b"new") is not None


async def test_a_closed_store_says_try_later(store: Store, sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await store.close()
    await store.close()
    with pytest.raises(TryLater):
        await sessions.find(b"one")
    with pytest.raises(TryLater):
        await opened(sessions, record(b"two"))


# --- ended from outside -------------------------------------------------------------------------------------


@pytest.mark.parametrize("proved", [None, Marks(b"n" * 32, b"s" * 32)])
async def test_the_transaction_of_an_opening_forgives_what_was_proved(
    sessions: Sessions, failures: LoginFailures, proved: Marks | None
) -> None:
    marks = Marks(b"n" * 32, b"s" * 32)
    for _ in range(5):
        assert await failures.attempt(*marks, NOON) == 0
    await opened(sessions, record(b"one"))
    with pytest.raises(TryLater):  # there is one with its fingerprint
        await sessions.open(record(b"one"), 10, NOON, proved)
    assert await failures.attempt(*marks, NOON) == 1
    await sessions.open(record(b"two"), 10, NOON, proved)
    assert await failures.attempt(*marks, NOON) == (0 if proved else 1)


async def test_an_opening_takes_the_refusals_under_the_name_that_was_proved(
    sessions: Sessions, failures: LoginFailures
) -> None:
    marks = Marks(b"n" * 32, b"s" * 32)
    for name in (marks.name, marks.name, b"other" * 7):
        await failures.refused(name, NOON)
    assert (await sessions.open(record(b"one"), 10, NOON)).refusals == 0
    assert (await sessions.open(record(b"two"), 10, NOON, marks)).refusals == 2
    assert (await sessions.open(record(b"three"), 10, NOON, marks)).refusals == 0
    assert await failures.refusals() == {b"other" * 7: 1}


async def test_one_session_too_many_ends_the_oldest_of_the_account(
    sessions: Sessions, revocations: RevocationLog
) -> None:
    await opened(sessions, record(b"other", account_id=8, opened_at=NOON - DAY))
    for number, name in enumerate((b"one", b"two", b"three")):
        await opened(sessions, record(name, opened_at=NOON + number * MINUTE), most=3)
    assert await revocations.entries(0) == []
    position = await opened(sessions, record(b"four", opened_at=NOON + 3 * MINUTE), most=3)
    assert {each.fingerprint for each in await sessions.all()} == {b"other", b"two", b"three", b"four"}
    assert await told(revocations) == [(b"one", None, None, "too-many")]
    assert position == await revocations.position()


async def test_sessions_that_nobody_holds_any_more_make_room_first(sessions: Sessions) -> None:
    await opened(sessions, record(b"held", opened_at=NOON - MINUTE, seen_at=NOON))
    await opened(sessions, record(b"left", opened_at=NOON, seen_at=NOON - MINUTE))
    await opened(sessions, record(b"new"), most=2, unheld_by=NOON - MINUTE)
    assert {each.fingerprint for each in await sessions.all()} == {b"held", b"new"}
