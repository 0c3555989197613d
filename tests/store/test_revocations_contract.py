"""What every revocation log does, and which ends of sessions stand in it."""

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import REVOCATIONS_KEPT, RevocationLog, Sessions, Store
from support.stored import MINUTE, NOON, opened, record


async def told(
    revocations: RevocationLog, after: int = 0
) -> list[tuple[bytes | None, int | None, str | None, str]]:
    return [
        (entry.fingerprint, entry.account_id, entry.owner, entry.reason)
        for entry in await revocations.entries(after)
    ]


async def test_revocations_are_numbered_upwards_and_read_from_any_number_on(
    sessions: Sessions, revocations: RevocationLog
) -> None:
    assert await revocations.position() == 0
    for reason in ("first", "second", "third"):
        await sessions.revoke(b"one", reason, NOON)
    numbers = [entry.id for entry in await revocations.entries(0)]
    assert numbers == sorted(set(numbers))
    assert [entry.reason for entry in await revocations.entries(numbers[0])] == ["second", "third"]
    assert await revocations.position() == numbers[-1]


async def test_old_revocations_are_forgotten_and_their_numbers_not_given_again(
    sessions: Sessions, revocations: RevocationLog
) -> None:
    await sessions.revoke(b"one", "old", NOON)
    newest = await revocations.position()
    await revocations.trim(NOON + REVOCATIONS_KEPT - MINUTE)
    assert len(await revocations.entries(0)) == 1
    await revocations.trim(NOON + REVOCATIONS_KEPT)
    assert await revocations.entries(0) == []
    await sessions.revoke(b"one", "new", NOON)
    assert [entry.reason for entry in await revocations.entries(newest)] == ["new"]


async def test_a_revoked_session_is_over_and_followers_are_told(
    sessions: Sessions, revocations: RevocationLog
) -> None:
    await opened(sessions, record(b"one"))
    await opened(sessions, record(b"two"))
    assert await sessions.revoke(b"one", "revoked", NOON) is True
    assert await sessions.revoke(b"one", "revoked", NOON) is False
    assert [each.fingerprint for each in await sessions.all()] == [b"two"]
    assert (await told(revocations))[0] == (b"one", None, None, "revoked")


async def test_all_sessions_of_an_account_are_revoked_and_no_others(
    sessions: Sessions, revocations: RevocationLog
) -> None:
    await opened(sessions, record(b"one"))
    await opened(sessions, record(b"two"))
    await opened(sessions, record(b"other", account_id=8))
    assert await sessions.revoke_account(7, "disabled", NOON) == 2
    assert await sessions.revoke_account(7, "disabled", NOON) == 0
    assert [each.fingerprint for each in await sessions.all()] == [b"other"]
    assert await told(revocations) == [(None, 7, None, "disabled")] * 2  # twice: the first may not have been heard


async def test_all_sessions_of_an_account_but_one_are_revoked_and_that_one_goes_on(
    sessions: Sessions, revocations: RevocationLog
) -> None:
    for fingerprint in (b"one", b"two", b"three"):
        await opened(sessions, record(fingerprint))
    await opened(sessions, record(b"other", account_id=8))
    assert await sessions.revoke_others(7, b"two", 4, "password", NOON) == 2
    assert await sessions.find(b"two") == record(b"two", epoch=4)
    assert {each.fingerprint for each in await sessions.all()} == {b"two", b"other"}
    entries = sorted(await told(revocations), key=str)
    assert entries == [(b"one", None, None, "password"), (b"three", None, None, "password")]


async def test_a_home_ends_all_other_sessions_of_an_account_while_it_has_its_own(
    sessions: Sessions, revocations: RevocationLog
) -> None:
    for fingerprint in (b"one", b"two", b"three"):
        await opened(sessions, record(fingerprint))
    await opened(sessions, record(b"other", account_id=8))
    home, claim = record(b"two").home or "", record(b"two").claim
    assert await sessions.end_others(b"two", "another", claim, "elsewhere", NOON) is None
    assert await sessions.end_others(b"two", home, claim + 1, "elsewhere", NOON) is None
    assert await sessions.end_others(b"gone", home, claim, "elsewhere", NOON) is None
    assert await told(revocations) == []
    assert await sessions.end_others(b"two", home, claim, "elsewhere", NOON) == 2
    assert await sessions.find(b"two") == record(b"two")
    assert {each.fingerprint for each in await sessions.all()} == {b"two", b"other"}
    entries = sorted(await told(revocations), key=str)
    assert entries == [(b"one", None, None, "elsewhere"), (b"three", None, None, "elsewhere")]


async def test_expired_sessions_and_old_revocations_are_forgotten_apart(
    sessions: Sessions, revocations: RevocationLog
) -> None:
    await opened(sessions, record(b"one", expires_at=NOON))
    await sessions.revoke(b"two", "old", NOON)
    await sessions.forget(NOON + 2 * REVOCATIONS_KEPT, NOON)
    assert await told(revocations) == [(b"two", None, None, "old")]
    await opened(sessions, record(b"one", expires_at=NOON))
    await revocations.trim(NOON + 2 * REVOCATIONS_KEPT)
    assert await sessions.find(b"one") is not None
    assert await told(revocations) == []


async def test_a_closed_log_says_try_later(store: Store, revocations: RevocationLog) -> None:
    await store.close()
    with pytest.raises(TryLater):
        await revocations.entries(0)
    with pytest.raises(TryLater):
        await revocations.position()
    with pytest.raises(TryLater):
        await revocations.trim(NOON)
