"""What every store of sessions does with their homes, and how it fences a former home."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import Claim, Processes, RevocationLog, SessionRecord, Sessions, Store
from store.test_revocations_contract import told
from support.stored import DAY, MINUTE, NOON, opened, process, record

LATER = NOON + MINUTE


# --- claiming -----------------------------------------------------------------------------------------------


async def test_a_session_that_is_over_cannot_be_claimed(sessions: Sessions) -> None:
    assert await sessions.claim(b"one", 0, "first", "::1", NOON) is None
    assert await sessions.find(b"one") is None


async def test_a_claim_makes_a_home_and_tells_the_one_before(
    sessions: Sessions, revocations: RevocationLog
) -> None:
    await opened(sessions, record(b"one"))
    await opened(sessions, record(b"two"))
    claim = await sessions.claim(b"one", 1, "second", "192.0.2.1", LATER)
    assert await told(revocations) == [(b"one", None, "second", "replaced")]
    assert claim == Claim(2, await revocations.position(), None)
    assert await sessions.find(b"one") == record(
        b"one", home="second", owner="second", claim=2, address="192.0.2.1", seen_at=LATER
    )
    assert await sessions.find(b"two") == record(b"two")


@pytest.mark.parametrize(
    ("home", "owner"),
    [(None, None), ("second", "second"), ("second", None)],
)
async def test_nobody_is_told_of_a_claim_that_takes_nothing_away(
    sessions: Sessions, revocations: RevocationLog, home: str | None, owner: str | None
) -> None:
    await opened(sessions, record(b"one", home=home, owner=owner))
    assert await sessions.claim(b"one", 1, "second", "::1", NOON) == Claim(2, 0, None)
    assert await revocations.entries(0) == []


@pytest.mark.parametrize(
    ("home", "owner"),
    [("first", "first"), ("first", None), ("first", "second"), ("second", "first"), (None, "first")],
)
async def test_whoever_has_or_holds_a_session_is_told_of_a_claim(
    sessions: Sessions, revocations: RevocationLog, home: str | None, owner: str | None
) -> None:
    await opened(sessions, record(b"one", home=home, owner=owner))
    assert await sessions.claim(b"one", 1, "second", "::1", NOON) == Claim(2, 1, None)
    assert await told(revocations) == [(b"one", None, "second", "replaced")]


@pytest.mark.parametrize("expected", [0, 2])
async def test_a_session_that_was_claimed_meanwhile_is_not_claimed(
    sessions: Sessions, revocations: RevocationLog, expected: int
) -> None:
    await opened(sessions, record(b"one"))
    assert await sessions.claim(b"one", expected, "second", "::1", LATER) is None
    assert await sessions.find(b"one") == record(b"one")
    assert await revocations.entries(0) == []


async def test_a_living_home_that_takes_relays_is_not_robbed(
    sessions: Sessions, processes: Processes, revocations: RevocationLog
) -> None:
    await processes.enter(process("one"))
    await opened(sessions, record(b"one"))
    assert await sessions.claim(b"one", 1, "second", "::1", LATER) is None
    assert await sessions.find(b"one") == record(b"one")
    assert await revocations.entries(0) == []
    assert await sessions.claim(b"one", 1, "one", "::1", NOON) == Claim(2, 0, None)  # by itself
    await processes.remove("one")
    assert await sessions.claim(b"one", 2, "second", "::1", LATER) == Claim(3, 1, None)


async def test_a_living_home_that_takes_no_relays_loses_a_session_to_a_claim(
    sessions: Sessions, processes: Processes, revocations: RevocationLog
) -> None:
    await processes.enter(process("one", relay_address=""))
    await opened(sessions, record(b"one"))
    assert await sessions.claim(b"one", 1, "second", "::1", LATER) == Claim(2, 1, None)
    assert await told(revocations) == [(b"one", None, "second", "replaced")]


async def test_of_several_that_claim_a_session_at_once_one_gets_it(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    claims = await asyncio.gather(*(sessions.claim(b"one", 1, f"{n}", "::1", NOON) for n in range(10)))
    assert [claim.number for claim in claims if claim] == [2]


# --- snapshots ----------------------------------------------------------------------------------------------


async def test_a_session_that_is_handed_on_has_no_home_and_its_snapshot_comes_with_the_claim(
    sessions: Sessions, revocations: RevocationLog
) -> None:
    await opened(sessions, record(b"one"))
    await opened(sessions, record(b"two"))
    assert await sessions.hand_on(b"one", "one", 1, b"\x00kept", LATER) is True
    assert await sessions.find(b"one") == record(b"one", home=None, owner=None, seen_at=LATER)
    assert await sessions.claim(b"two", 1, "second", "::1", LATER) == Claim(2, 1, None)
    assert await sessions.claim(b"one", 1, "second", "::1", LATER) == Claim(2, 1, b"\x00kept")
    assert await told(revocations) == [(b"two", None, "second", "replaced")]


async def test_a_snapshot_stays_until_it_is_dropped(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.hand_on(b"one", "one", 1, b"kept", NOON)
    for number in (1, 2, 3):  # a home whose answer came too late, or that has died
        claim = await sessions.claim(b"one", number, "second", "::1", NOON)
        assert claim is not None
        assert claim.snapshot == b"kept"
    assert await sessions.drop_snapshot(b"one", "second", 4) is True
    assert await sessions.drop_snapshot(b"one", "second", 4) is True  # it is still at home there
    claim = await sessions.claim(b"one", 4, "second", "::1", NOON)
    assert claim is not None
    assert claim.snapshot is None


async def test_handing_on_without_a_snapshot_leaves_none(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.hand_on(b"one", "one", 1, b"kept", NOON)
    await sessions.claim(b"one", 1, "one", "::1", NOON)
    assert await sessions.hand_on(b"one", "one", 2, None, NOON) is True
    claim = await sessions.claim(b"one", 2, "one", "::1", NOON)
    assert claim is not None
    assert claim.snapshot is None


async def test_a_session_that_nobody_held_was_not_seen_when_it_was_handed_on(sessions: Sessions) -> None:
    await opened(sessions, record(b"one", owner=None))
    await sessions.hand_on(b"one", "one", 1, None, LATER)
    assert await sessions.find(b"one") == record(b"one", home=None, owner=None)


async def test_a_session_that_is_over_has_no_snapshot(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.hand_on(b"one", "one", 1, b"kept", NOON)
    await sessions.revoke(b"one", "revoked", NOON)
    assert await sessions.hand_on(b"one", "one", 1, b"kept", NOON) is False
    await opened(sessions, record(b"one"))
    claim = await sessions.claim(b"one", 1, "one", "::1", NOON)
    assert claim is not None
    assert claim.snapshot is None


async def test_snapshots_of_sessions_that_nobody_can_resume_are_forgotten(
    sessions: Sessions, processes: Processes
) -> None:
    await processes.enter(process("alive"))
    for fingerprint, owner, seen_at in (
        (b"left", None, NOON),
        (b"dead", "dead", NOON),
        (b"held", "alive", NOON),
        (b"late", None, LATER),
    ):
        new = record(fingerprint)
        await opened(sessions, new)
        await sessions.hand_on(fingerprint, "one", 1, b"kept", NOON)
        if owner is not None:
            await sessions.claim(fingerprint, 1, owner, "::1", seen_at)
        else:
            await sessions.claim(fingerprint, 1, "one", "::1", seen_at)
            await sessions.released(fingerprint, "one", 2, seen_at)
    await processes.enter(process("alive", relay_address=""))
    await sessions.forget(NOON - DAY, NOON)
    claims = {
        name: await sessions.claim(name, 2, "x", "::1", NOON) for name in (b"left", b"dead", b"held", b"late")
    }
    assert {name: claim and claim.snapshot for name, claim in claims.items()} == {
        b"left": None,
        b"dead": None,
        b"held": b"kept",
        b"late": b"kept",
    }


# --- holding ------------------------------------------------------------------------------------------------


async def test_a_home_holds_a_session_by_its_own_connection_or_through_another_process(
    sessions: Sessions, processes: Processes, revocations: RevocationLog
) -> None:
    await processes.enter(process("relaying"))
    await opened(sessions, record(b"one", owner=None))
    await sessions.revoke(b"other", "revoked", NOON)
    for owner in ("relaying", "one"):
        held = await sessions.hold(b"one", "one", 1, owner=owner, address="192.0.2.1", at=LATER)
        assert held == Claim(1, await revocations.position()) == Claim(1, 1)
        assert await sessions.find(b"one") == record(b"one", owner=owner, address="192.0.2.1", seen_at=LATER)


async def test_a_process_that_is_dead_holds_nothing(sessions: Sessions, revocations: RevocationLog) -> None:
    await opened(sessions, record(b"one"))
    assert await sessions.hold(b"one", "one", 1, owner="dead", address="192.0.2.1", at=LATER) == Claim(1, 0)
    assert await sessions.find(b"one") == record(b"one", owner=None, address="192.0.2.1", seen_at=LATER)
    assert await revocations.entries(0) == []


async def test_a_session_that_is_over_cannot_be_held(sessions: Sessions) -> None:
    assert await sessions.hold(b"one", "one", 1, owner="one", address="::1", at=LATER) is None


async def test_sessions_that_are_held_are_seen_and_others_are_not(sessions: Sessions) -> None:
    for fingerprint in (b"one", b"two", b"three"):
        await opened(sessions, record(fingerprint))
    await sessions.held([(b"one", 1), (b"two", 1)], "one", LATER)
    assert await sessions.find(b"one") == record(b"one", seen_at=LATER)
    assert await sessions.find(b"two") == record(b"two", seen_at=LATER)
    assert await sessions.find(b"three") == record(b"three")


async def test_forty_thousand_sessions_can_be_held_at_once(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    marks = [(b"%d" % number, 1) for number in range(40_000)]
    await sessions.held([*marks, (b"one", 1)], "one", LATER)
    assert await sessions.find(b"one") == record(b"one", seen_at=LATER)


async def test_holding_none_changes_none(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.held([], "one", LATER)
    assert await sessions.find(b"one") == record(b"one")


async def test_a_session_was_seen_when_it_was_released(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.released(b"one", "one", 1, LATER)
    assert await sessions.find(b"one") == record(b"one", seen_at=LATER, owner=None)
    await sessions.released(b"one", "one", 1, NOON + DAY)  # nobody held it meanwhile
    assert await sessions.find(b"one") == record(b"one", seen_at=LATER, owner=None)


async def test_the_sessions_of_a_home_are_listed_with_their_claims(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await opened(sessions, record(b"two", owner=None))
    await opened(sessions, record(b"other", home="other"))
    await opened(sessions, record(b"gone"))
    await sessions.hand_on(b"gone", "one", 1, None, NOON)
    await sessions.claim(b"two", 1, "one", "::1", NOON)
    assert await sessions.homed("one") == {b"one": 1, b"two": 2}
    assert await sessions.homed("nobody") == {}


# --- ending, and what a former home may do ------------------------------------------------------------------


async def test_a_session_that_ended_does_not_come_back(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await opened(sessions, record(b"two"))
    await sessions.end(b"one", "one", 1)
    await sessions.end(b"one", "one", 1)
    await sessions.held([(b"one", 1)], "one", NOON)
    await sessions.released(b"one", "one", 1, NOON)
    assert await sessions.find(b"one") is None
    assert await sessions.find(b"two") == record(b"two")


async def test_a_home_may_end_a_session_that_it_has_handed_on_and_nobody_has_claimed(sessions: Sessions) -> None:
    await opened(sessions, record(b"one"))
    await sessions.hand_on(b"one", "one", 1, None, NOON)
    await sessions.end(b"one", "one", 1)
    assert await sessions.find(b"one") is None


WRITES: dict[str, Callable[[Sessions, str, int], Awaitable[object]]] = {
    "hold": lambda sessions, home, claim: sessions.hold(
        b"one", home, claim, owner=home, address="192.0.2.9", at=NOON + DAY
    ),
    "held": lambda sessions, home, claim: sessions.held([(b"one", claim)], home, NOON + DAY),
    "released": lambda sessions, home, claim: sessions.released(b"one", home, claim, NOON + DAY),
    "hand_on": lambda sessions, home, claim: sessions.hand_on(b"one", home, claim, b"late", NOON + DAY),
    "drop_snapshot": lambda sessions, home, claim: sessions.drop_snapshot(b"one", home, claim),
    "end": lambda sessions, home, claim: sessions.end(b"one", home, claim),
}
"""What a home writes."""


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(("home", "claim"), [("first", 2), ("second", 1), ("first", 1)])
async def test_a_home_that_has_lost_a_session_changes_nothing_in_it(
    sessions: Sessions, write: str, home: str, claim: int
) -> None:
    before = record(b"one", home="first", owner="first")
    await opened(sessions, before)
    await sessions.hand_on(b"one", "first", 1, b"kept", NOON)
    await sessions.claim(b"one", 1, "second", "::1", NOON)
    claimed = await sessions.find(b"one")
    assert (await WRITES[write](sessions, home, claim)) in (None, False)
    assert await sessions.find(b"one") == claimed
    claim_now = await sessions.claim(b"one", 2, "second", "::1", NOON)
    assert claim_now is not None
    assert claim_now.snapshot == b"kept"


@pytest.mark.parametrize("write", sorted(WRITES.keys() - {"end"}))
async def test_a_session_that_was_handed_on_is_not_written_by_its_former_home(
    sessions: Sessions, write: str
) -> None:
    await opened(sessions, record(b"one"))
    await sessions.hand_on(b"one", "one", 1, b"kept", NOON)
    before = await sessions.find(b"one")
    assert (await WRITES[write](sessions, "one", 1)) in (None, False)
    assert await sessions.find(b"one") == before
    claim = await sessions.claim(b"one", 1, "one", "::1", NOON)
    assert claim is not None
    assert claim.snapshot == b"kept"


async def test_two_stores_do_not_both_get_a_session(sessions: Sessions, beside: Store) -> None:
    await opened(sessions, record(b"one"))
    found = [await each.find(b"one") for each in (sessions, beside.sessions)]
    expected = [each.claim for each in found if isinstance(each, SessionRecord)]
    first = await sessions.claim(b"one", expected[0], "first", "::1", NOON)
    second = await beside.sessions.claim(b"one", expected[1], "second", "::1", NOON)
    assert (first, second) == (Claim(2, 1, None), None)
    assert await sessions.hand_on(b"one", "first", 2, b"kept", NOON) is True
    assert await beside.sessions.claim(b"one", 2, "second", "::1", NOON) == Claim(3, 1, b"kept")
    assert await sessions.hand_on(b"one", "first", 2, b"late", NOON) is False
    assert await beside.sessions.drop_snapshot(b"one", "second", 3) is True


async def test_a_closed_store_says_try_later(store: Store, sessions: Sessions) -> None:
    await store.close()
    for write in WRITES.values():
        with pytest.raises(TryLater):
            await write(sessions, "one", 1)
    with pytest.raises(TryLater):
        await sessions.claim(b"one", 1, "one", "::1", NOON)
    with pytest.raises(TryLater):
        await sessions.homed("one")
