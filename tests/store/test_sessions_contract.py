"""What every store of sessions does."""

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import TOO_MANY, LoginFailures, Marks, Processes, RevocationLog, Sessions, Store
from store.test_revocations_contract import told
from support.stored import DAY, MINUTE, NOON, opened, process, record


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
        await sessions.open(record(b"one"), 10, proved)
    assert await failures.attempt(*marks, NOON) == 1
    await sessions.open(record(b"two"), 10, proved)
    assert await failures.attempt(*marks, NOON) == (0 if proved else 1)


async def test_an_opening_takes_the_refusals_under_the_name_that_was_proved(
    sessions: Sessions, failures: LoginFailures
) -> None:
    marks = Marks(b"n" * 32, b"s" * 32)
    for name in (marks.name, marks.name, b"other" * 7):
        await failures.refused(name, NOON)
    results = [
        await sessions.open(record(fingerprint), 10, proved)
        for fingerprint, proved in ((b"one", None), (b"two", marks), (b"three", marks))
    ]
    assert [each and each.refusals for each in results] == [0, 2, 0]
    assert await failures.refusals() == {b"other" * 7: 1}


# --- as many as there may be ---------------------------------------------------------------------------------


async def left(sessions: Sessions) -> set[bytes]:
    return {each.fingerprint for each in await sessions.all()}


async def test_one_session_too_many_ends_the_one_that_nobody_has_held_for_the_longest(
    sessions: Sessions, processes: Processes, revocations: RevocationLog
) -> None:
    await processes.enter(process("alive"))
    await opened(sessions, record(b"other", account_id=8, owner=None, opened_at=NOON - DAY, seen_at=NOON - DAY))
    await opened(sessions, record(b"first", owner="alive", opened_at=NOON - DAY, seen_at=NOON - DAY))
    await opened(sessions, record(b"late", owner=None, opened_at=NOON - 2 * MINUTE, seen_at=NOON))
    await opened(sessions, record(b"early", owner=None, opened_at=NOON - MINUTE, seen_at=NOON - MINUTE), most=4)
    assert await revocations.entries(0) == []
    position = await opened(sessions, record(b"new", owner="alive"), most=3)
    assert await left(sessions) == {b"other", b"first", b"late", b"new"}
    assert await told(revocations) == [(b"early", None, None, TOO_MANY)]
    assert position == await revocations.position()
    await opened(sessions, record(b"newer", owner="alive"), most=3)
    assert await left(sessions) == {b"other", b"first", b"new", b"newer"}


@pytest.mark.parametrize("owner", [None, "dead"])
async def test_a_session_that_is_held_does_not_make_way_for_those_that_are_not(
    sessions: Sessions, processes: Processes, owner: str | None
) -> None:
    await processes.enter(process("alive"))
    await opened(sessions, record(b"used", owner="alive", opened_at=NOON - DAY))
    for number in range(11):
        await opened(sessions, record(b"%d" % number, owner=owner, opened_at=NOON + number * MINUTE))
    assert await left(sessions) == {b"used"} | {b"%d" % number for number in range(2, 11)}


@pytest.mark.parametrize("proved", [None, Marks(b"n" * 32, b"s" * 32)])
async def test_where_all_are_held_none_is_opened_and_the_password_was_right(
    sessions: Sessions,
    processes: Processes,
    revocations: RevocationLog,
    failures: LoginFailures,
    proved: Marks | None,
) -> None:
    marks = Marks(b"n" * 32, b"s" * 32)
    await processes.enter(process("alive"))
    for fingerprint in (b"one", b"two"):
        await opened(sessions, record(fingerprint, owner="alive"))
    await failures.refused(marks.name, NOON)
    for _ in range(5):
        assert await failures.attempt(*marks, NOON) == 0
    assert await sessions.open(record(b"new", owner="alive"), 2, proved) is None
    assert await left(sessions) == {b"one", b"two"}
    assert await revocations.entries(0) == []
    assert await failures.attempt(*marks, NOON) == (0 if proved else 1)
    assert await failures.refusals() == {marks.name: 1}  # they are told once a session is opened


async def test_who_says_so_ends_the_oldest_of_those_that_are_held(
    sessions: Sessions, processes: Processes, revocations: RevocationLog
) -> None:
    await processes.enter(process("alive"))
    for number, fingerprint in enumerate((b"two", b"one", b"three")):
        at = NOON - MINUTE * (5 if fingerprint == b"one" else number)
        await opened(sessions, record(fingerprint, owner="alive", opened_at=at, seen_at=NOON + number * MINUTE))
    done = await sessions.open(record(b"new", owner="alive"), 3, replace=True)
    assert done is not None
    assert await left(sessions) == {b"two", b"three", b"new"}
    assert await told(revocations) == [(b"one", None, None, TOO_MANY)]
    assert done.position == await revocations.position()


async def test_who_says_so_ends_none_that_is_held_while_others_are_not(
    sessions: Sessions, processes: Processes
) -> None:
    await processes.enter(process("alive"))
    await opened(sessions, record(b"held", owner="alive", opened_at=NOON - DAY))
    await opened(sessions, record(b"left", owner=None))
    await sessions.open(record(b"new", owner="alive"), 2, replace=True)
    assert await left(sessions) == {b"held", b"new"}
