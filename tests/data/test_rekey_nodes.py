"""New keys over nodes: each has a copy of the key ring, and the database says which key seals."""

import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from antiphon.data import rekey as rekey_module
from antiphon.data.belonging import open_with_ring
from antiphon.data.credentials import seal, unseal
from antiphon.data.folder import DataFolder
from antiphon.data.keyring import LiveKeyRing
from antiphon.data.rekey import KeyAdded, Rekeyed, rekey_nodes
from antiphon.errors import KeyNotEverywhere, KeyRingElsewhere, KeyRingUnusable, TryLater
from antiphon.identity.keys import key_number
from antiphon.identity.names import prepare
from antiphon.server.home.node_keys import NodeKeys
from antiphon.store.contracts import Account, Store
from antiphon.store.sql.postgres import database as engine
from antiphon.wire.bodies import SCRAM_SHA_256
from support.key_rings import ring_of
from support.serving import verifier
from support.stored import process

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NAMES = [f"person{number}" for number in range(25)]


@dataclass
class Node:
    """A node: a data folder, and the ring and the store of a process that runs on it."""

    path: Path
    store: Store
    ring: LiveKeyRing

    @property
    def id(self) -> str:
        return self.path.name

    async def enter(self) -> bool:
        """Have the process be known, with the keys in its file."""
        place = f"{socket.gethostname()}:{self.path}"
        return await self.store.processes.enter(process(self.id, beat=0, place=place, keys=self.ring.marks()))

    def take_ring_of(self, other: "Node") -> None:
        shutil.copy(other.path / "secret.key", self.path / "secret.key")

    async def register(self, name: str) -> int:
        """Add an account; return the number of the key that sealed it."""
        account = await self.store.accounts.register(
            prepare(name),
            lambda number, key: seal(self.ring, verifier(), number, key, os.urandom),
            SCRAM_SHA_256,
            NOW,
            "::1",
        )
        return key_number(account.credential)

    async def change_password(self, account_id: int) -> None:
        await self.store.accounts.replace_credential(
            account_id, SCRAM_SHA_256, lambda number, key: seal(self.ring, verifier(), number, key, os.urandom)
        )

    async def opens(self, name: str) -> bool:
        account = await self.store.accounts.find(prepare(name).key)
        assert isinstance(account, Account)
        return unseal(self.ring, account) == verifier()

    async def rekey(self, living: "tuple[Node, ...]" = ()) -> Rekeyed | KeyAdded:
        """Change the keys, as `antiphon accounts rekey` does there; time passes for the heartbeats of `living`."""
        pulses = {each.id: each.store.processes.pulse(each.ring.marks) for each in living}
        self.waited = 0.0

        async def wait(seconds: float) -> None:
            self.waited += seconds
            for id, pulse in pulses.items():
                pulse.beat(id)

        try:
            return await rekey_nodes(
                DataFolder.open(self.path), self.store.accounts, NodeKeys(self.store, wait), os.urandom
            )
        finally:
            for pulse in pulses.values():
                pulse.close()


@pytest.fixture
async def begin(database: str, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Return the function that starts a node, with the ring of another one if that is given."""
    stores: list[Store] = []

    async def begin(name: str, like: Node | None = None) -> Node:
        folder = DataFolder.open(tmp_path / name)
        if like is not None:
            shutil.copy(like.path / "secret.key", folder.path / "secret.key")
        store, ring = await open_with_ring(database, folder, os.urandom)
        stores.append(store)
        return Node(folder.path, store, ring)

    yield begin
    for store in stores:
        await store.close()


async def numbers(node: Node) -> set[int]:
    """Return the numbers of the keys that seal accounts."""
    return {key_number(sealed) for _, sealed in await node.store.accounts.specimens(4)}


async def test_one_node_does_all_in_one_call(begin: Callable[..., Any]) -> None:
    one = await begin("one")
    for name in NAMES:
        await one.register(name)
    await one.enter()
    assert await one.rekey((one,)) == Rekeyed(2, len(NAMES))
    assert one.waited < 1
    assert await one.rekey((one,)) == Rekeyed(3, len(NAMES))
    assert (list(ring_of(one.path).sealing_keys), await numbers(one)) == ([3], {3})
    assert await one.opens(NAMES[0])


async def test_a_new_key_seals_only_once_every_node_has_it(begin: Callable[..., Any]) -> None:
    one = await begin("one")
    two = await begin("two", one)
    both = (one, two)
    for each in both:
        await each.enter()
    await one.register("ann")

    added = await one.rekey(both)
    assert isinstance(added, KeyAdded)
    assert (added.number, [each.id for each in added.lacking]) == (2, ["two"])
    assert list(ring_of(one.path).sealing_keys) == [1, 2]
    assert await one.register("bob") == 1  # or the other node could not open it
    assert await two.opens("bob")

    with pytest.raises(KeyNotEverywhere, match=rf"Key 2 is not on all nodes yet; servers .* on \S+:{two.path}\."):
        await one.rekey(both)
    assert await numbers(one) == {1}

    two.take_ring_of(one)
    assert await two.register("cem") == 1
    assert await one.rekey(both) == Rekeyed(2, 3)
    assert (list(ring_of(one.path).sealing_keys), await numbers(one)) == ([2], {2})
    assert list(ring_of(two.path).sealing_keys) == [1, 2]
    for each in both:
        assert await each.opens("ann")
        assert await each.register(f"new{each.id}") == 2

    assert await two.rekey(both) == Rekeyed(2, 0)  # it drops the old key there, and adds none
    assert list(ring_of(two.path).sealing_keys) == [2]


async def test_a_node_with_an_old_ring_does_not_start_and_is_told_where_the_ring_is(
    begin: Callable[..., Any], database: str, tmp_path: Path
) -> None:
    one = await begin("one")
    late = await begin("late", one)
    await one.register("ann")
    await one.enter()
    await one.rekey((one,))
    with pytest.raises(KeyRingElsewhere) as told:
        await begin("late")
    assert str(told.value) == (
        f"The key ring {tmp_path}/late/secret.key cannot be used: it lacks key 2, which seals the accounts of the"
        f" database {database} now. Copy {socket.gethostname()}:{tmp_path}/one/secret.key to it, with mode 0600."
    )
    assert not await late.enter()  # one that had looked before the change
    with pytest.raises(TryLater):
        await late.register("bob")
    late.take_ring_of(one)
    assert await late.enter()
    assert await late.register("bob") == 2


async def test_a_node_without_the_ring_makes_none_and_is_told_where_it_is(
    begin: Callable[..., Any], database: str, tmp_path: Path
) -> None:
    one = await begin("one")
    await one.enter()
    with pytest.raises(KeyRingElsewhere) as told:
        await begin("two")
    assert str(told.value) == (
        f"The key ring {tmp_path}/two/secret.key cannot be used: it is missing, and the database {database} was"
        f" begun with it. Copy {socket.gethostname()}:{tmp_path}/one/secret.key to it, with mode 0600."
    )
    assert not (tmp_path / "two" / "secret.key").exists()


async def test_a_database_of_an_earlier_version_notes_the_key_of_the_first_ring_that_fits(
    begin: Callable[..., Any], database: str
) -> None:
    one = await begin("one")
    await begin("behind", one)
    await one.register("ann")
    await one.rekey()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE antiphon SET sealing = NULL")
    with pytest.raises(KeyRingUnusable, match="lacks key 2"):
        await begin("behind")
    await begin("one")
    noted = await one.store.owner.noted() if one.store.owner else None
    assert noted is not None
    assert noted.sealing == ring_of(one.path).mark(2)


async def test_who_may_be_dead_is_not_waited_for_and_stays_in_the_store(begin: Callable[..., Any]) -> None:
    one = await begin("one")
    two = await begin("two", one)
    for each in (one, two):
        await each.enter()
    assert await one.rekey((one,)) == Rekeyed(2, 0)
    assert 6 < one.waited < 7
    assert {each.id for each in await one.store.processes.all()} == {"one", "two"}


async def test_of_two_keys_with_one_number_neither_seals_until_the_nodes_have_the_same(
    begin: Callable[..., Any],
) -> None:
    one = await begin("one")
    two = await begin("two", one)
    for each in (one, two):
        await each.enter()
    await one.rekey((one, two))
    DataFolder.open(two.path).change_key_ring(lambda ring: ring.with_new_key(os.urandom))
    for each in (one, two):
        with pytest.raises(KeyNotEverywhere):
            await each.rekey((one, two))
    two.take_ring_of(one)
    assert await two.rekey((one, two)) == Rekeyed(2, 0)


async def test_who_is_behind_another_node_adds_no_key(begin: Callable[..., Any]) -> None:
    one = await begin("one")
    two = await begin("two", one)
    for each in (one, two):
        await each.enter()
    await one.rekey((one, two))
    with pytest.raises(
        KeyRingElsewhere, match=rf"another node has a later key .* Copy \S+:{one.path}/secret.key to it"
    ):
        await two.rekey((one, two))
    assert list(ring_of(two.path).sealing_keys) == [1]


class Killed(BaseException):
    """What ends a change of keys at one of its steps."""


async def test_cut_short_at_any_step_it_is_finished_by_the_same_command(
    begin: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rekey_module, "BATCH", 2)
    one = await begin("one")
    for name in NAMES[:3]:
        await one.register(name)
    await one.enter()
    left = -1

    def step() -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise Killed

    def stepped(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            step()
            return function(*arguments)

        return run

    monkeypatch.setattr(os, "replace", stepped(os.replace))
    monkeypatch.setattr(engine.PostgresDirect, "run", stepped(engine.PostgresDirect.run))
    states: list[tuple[list[int], set[int]]] = []
    number, cut = 1, True
    while cut:
        left = len(states)
        try:
            await one.rekey((one,))
            cut = False
        except Killed:
            pass
        left = -1
        states.append((sorted(ring_of(one.path).sealing_keys), await numbers(one)))
        assert all([await one.opens(name) for name in NAMES[:3]])
        await one.change_password(1)
        done = await one.rekey((one,))
        assert isinstance(done, Rekeyed)
        assert done.number - number in (1, 2)
        number = done.number
        assert (list(ring_of(one.path).sealing_keys), await numbers(one)) == ([number], {number})
    widths = [(len(keys), len(sealed)) for keys, sealed in states]
    assert {(1, 1), (2, 1), (2, 2)} <= set(widths)
