"""What every store of accounts does."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from antiphon.errors import NameTaken, TryLater
from antiphon.identity.names import prepare
from antiphon.store.contracts import Account, Accounts, Visit

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
TYPE = "SCRAM-SHA-256"


def seal(number: int) -> bytes:
    return b"sealed for %d" % number


async def register(accounts: Accounts, name: str) -> Account:
    return await accounts.register(prepare(name), seal, TYPE, NOON, "::1")


async def test_a_registered_account_is_found_by_its_key(accounts: Accounts) -> None:
    registered = await register(accounts, "Вадим")
    assert registered == await accounts.find("вадим")
    assert (registered.display, registered.key, registered.disabled) == ("Вадим", "вадим", False)
    assert registered.credential_type == TYPE
    assert await accounts.find("Вадим") is None


async def test_the_credential_is_sealed_with_the_number_of_its_account(accounts: Accounts) -> None:
    for name in ("ann", "bob"):
        account = await register(accounts, name)
        assert account.id >= 1
        assert account.credential == seal(account.id)


async def test_nobody_has_a_name_that_was_not_registered(accounts: Accounts) -> None:
    await register(accounts, "ann")
    assert await accounts.find("bob") is None


async def test_a_name_with_the_same_key_is_taken(accounts: Accounts) -> None:
    first = await register(accounts, "Ann")
    with pytest.raises(NameTaken, match="“ANN” is taken"):
        await register(accounts, "ANN")
    assert await accounts.find("ann") == first


async def test_one_of_twenty_who_register_a_name_at_once_gets_it(accounts: Accounts) -> None:
    outcomes = await asyncio.gather(*(register(accounts, "ann") for _ in range(20)), return_exceptions=True)
    won = [outcome for outcome in outcomes if isinstance(outcome, Account)]
    assert [await accounts.find("ann")] == won
    assert sum(isinstance(outcome, NameTaken) for outcome in outcomes) == 19


async def test_nothing_is_kept_of_an_account_that_could_not_be_sealed(accounts: Accounts) -> None:
    def fail(number: int) -> bytes:
        raise LookupError(number)

    with pytest.raises(LookupError):
        await accounts.register(prepare("ann"), fail, TYPE, NOON, "::1")
    assert await accounts.find("ann") is None
    assert (await register(accounts, "ann")).display == "ann"


async def test_a_credential_does_not_print(accounts: Accounts) -> None:
    account = await register(accounts, "ann")
    assert "sealed" not in repr(account)


async def test_an_account_has_the_epoch_that_is_asked_for_alone(accounts: Accounts) -> None:
    account = await register(accounts, "ann")
    assert await accounts.epoch(account.id) == account.epoch
    assert await accounts.epoch(account.id + 1) is None


async def test_the_first_visit_has_none_before_it(accounts: Accounts) -> None:
    account = await register(accounts, "ann")
    assert await accounts.visited(account.id, NOON, "::1") is None


async def test_a_visit_gives_the_one_before_it(accounts: Accounts) -> None:
    account, other = await register(accounts, "ann"), await register(accounts, "bob")
    moscow = (NOON + timedelta(hours=1)).astimezone(timezone(timedelta(hours=3)))
    await accounts.visited(account.id, NOON, "192.0.2.1")
    assert await accounts.visited(other.id, NOON, "::1") is None
    assert await accounts.visited(account.id, moscow, "2001:db8::1") == Visit(
        at=NOON, address="192.0.2.1", refusals=0
    )
    assert await accounts.visited(account.id, NOON, "::1") == Visit(
        at=NOON + timedelta(hours=1), address="2001:db8::1", refusals=0
    )


async def test_refusals_are_counted_from_one_visit_to_the_next(accounts: Accounts) -> None:
    account, other = await register(accounts, "ann"), await register(accounts, "bob")
    await accounts.refused(account.id)
    assert await accounts.visited(account.id, NOON, "::1") is None
    for _ in range(2):
        await accounts.refused(account.id)
    await accounts.refused(other.id)
    for refusals in (2, 0):
        visit = await accounts.visited(account.id, NOON, "::1")
        assert visit is not None
        assert visit.refusals == refusals


async def test_fifty_refusals_at_once_count_fifty(accounts: Accounts) -> None:
    account = await register(accounts, "ann")
    await accounts.visited(account.id, NOON, "::1")
    await asyncio.gather(*(accounts.refused(account.id) for _ in range(50)))
    assert await accounts.visited(account.id, NOON, "::1") == Visit(at=NOON, address="::1", refusals=50)


async def test_an_account_that_is_not_there_cannot_visit(accounts: Accounts) -> None:
    with pytest.raises(TryLater):
        await accounts.visited(1, NOON, "::1")


async def test_a_closed_store_says_try_later(accounts: Accounts) -> None:
    await register(accounts, "ann")
    await accounts.close()
    await accounts.close()
    with pytest.raises(TryLater):
        await accounts.find("ann")
    with pytest.raises(TryLater):
        await register(accounts, "bob")
