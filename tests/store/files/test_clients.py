"""Clients by address in a file; what every store of clients does is shown elsewhere."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from antiphon.errors import TryLater
from antiphon.identity.names import prepare
from antiphon.store.contracts import Client
from antiphon.store.files import FilesStore
from support.file_edits import edit

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE, THERE = "192.0.2.1", "2001:db8::1"


async def visit(store: FilesStore, name: str, at: datetime = NOON, address: str = HERE) -> datetime | None:
    return await store.clients.visited(address, prepare(name), at, 2)


async def names(store: FilesStore, address: str = HERE) -> list[str]:
    return [client.display for client in await store.clients.at(address)]


async def test_a_client_is_a_line_that_a_person_can_read(store: FilesStore, people: Path) -> None:
    await visit(store, "Вадим")
    await visit(store, "Вадим", NOON + HOUR)
    assert (people / "clients.txt").read_text("utf-8") == (
        "address\tname\tfirst_visit\tlast_visit\n"
        "192.0.2.1\tВадим\t2026-03-01T12:00:00+00:00\t2026-03-01T13:00:00+00:00\n"
    )


async def test_a_visit_gives_the_one_before_it_at_the_same_address(store: FilesStore) -> None:
    assert await visit(store, "Ann") is None
    assert await visit(store, "ann", NOON + HOUR) == NOON
    assert await visit(store, "ann", NOON, THERE) is None
    (client,) = await store.clients.at(HERE)
    assert client == Client(address=HERE, display="Ann", key="ann", first_at=NOON, visited_at=NOON + HOUR)


async def test_the_one_that_came_last_is_first_and_the_one_used_longest_ago_makes_way(store: FilesStore) -> None:
    for hours, name in enumerate(("ann", "bob", "ann", "zoe")):
        await visit(store, name, NOON + hours * HOUR)
    await visit(store, "dan", NOON, THERE)
    assert await names(store) == ["zoe", "ann"]
    assert await names(store, THERE) == ["dan"]


async def test_a_wrong_name_is_made_right(store: FilesStore) -> None:
    await visit(store, "ann")
    await store.clients.renamed(HERE, "ann", prepare("Anna"), NOON + HOUR)
    await store.clients.renamed(HERE, "nobody", prepare("bob"), NOON + HOUR)
    first, second = await store.clients.all()
    assert (first.display, first.first_at, first.visited_at) == ("Anna", NOON, NOON)
    assert (second.display, second.first_at, second.visited_at) == ("bob", NOON + HOUR, NOON + HOUR)


async def test_two_that_get_one_name_are_one(store: FilesStore) -> None:
    await visit(store, "ann", NOON + HOUR)
    await visit(store, "anna", NOON)
    await store.clients.renamed(HERE, "ann", prepare("Anna"), NOON)
    (client,) = await store.clients.all()
    assert (client.display, client.first_at, client.visited_at) == ("Anna", NOON, NOON + HOUR)


async def test_a_client_is_forgotten_once(store: FilesStore) -> None:
    await visit(store, "ann")
    await visit(store, "ann", NOON, THERE)
    assert [await store.clients.forget(HERE, "ann") for _ in range(2)] == [True, False]
    assert [client.address for client in await store.clients.all()] == [THERE]


async def test_a_line_taken_out_or_put_in_by_hand_counts(store: FilesStore, people: Path) -> None:
    await visit(store, "ann")
    edit(people / "clients.txt", lambda text: text.replace("ann", "bob"))
    assert await names(store) == ["bob"]


async def test_a_broken_line_is_left_as_it_is(store: FilesStore, people: Path) -> None:
    await visit(store, "ann")
    edit(people / "clients.txt", lambda text: text + "Vadim192.168.1.39\n")
    with pytest.raises(TryLater) as caught:
        await visit(store, "bob")
    assert "clients.txt, line 3: it has 1 fields instead of 4" in str(caught.value.__cause__)
    assert "Vadim" in (people / "clients.txt").read_text("utf-8")


async def test_closed_is_closed(store: FilesStore) -> None:
    await store.close()
    await store.close()
    with pytest.raises(TryLater):
        await store.clients.all()
    with pytest.raises(TryLater):
        await store.accounts.overviews()
