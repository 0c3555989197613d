"""What every store of accounts does."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from antiphon.errors import NameTaken, SignInRefused, TryLater
from antiphon.identity.names import prepare
from antiphon.store.contracts import Account, Accounts, NewAccount, Resealed, Store, Visit

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
TYPE = "SCRAM-SHA-256"


def seal(number: int, _: object = None) -> bytes:
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
    def fail(number: int, _: object) -> bytes:
        raise LookupError(number)

    with pytest.raises(LookupError):
        await accounts.register(prepare("ann"), fail, TYPE, NOON, "::1")
    assert await accounts.find("ann") is None
    assert (await register(accounts, "ann")).display == "ann"


async def test_a_credential_does_not_print(accounts: Accounts) -> None:
    account = await register(accounts, "ann")
    assert "sealed" not in repr(account)


async def test_the_first_visit_has_none_before_it(accounts: Accounts) -> None:
    account = await register(accounts, "ann")
    assert await accounts.visited(account, NOON, "::1") is None


async def test_a_visit_gives_the_one_before_it(accounts: Accounts) -> None:
    account, other = await register(accounts, "ann"), await register(accounts, "bob")
    moscow = (NOON + timedelta(hours=1)).astimezone(timezone(timedelta(hours=3)))
    await accounts.visited(account, NOON, "192.0.2.1")
    assert await accounts.visited(other, NOON, "::1") is None
    assert await accounts.visited(account, moscow, "2001:db8::1") == Visit(
        at=NOON, address="192.0.2.1", refusals=0
    )
    assert await accounts.visited(account, NOON, "::1") == Visit(
        at=NOON + timedelta(hours=1), address="2001:db8::1", refusals=0
    )


@pytest.mark.parametrize("name", ["a", "bo", "bobb", "zed", "Bob", ""])
async def test_nobody_is_found_in_the_place_of_another(accounts: Accounts, name: str) -> None:
    for each in ("ann", "bob", "cleo"):
        await register(accounts, each)
    assert await accounts.find(name) is None


async def test_an_account_that_is_gone_or_in_another_epoch_cannot_visit(accounts: Accounts) -> None:
    account, other = await register(accounts, "ann"), await register(accounts, "bob")
    await accounts.set_disabled(account.id, disabled=True)
    await accounts.remove(other.id)
    for each in (account, other):
        with pytest.raises(SignInRefused):
            await accounts.visited(each, NOON, "::1")
    (overview,) = await accounts.overviews()
    assert (overview.visited_at, overview.visited_from, overview.refusals) == (None, None, 0)


async def test_a_closed_store_says_try_later(store: Store, accounts: Accounts) -> None:
    await register(accounts, "ann")
    await store.close()
    await store.close()
    with pytest.raises(TryLater):
        await accounts.find("ann")
    with pytest.raises(TryLater):
        await register(accounts, "bob")


# --- what an operator does ----------------------------------------------------------------------------------


async def test_all_accounts_are_told_of_by_name_with_their_last_visit(accounts: Accounts) -> None:
    for name in ("bob", "Ann"):
        await register(accounts, name)
    bob = await accounts.find("bob")
    assert bob is not None
    await accounts.visited(bob, NOON + timedelta(hours=1), "192.0.2.1")
    first, second = await accounts.overviews()
    assert (first.key, second.key) == ("ann", "bob")
    assert (first.name, first.registered_at, first.registered_from) == ("Ann", NOON, "::1")
    assert (first.visited_at, first.visited_from, first.refusals) == (None, None, 0)
    assert (second.name, second.visited_at) == ("bob", NOON + timedelta(hours=1))
    assert (second.visited_from, second.refusals, second.disabled) == ("192.0.2.1", 0, False)


async def test_an_account_is_disabled_and_enabled_and_each_change_begins_an_epoch(accounts: Accounts) -> None:
    account, other = await register(accounts, "ann"), await register(accounts, "bob")
    for disabled in (True, False):
        before = await accounts.find("ann")
        assert before is not None
        assert await accounts.set_disabled(account.id, disabled=disabled) is True
        assert await accounts.set_disabled(account.id, disabled=disabled) is False
        found = await accounts.find("ann")
        assert found is not None
        assert (found.disabled, found.epoch) == (disabled, before.epoch + 1)
    assert await accounts.find("bob") == other


async def test_the_mark_of_administrators_is_given_and_taken_and_begins_no_epoch(accounts: Accounts) -> None:
    account, other = await register(accounts, "ann"), await register(accounts, "bob")
    assert not account.administrator
    for wanted in (True, False):
        assert await accounts.set_administrator(account.id, administrator=wanted) is True
        assert await accounts.set_administrator(account.id, administrator=wanted) is False
        found = await accounts.find("ann")
        assert found is not None
        assert (found.administrator, found.epoch) == (wanted, account.epoch)
        assert [each.administrator for each in await accounts.overviews()] == [wanted, False]
    assert await accounts.find("bob") == other
    assert await accounts.set_administrator(99, administrator=True) is False


async def test_an_account_that_is_not_there_cannot_be_disabled(accounts: Accounts) -> None:
    assert await accounts.set_disabled(1, disabled=True) is False


async def test_a_renamed_account_is_found_by_its_new_name_only_in_a_new_epoch(accounts: Accounts) -> None:
    account = await register(accounts, "ann")
    await accounts.rename(account.id, prepare("Anna"))
    found = await accounts.find("anna")
    assert found is not None
    assert (found.id, found.display, found.epoch) == (account.id, "Anna", account.epoch + 1)
    assert found.credential == account.credential
    assert await accounts.find("ann") is None
    await accounts.rename(account.id, prepare("ANNA"))  # the same key, shown in another way


async def test_an_account_is_not_renamed_to_a_name_that_is_taken(accounts: Accounts) -> None:
    ann, bob = await register(accounts, "ann"), await register(accounts, "bob")
    with pytest.raises(NameTaken):
        await accounts.rename(ann.id, prepare("BOB"))
    assert await accounts.find("ann") == ann
    assert await accounts.find("bob") == bob


async def test_a_replaced_credential_begins_an_epoch(accounts: Accounts) -> None:
    account, other = await register(accounts, "ann"), await register(accounts, "bob")
    await accounts.replace_credential(account.id, TYPE, lambda number, _: b"another %d" % number)
    found = await accounts.find("ann")
    assert found is not None
    assert (found.credential, found.epoch) == (b"another %d" % account.id, account.epoch + 1)
    assert await accounts.find("bob") == other


async def test_nothing_is_left_of_a_removed_account_and_its_number_is_not_given_again(accounts: Accounts) -> None:
    account = await register(accounts, "ann")
    await accounts.remove(account.id)
    assert await accounts.find("ann") is None
    assert await accounts.overviews() == []
    again = await register(accounts, "ann")
    assert again.id > account.id


def new(name: str, *, days: int | None = None, old_form: str | None = None) -> NewAccount:
    expires_at = None if days is None else NOON + timedelta(days=days)
    return NewAccount(
        name=prepare(name),
        seal=seal,
        credential_type=TYPE,
        must_change=days is not None,
        expires_at=expires_at,
        old_form=old_form,
    )


async def test_many_accounts_are_added_at_once_each_as_it_was_given(accounts: Accounts) -> None:
    added = await accounts.add([new("Ann"), new("Bob", days=14)], NOON, "import")
    assert added == [await accounts.find("ann"), await accounts.find("bob")]
    assert [account.must_change for account in added] == [False, True]
    assert [account.expires_at for account in added] == [None, NOON + timedelta(days=14)]
    assert [overview.expires_at for overview in await accounts.overviews()] == [None, NOON + timedelta(days=14)]


@pytest.mark.parametrize("names", [("ann", "zoe", "BOB"), ("ann", "zoe", "ANN")], ids=["taken", "twice"])
async def test_of_many_accounts_none_is_added_where_one_cannot_be(accounts: Accounts, names: list[str]) -> None:
    await register(accounts, "bob")
    with pytest.raises(NameTaken):
        await accounts.add([new(name) for name in names], NOON, "import")
    assert [overview.name for overview in await accounts.overviews()] == ["bob"]


async def test_a_new_credential_does_not_expire_and_says_whether_it_must_be_changed(accounts: Accounts) -> None:
    (account,) = await accounts.add([new("ann", days=14)], NOON, "import")
    for must_change in (True, False):
        epoch = await accounts.replace_credential(account.id, TYPE, lambda *_: b"new", must_change=must_change)
        found = await accounts.find("ann")
        assert found
        assert (found.credential, found.must_change, found.expires_at) == (b"new", must_change, None)
        assert found.epoch == epoch
    assert epoch == account.epoch + 2


async def test_a_credential_is_replaced_only_in_the_epoch_in_which_another_one_was_proved(
    accounts: Accounts,
) -> None:
    account = await register(accounts, "ann")
    begun = await accounts.replace_credential(account.id, TYPE, lambda *_: b"first", epoch=account.epoch)
    assert begun == account.epoch + 1
    assert await accounts.replace_credential(account.id, TYPE, lambda *_: b"late", epoch=account.epoch) is None
    found = await accounts.find("ann")
    assert found
    assert (found.credential, found.epoch) == (b"first", begun)
    await accounts.remove(account.id)
    assert await accounts.replace_credential(account.id, TYPE, lambda *_: b"late", epoch=begun) is None
    assert await accounts.replace_credential(account.id, TYPE, lambda *_: b"late") is None


async def test_of_two_who_replace_a_credential_at_once_one_does(accounts: Accounts) -> None:
    account = await register(accounts, "ann")
    done = await asyncio.gather(
        *(accounts.replace_credential(account.id, TYPE, lambda *_: b"new", epoch=account.epoch) for _ in range(5))
    )
    assert sorted(done, key=lambda epoch: epoch is None) == [account.epoch + 1, *[None] * 4]


async def test_old_forms_remain_until_they_are_changed_or_over(accounts: Accounts) -> None:
    assert await accounts.old_forms(NOON) == []
    new_ones = [new("ann", days=14, old_form="sha256"), new("bob", days=7, old_form="md5+соль")]
    new_ones += [new("cleo", days=7, old_form="md5+соль"), new("dora", days=20)]
    first, *_ = await accounts.add(new_ones, NOON, "import")
    assert await accounts.old_forms(NOON) == ["md5+соль", "sha256"]
    assert await accounts.old_forms(NOON + timedelta(days=13)) == ["sha256"]
    assert await accounts.old_forms(NOON + timedelta(days=14)) == []
    await accounts.replace_credential(first.id, TYPE, lambda *_: b"new")
    assert await accounts.old_forms(NOON) == ["md5+соль"]
    assert await accounts.old_forms(NOON + timedelta(days=7)) == []


async def test_all_credentials_are_sealed_again_in_batches_and_no_epoch_begins(accounts: Accounts) -> None:
    before = [await register(accounts, name) for name in ("ann", "bob", "zoe")]
    after, batches = 0, []
    while (done := await accounts.reseal(lambda number, sealed: sealed + b", again", after, 2)).last is not None:
        after = done.last
        batches.append(done.changed)
    assert batches == [2, 1]
    assert done.changed == 0
    for account in before:
        found = await accounts.find(account.key)
        assert found
        assert found.credential == seal(account.id) + b", again"
        assert found.epoch == account.epoch


async def test_a_batch_that_cannot_be_sealed_again_is_left_as_it_is(accounts: Accounts) -> None:
    before = [await register(accounts, name) for name in ("ann", "bob")]

    def renew(number: int, sealed: bytes) -> bytes:
        if number == before[1].id:
            raise LookupError(number)
        return b"lost"

    with pytest.raises(LookupError):
        await accounts.reseal(renew, 0, 10)
    assert [await accounts.find(account.key) for account in before] == before


async def test_what_is_not_sealed_anew_stays_as_it_is(accounts: Accounts) -> None:
    before = [await register(accounts, name) for name in ("ann", "bob")]
    assert await accounts.reseal(lambda _, sealed: sealed, 0, 10) == Resealed(before[1].id, 0)
    assert [await accounts.find(account.key) for account in before] == before


async def test_of_all_that_begin_alike_the_oldest_and_the_newest_are_specimens(accounts: Accounts) -> None:
    assert await accounts.specimens(1) == []
    kept = {}
    for name, sealed in (("a", b"1a"), ("b", b"1b"), ("c", b"2c"), ("d", b"1d"), ("e", b"2e"), ("f", b"3f")):
        account = await accounts.register(prepare(name), lambda *_, sealed=sealed: sealed, TYPE, NOON, "::1")
        kept[name] = (account.id, sealed)
    found = await accounts.specimens(1)
    assert sorted(found) == sorted(kept[name] for name in "adcef")
