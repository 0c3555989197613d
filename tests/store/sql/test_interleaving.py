"""Two writers at once, in every order of their statements: what SQLite's one writer gives for nothing.

Each test runs two transactions, statement by statement, and looks at what is left.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from antiphon.errors import InvitationUsed, NameTaken
from antiphon.identity.names import prepare
from antiphon.store.contracts import Account, Claim, Marks, NewAccount, Opened, Store
from antiphon.store.opening import open_store
from antiphon.store.sql.store import SqlStore
from store.test_accounts_contract import TYPE, seal
from support.interleaving import Act, Interleaving, Party, interleaving
from support.stored import MINUTE, NOON, process, record

AWAY = b"x" * 32


@pytest.fixture
def orders(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Interleaving]:
    with interleaving(database, monkeypatch) as ready:
        yield ready


@pytest.fixture
async def store(database: str, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(database, tmp_path)
    yield opened
    await opened.close()


async def test_a_name_is_given_once(orders: Interleaving, store: Store) -> None:
    async def acts(number: int) -> tuple[Act, Act]:
        async def register(own: SqlStore, _: Party) -> Account:
            return await own.accounts.register(prepare(f"ann{number}"), seal, TYPE, NOON, "::1")

        return register, register

    async def check(number: int, outcomes: list[object]) -> None:
        assert {type(each) for each in outcomes} == {Account, NameTaken}
        assert await store.accounts.find(f"ann{number}") in outcomes

    await orders.all(acts, check)


async def test_a_name_is_given_to_a_new_account_or_to_one_that_is_renamed(
    orders: Interleaving, store: Store
) -> None:
    async def acts(number: int) -> tuple[Act, Act]:
        bob = await store.accounts.register(prepare(f"bob{number}"), seal, TYPE, NOON, "::1")

        async def register(own: SqlStore, _: Party) -> object:
            return (await own.accounts.register(prepare(f"ann{number}"), seal, TYPE, NOON, "::1")).id

        async def rename(own: SqlStore, _: Party) -> object:
            await own.accounts.rename(bob.id, prepare(f"ann{number}"))
            return bob.id

        return register, rename

    async def check(number: int, outcomes: list[object]) -> None:
        found = await store.accounts.find(f"ann{number}")
        assert found is not None
        assert [each for each in outcomes if not isinstance(each, NameTaken)] == [found.id]

    await orders.all(acts, check)


async def test_two_imports_of_the_same_names_in_another_order_are_tried_again(
    orders: Interleaving, store: Store
) -> None:
    """They wait for each other, until PostgreSQL has one of them roll back."""

    async def acts(number: int) -> tuple[Act, Act]:
        def add(*names: str) -> Act:
            new = [NewAccount(name=prepare(f"{name}{number}"), seal=seal, credential_type=TYPE) for name in names]

            async def act(own: SqlStore, _: Party) -> object:
                return await own.accounts.add(new, NOON, "import")

            return act

        return add("ann", "bob"), add("bob", "ann")

    async def check(number: int, outcomes: list[object]) -> None:
        assert {type(each) for each in outcomes} == {list, NameTaken}

    await orders.all(acts, check, most=6)


async def test_an_invitation_is_used_once(orders: Interleaving, store: Store) -> None:
    async def acts(number: int) -> tuple[Act, Act]:
        mark = b"%d" % number
        await store.invitations.invite(mark, prepare(f"ann{number}"), NOON, NOON + MINUTE, "root")

        async def register(own: SqlStore, _: Party) -> Account:
            name = prepare(f"ann{number}")
            return await own.accounts.register(name, seal, TYPE, NOON, "::1", invitation=mark)

        return register, register

    async def check(number: int, outcomes: list[object]) -> None:
        assert {type(each) for each in outcomes} == {Account, InvitationUsed}

    await orders.all(acts, check)


async def test_a_name_has_one_unused_invitation(orders: Interleaving, store: Store) -> None:
    async def acts(number: int) -> tuple[Act, Act]:
        def invite(mark: bytes) -> Act:
            async def act(own: SqlStore, _: Party) -> object:
                return await own.invitations.invite(mark, prepare(f"ann{number}"), NOON, NOON + MINUTE, "root")

            return act

        return invite(b"one %d" % number), invite(b"two %d" % number)

    async def check(number: int, outcomes: list[object]) -> None:
        left = [each for each in await store.invitations.all() if each.key == f"ann{number}"]
        assert len(left) == 1
        assert left[0] in outcomes

    await orders.all(acts, check)


async def test_an_address_keeps_its_number_of_names(orders: Interleaving, store: Store) -> None:
    async def acts(number: int) -> tuple[Act, Act]:
        def visit(name: str) -> Act:
            async def act(own: SqlStore, _: Party) -> object:
                return await own.clients.visited(f"host {number}", prepare(name), NOON, 1)

            return act

        return visit("ann"), visit("bob")

    async def check(number: int, outcomes: list[object]) -> None:
        assert outcomes == [None, None]
        assert len(await store.clients.at(f"host {number}")) == 1

    await orders.all(acts, check)


@pytest.mark.parametrize(("before", "wait"), [(4, 1), (99, math.inf)])
async def test_of_two_guesses_the_last_free_one_is_one(
    orders: Interleaving, store: Store, before: int, wait: float
) -> None:
    async def acts(number: int) -> tuple[Act, Act]:
        name = b"%032d" % number
        at = NOON
        if before > 4:  # counted an hour apart; the rest of the table is a matter of `test_failures_contract`
            orders.monitor.execute("INSERT INTO failures VALUES (%s, %s, 0, 0, 0)", (name, before))
        else:
            for _ in range(before):
                assert await store.failures.attempt(name, AWAY, at) == 0

        async def attempt(own: SqlStore, _: Party) -> object:
            own.failures._new = 0  # the table is trimmed elsewhere
            return await own.failures.attempt(name, AWAY, at)

        return attempt, attempt

    async def check(number: int, outcomes: list[object]) -> None:
        assert sorted(outcomes) == [0, wait]  # type: ignore[type-var]

    await orders.all(acts, check)


async def test_a_refusal_and_the_sign_in_that_reads_them_do_not_lose_one(
    orders: Interleaving, store: Store
) -> None:
    async def acts(number: int) -> tuple[Act, Act]:
        marks = Marks(b"%032d" % number, AWAY)
        await store.failures.refused(marks.name, NOON)

        async def refuse(own: SqlStore, _: Party) -> object:
            own.failures._new = 0
            await own.failures.refused(marks.name, NOON)
            return None

        async def sign_in(own: SqlStore, _: Party) -> object:
            new = record(b"%d" % number, account_id=1000 + number)
            return await own.sessions.open(new, 10, marks)

        return refuse, sign_in

    async def check(number: int, outcomes: list[object]) -> None:
        told = outcomes[1]
        assert isinstance(told, Opened)
        left = (await store.failures.refusals()).get(b"%032d" % number, 0)
        assert told.refusals + left == 2

    await orders.all(acts, check)


@pytest.mark.parametrize("held", [False, True])
async def test_an_account_has_its_number_of_sessions(orders: Interleaving, store: Store, held: bool) -> None:
    if held:
        await store.processes.enter(process("one"))

    async def acts(number: int) -> tuple[Act, Act]:
        account = 1000 + number
        await store.sessions.open(record(b"%d old" % number, account_id=account), 2)

        def open_one(which: int) -> Act:
            async def act(own: SqlStore, _: Party) -> object:
                return await own.sessions.open(record(b"%d new %d" % (number, which), account_id=account), 2)

            return act

        return open_one(0), open_one(1)

    async def check(number: int, outcomes: list[object]) -> None:
        left = [each for each in await store.sessions.all() if each.account_id == 1000 + number]
        assert len(left) == 2
        assert sorted(each is None for each in outcomes) == [False, held]  # of sessions in use, none makes way

    await orders.all(acts, check)


async def test_a_session_that_is_just_taken_up_does_not_make_way_as_one_that_nobody_holds(
    orders: Interleaving, store: Store
) -> None:
    await store.processes.enter(process("one"))

    async def acts(number: int) -> tuple[Act, Act]:
        account, old = 1000 + number, b"%d old" % number
        await store.sessions.open(record(old, account_id=account), 1)
        await store.sessions.released(old, "one", 1, NOON)

        async def hold(own: SqlStore, _: Party) -> object:
            return await own.sessions.hold(old, "one", 1, owner="one", address="::1", at=NOON)

        async def sign_in(own: SqlStore, _: Party) -> object:
            return await own.sessions.open(record(b"%d new" % number, account_id=account), 1)

        return hold, sign_in

    async def check(number: int, outcomes: list[object]) -> None:
        assert [each is None for each in outcomes] in ([True, False], [False, True])

    await orders.all(acts, check)


async def test_one_claims_a_session_and_only_its_claim_is_logged(orders: Interleaving, store: Store) -> None:
    async def acts(number: int) -> tuple[Act, Act]:
        mark = b"%d" % number
        await store.sessions.open(record(mark, account_id=1000 + number), 1)

        def claim(home: str) -> Act:
            async def act(own: SqlStore, _: Party) -> object:
                return await own.sessions.claim(mark, 1, home, "::1", NOON)

            return act

        return claim("first"), claim("second")

    async def check(number: int, outcomes: list[object]) -> None:
        (won,) = [each for each in outcomes if each is not None]
        assert isinstance(won, Claim)
        found = await store.sessions.find(b"%d" % number)
        assert found is not None
        assert (found.home, found.claim) == (("first", "second")[outcomes.index(won)], 2)
        told = [each for each in await store.revocations.entries(0) if each.fingerprint == b"%d" % number]
        assert [(each.owner, each.id) for each in told] == [(found.home, won.position)]

    await orders.all(acts, check)


async def test_a_home_that_wakes_up_either_keeps_its_session_or_learns_that_it_is_lost(
    orders: Interleaving, store: Store
) -> None:
    """It was frozen, and its row is gone; it enters again, and then reads its claims (`home/process.py`)."""

    async def acts(number: int) -> tuple[Act, Act]:
        mark, home = b"%d" % number, f"frozen {number}"
        await store.sessions.open(record(mark, account_id=1000 + number, home=home, owner=home), 1)

        async def claim(own: SqlStore, _: Party) -> object:
            return await own.sessions.claim(mark, 1, "new", "::1", NOON)

        async def wake_up(own: SqlStore, _: Party) -> object:
            await own.processes.enter(process(home))
            return await own.sessions.homed(home)

        return claim, wake_up

    async def check(number: int, outcomes: list[object]) -> None:
        claimed, still_its_own = outcomes
        assert (claimed is None) == (still_its_own == {b"%d" % number: 1})

    await orders.all(acts, check)


async def test_a_session_that_outlives_a_revocation_of_its_account_is_not_concerned_by_it(
    orders: Interleaving, store: Store
) -> None:
    async def acts(number: int) -> tuple[Act, Act]:
        account = 1000 + number

        async def sign_in(own: SqlStore, _: Party) -> object:
            return await own.sessions.open(record(b"%d" % number, account_id=account), 10)

        async def revoke(own: SqlStore, _: Party) -> object:
            return await own.sessions.revoke_account(account, "password", NOON)

        return sign_in, revoke

    async def check(number: int, outcomes: list[object]) -> None:
        opened, ended = outcomes
        assert isinstance(opened, Opened)
        (told,) = [each for each in await store.revocations.entries(0) if each.account_id == 1000 + number]
        lives = await store.sessions.find(b"%d" % number) is not None
        assert (ended, told.id <= opened.position) == (0 if lives else 1, lives)

    await orders.all(acts, check)


async def test_a_new_password_ends_a_session_that_is_just_claimed(orders: Interleaving, store: Store) -> None:
    async def acts(number: int) -> tuple[Act, Act]:
        account = 1000 + number
        for which in (b"spared", b"other", b"more"):
            await store.sessions.open(record(b"%d %b" % (number, which), account_id=account), 10)

        async def change(own: SqlStore, _: Party) -> object:
            return await own.sessions.revoke_others(account, b"%d spared" % number, 4, "password", NOON)

        async def claim(own: SqlStore, _: Party) -> object:
            return await own.sessions.claim(b"%d other" % number, 1, "new", "::1", NOON)

        return change, claim

    async def check(number: int, outcomes: list[object]) -> None:
        assert outcomes[0] == 2
        left = [each for each in await store.sessions.all() if each.account_id == 1000 + number]
        assert [(each.fingerprint, each.epoch) for each in left] == [(b"%d spared" % number, 4)]
        if isinstance(outcomes[1], Claim):
            told = [each.id for each in await store.revocations.entries(outcomes[1].position)]
            assert told, "the claimer learns that its session is over"

    await orders.all(acts, check)


def sealed_by(_: int, key: str | None) -> bytes:
    assert key is not None
    return key.encode()


@pytest.mark.parametrize("writer", ["registers", "changes the password"])
async def test_no_credential_is_left_sealed_with_the_old_key(
    orders: Interleaving, store: Store, writer: str
) -> None:
    assert store.owner is not None
    await store.owner.join(b"ring", None, "key 0")

    async def acts(number: int) -> tuple[Act, Act]:
        name = prepare(f"ann{number}")
        old = await store.accounts.register(prepare(f"old{number}"), sealed_by, TYPE, NOON, "::1")

        async def write(own: SqlStore, _: Party) -> object:
            if writer == "registers":
                return await own.accounts.register(name, sealed_by, TYPE, NOON, "::1")
            return await own.accounts.replace_credential(old.id, TYPE, sealed_by)

        async def rekey(own: SqlStore, _: Party) -> object:
            assert own.owner is not None
            key = f"key {number + 1}"
            await own.owner.seal_with(key, {})
            return await own.accounts.reseal(lambda *_: key.encode(), 0, 10_000)

        return write, rekey

    async def check(number: int, outcomes: list[object]) -> None:
        assert not [each for each in outcomes if isinstance(each, BaseException)]
        assert {sealed for _, sealed in await store.accounts.specimens(9)} == {b"key %d" % (number + 1)}

    await orders.all(acts, check)


async def test_no_process_that_lacks_the_new_key_enters_while_it_becomes_the_one_that_seals(
    orders: Interleaving, store: Store
) -> None:
    assert store.owner is not None
    owner = store.owner
    await owner.join(b"ring", None, "1:a")

    async def acts(number: int) -> tuple[Act, Act]:
        for each in await store.processes.all():
            await store.processes.remove(each.id)
        before = (await owner.noted()).sealing

        async def enter(own: SqlStore, _: Party) -> object:
            return await own.processes.enter(process("one", keys=f"{before}"))

        async def change(own: SqlStore, _: Party) -> object:
            assert own.owner is not None
            return [each.id for each in await own.owner.seal_with(f"{number + 2}:a", {})]

        return enter, change

    async def check(number: int, outcomes: list[object]) -> None:
        assert outcomes in ([True, ["one"]], [False, []])
        changed = (await owner.noted()).sealing == f"{number + 2}:a"
        assert changed == (outcomes[1] == [])
        assert len(await store.processes.all()) == (0 if changed else 1)

    await orders.all(acts, check)


async def test_a_poller_misses_no_revocation_whenever_it_looks(orders: Interleaving, store: Store) -> None:
    seen: list[int] = []

    def poll() -> None:
        after = seen[-1] if seen else 0
        rows = orders.monitor.execute("SELECT id FROM revocations WHERE id > %s ORDER BY id", (after,))
        seen.extend(id for (id,) in rows)

    async def acts(number: int) -> tuple[Act, Act]:
        def revoke(which: int) -> Act:
            async def act(own: SqlStore, _: Party) -> object:
                return await own.sessions.revoke(b"%d %d" % (number, which), "revoked", NOON)

            return act

        return revoke(0), revoke(1)

    async def check(number: int, outcomes: list[object]) -> None:
        assert len(seen) == 2 * (number + 1)

    await orders.all(acts, check, poll)


async def test_many_guesses_at_two_nodes_are_counted_one_by_one(
    store: Store, database: str, tmp_path: Path
) -> None:
    """Promise 4: 100 failures in all, however many guess at once and wherever."""
    name = b"n" * 32
    for hour in range(95):
        assert await store.failures.attempt(name, AWAY, NOON + timedelta(hours=hour)) == 0
    other = await open_store(database, tmp_path)
    passed = []
    for hour in range(95, 105):
        at = NOON + timedelta(hours=hour)
        both = (each.failures.attempt(name, AWAY, at) for each in (store, other) for _ in range(25))
        passed.append((await asyncio.gather(*both)).count(0))
    refused = (each.failures.refused(name, NOON) for each in (store, other) for _ in range(50))
    await asyncio.gather(*refused)
    await other.close()
    assert passed == [1] * 5 + [0] * 5
    assert await store.failures.refusals() == {name: 100}
