"""What every store of invitations does, and how an account uses one up."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from antiphon.errors import (
    InvitationExpired,
    InvitationForAnother,
    InvitationRefused,
    InvitationUsed,
    NameTaken,
    TryLater,
)
from antiphon.identity.names import prepare
from antiphon.store.contracts import Account, Accounts, Invitation, Invitations, Store, check_invitation

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
WEEK = timedelta(days=7)
TYPE = "SCRAM-SHA-256"


def seal(number: int, _: object = None) -> bytes:
    return b"sealed for %d" % number


async def invite(invitations: Invitations, name: str, mark: bytes, at: datetime = NOON) -> Invitation:
    return await invitations.invite(mark, prepare(name), at, at + WEEK, "root")


async def register(accounts: Accounts, name: str, mark: bytes | None, at: datetime = NOON) -> Account:
    return await accounts.register(prepare(name), seal, TYPE, at, "192.0.2.7", invitation=mark)


async def test_an_invitation_is_found_as_it_was_made(invitations: Invitations) -> None:
    made = await invite(invitations, "Вадим", b"\x00one")
    await invite(invitations, "ann", b"\x00two")
    assert await invitations.find(b"\x00one") == made
    assert made == Invitation(
        id=made.id,
        fingerprint=b"\x00one",
        display="Вадим",
        key="вадим",
        made_at=NOON,
        made_by="root",
        expires_at=NOON + WEEK,
        used_at=None,
        used_from=None,
    )
    assert made.id >= 1
    assert await invitations.find(b"\x00") is None


async def test_all_are_listed_the_oldest_first(invitations: Invitations) -> None:
    made = [await invite(invitations, name, name.encode()) for name in ("zoe", "ann", "bob")]
    assert await invitations.all() == made


async def test_a_second_invitation_takes_the_place_of_an_unused_one(invitations: Invitations) -> None:
    first = await invite(invitations, "Ann", b"first")
    other = await invite(invitations, "bob", b"other")
    second = await invite(invitations, "ANN", b"second")
    assert await invitations.find(b"first") is None
    assert await invitations.all() == [other, second]
    assert second.id > first.id


async def test_a_used_invitation_stays_beside_a_new_one(accounts: Accounts, invitations: Invitations) -> None:
    await invite(invitations, "ann", b"used")
    account = await register(accounts, "ann", b"used")
    await accounts.remove(account.id)
    await invite(invitations, "ann", b"new")
    assert [found.fingerprint for found in await invitations.all()] == [b"used", b"new"]
    assert await invitations.withdraw("ann") is True
    assert [found.fingerprint for found in await invitations.all()] == [b"used"]


async def test_a_withdrawn_invitation_is_gone(accounts: Accounts, invitations: Invitations) -> None:
    await invite(invitations, "Ann", b"ann")
    other = await invite(invitations, "bob", b"bob")
    assert await invitations.withdraw("ann") is True
    assert await invitations.withdraw("ann") is False
    assert await invitations.all() == [other]
    with pytest.raises(InvitationRefused):
        await register(accounts, "ann", b"ann")


async def test_those_that_had_expired_by_then_are_forgotten_used_ones_too(
    accounts: Accounts, invitations: Invitations
) -> None:
    for days, name in enumerate(("ann", "bob", "zoe")):
        await invite(invitations, name, name.encode(), NOON + timedelta(days=days))
    await register(accounts, "ann", b"ann")
    await invitations.forget(NOON + WEEK + timedelta(days=1))
    assert [found.display for found in await invitations.all()] == ["zoe"]


async def test_a_number_is_not_given_again(invitations: Invitations) -> None:
    first = await invite(invitations, "ann", b"first")
    await invitations.withdraw("ann")
    assert (await invite(invitations, "ann", b"second")).id > first.id


async def test_a_fingerprint_does_not_print(invitations: Invitations) -> None:
    assert "hidden away" not in repr(await invite(invitations, "ann", b"hidden away"))


# --- used up with an account --------------------------------------------------------------------------------


async def test_an_account_uses_its_invitation_up(accounts: Accounts, invitations: Invitations) -> None:
    await invite(invitations, "Ann", b"mark")
    registered = await register(accounts, "ann", b"mark", NOON + timedelta(hours=1))
    assert registered == await accounts.find("ann")
    found = await invitations.find(b"mark")
    assert found is not None
    assert (found.used_at, found.used_from) == (NOON + timedelta(hours=1), "192.0.2.7")


async def test_of_twenty_who_use_one_invitation_at_once_one_gets_in(
    accounts: Accounts, invitations: Invitations
) -> None:
    await invite(invitations, "ann", b"mark")
    outcomes = await asyncio.gather(
        *(register(accounts, "ann", b"mark") for _ in range(20)), return_exceptions=True
    )
    won = [outcome for outcome in outcomes if isinstance(outcome, Account)]
    assert [await accounts.find("ann")] == won
    assert [type(outcome) for outcome in outcomes if outcome not in won] == [InvitationUsed] * 19


@pytest.mark.parametrize(
    ("shown", "error"),
    [
        (("ann", b"unknown", NOON), InvitationRefused),
        (("ann", b"used", NOON), InvitationUsed),
        (("ann", b"open", NOON + WEEK), InvitationExpired),
        (("bob", b"open", NOON), InvitationForAnother),
        (("bob", b"used", NOON), InvitationForAnother),
    ],
)
async def test_an_invitation_that_lets_nobody_in_changes_nothing(
    accounts: Accounts, invitations: Invitations, shown: tuple[str, bytes, datetime], error: type[Exception]
) -> None:
    await invite(invitations, "ann", b"used")
    await accounts.remove((await register(accounts, "ann", b"used")).id)
    await invite(invitations, "ann", b"open")
    before = await invitations.all()
    with pytest.raises(InvitationRefused) as caught:
        await register(accounts, *shown)
    assert type(caught.value) is error
    assert await accounts.overviews() == []
    assert await invitations.all() == before
    assert (await register(accounts, "ann", b"open", NOON + WEEK - timedelta(microseconds=1))).key == "ann"


async def test_an_invitation_stays_unused_where_the_name_is_taken(
    accounts: Accounts, invitations: Invitations
) -> None:
    await register(accounts, "ann", None)
    unused = await invite(invitations, "ann", b"mark")
    with pytest.raises(NameTaken):
        await register(accounts, "ann", b"mark")
    assert await invitations.find(b"mark") == unused


async def test_an_invitation_stays_unused_where_the_credential_cannot_be_sealed(
    accounts: Accounts, invitations: Invitations
) -> None:
    def fail(number: int, _: object) -> bytes:
        raise LookupError(number)

    unused = await invite(invitations, "ann", b"mark")
    with pytest.raises(LookupError):
        await accounts.register(prepare("ann"), fail, TYPE, NOON, "::1", invitation=b"mark")
    assert await invitations.find(b"mark") == unused


async def test_an_account_without_an_invitation_uses_none_up(accounts: Accounts, invitations: Invitations) -> None:
    unused = await invite(invitations, "ann", b"mark")
    await register(accounts, "ann", None)
    assert await invitations.find(b"mark") == unused


async def test_the_rule_is_the_same_for_whoever_only_looks(invitations: Invitations) -> None:
    made = await invite(invitations, "Ann", b"mark")
    check_invitation(made, prepare("ANN"), NOON)
    with pytest.raises(InvitationExpired):
        check_invitation(made, prepare("ann"), NOON + WEEK)
    with pytest.raises(InvitationRefused):
        check_invitation(None, prepare("ann"), NOON)


async def test_a_closed_store_says_try_later(store: Store, invitations: Invitations) -> None:
    await store.close()
    await store.close()
    with pytest.raises(TryLater):
        await invitations.all()
    with pytest.raises(TryLater):
        await invite(invitations, "ann", b"mark")
