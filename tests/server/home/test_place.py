"""One place for the servers of a database: relays reach no further than one data folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.errors import DatabaseElsewhere, NodesOnly, RelayAddressMissing
from antiphon.server.home.place import NODES, check_place, place_here, place_of, take_place
from antiphon.store.contracts import Owned, Owner, Store
from antiphon.store.opening import open_store
from support.stored import process


@pytest.fixture
async def store(database: str, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(database, tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def owner(store: Store) -> Owner:
    assert store.owner is not None
    return store.owner


async def test_a_ring_is_noted_once_and_a_place_while_nobody_is_there(store: Store, owner: Owner) -> None:
    assert await owner.noted() == Owned(None, None)
    assert await owner.join(b"ring", "here") == Owned(b"ring", "here")
    assert await owner.join(b"another", None) == Owned(b"ring", "here")
    assert await owner.join(None, "there") == Owned(b"ring", "there")
    await store.processes.enter(process("one"))
    assert await owner.join(None, "here") == Owned(b"ring", "there")
    assert await owner.noted() == Owned(b"ring", "there")


async def test_a_database_serves_one_place_as_long_as_its_processes_live(
    store: Store, owner: Owner, tmp_path: Path
) -> None:
    pulse = store.processes.pulse()
    waited = []

    async def beats(seconds: float) -> None:
        waited.append(seconds)
        pulse.beat("one")

    await take_place(store, tmp_path, "db", beats)
    assert (await owner.noted()).place == place_of(tmp_path)
    await store.processes.enter(process("one"))
    await take_place(store, tmp_path, "db", beats)
    await check_place(store, tmp_path, "db")
    assert waited == []
    with pytest.raises(DatabaseElsewhere, match=str(tmp_path)):
        await take_place(store, tmp_path / "elsewhere", "db", beats)
    with pytest.raises(DatabaseElsewhere):
        await check_place(store, tmp_path / "elsewhere", "db")
    pulse.close()
    assert (await owner.noted()).place == place_of(tmp_path)


async def test_a_place_whose_processes_were_killed_is_given_up_when_their_counters_have_stood_still(
    store: Store, owner: Owner, tmp_path: Path
) -> None:
    waited = 0.0

    async def nothing(seconds: float) -> None:
        nonlocal waited
        waited += seconds

    await owner.join(None, "a machine that is gone")
    await store.processes.enter(process("one"))
    await take_place(store, tmp_path, "db", nothing)
    assert await store.processes.all() == []
    assert (await owner.noted()).place == place_of(tmp_path)
    assert waited > 6


async def test_a_process_that_begins_meanwhile_keeps_the_place(store: Store, owner: Owner, tmp_path: Path) -> None:
    async def enters(seconds: float) -> None:
        await store.processes.enter(process("two"))

    await owner.join(None, "elsewhere")
    await store.processes.enter(process("one"))
    with pytest.raises(DatabaseElsewhere):
        await take_place(store, tmp_path, "db", enters)


async def test_nodes_share_a_database_and_nobody_else_does(store: Store, owner: Owner, tmp_path: Path) -> None:
    pulse = store.processes.pulse()

    async def beats(seconds: float) -> None:
        pulse.beat("one")

    await take_place(store, tmp_path / "one", "db", beats, node=True)
    assert (await owner.noted()).place == NODES
    await store.processes.enter(process("one"))
    await take_place(store, tmp_path / "two", "db", beats, node=True)
    await check_place(store, tmp_path / "two", "db", node=True)
    with pytest.raises(RelayAddressMissing, match="--relay-address"):
        await take_place(store, tmp_path / "one", "db", beats)
    with pytest.raises(RelayAddressMissing):
        await check_place(store, tmp_path / "one", "db")
    pulse.close()


async def test_a_node_does_not_join_servers_without_an_address(store: Store, owner: Owner, tmp_path: Path) -> None:
    pulse = store.processes.pulse()

    async def beats(seconds: float) -> None:
        pulse.beat("one")

    await take_place(store, tmp_path, "db", beats)
    await store.processes.enter(process("one"))
    with pytest.raises(NodesOnly, match=str(tmp_path)) as refused:
        await take_place(store, tmp_path, "db", beats, node=True)
    assert "start them again with --relay-address" in refused.value.full(str)
    with pytest.raises(NodesOnly):
        await check_place(store, tmp_path, "db", node=True)
    pulse.close()


def test_the_place_of_a_process_is_of_this_machine_and_this_boot(tmp_path: Path) -> None:
    assert process("x", place=place_here(tmp_path)).where == place_of(tmp_path)
    assert place_here(tmp_path) == place_here(tmp_path)


def test_containers_with_the_same_names_are_different_places(tmp_path: Path) -> None:
    """Of two folders that have had the same path."""
    (tmp_path / "data").mkdir()
    one = place_here(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "moved")
    (tmp_path / "data").mkdir()
    another = place_here(tmp_path / "data")
    assert (one == another, process("x", place=one).where == process("x", place=another).where) == (False, True)
