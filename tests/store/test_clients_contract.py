"""What every store does about clients that are known by their address."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from antiphon.errors import TryLater
from antiphon.identity.names import prepare
from antiphon.store.contracts import Client, Clients, Store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOME, WORK = "192.0.2.7", "2001:db8::7"
MOST = 4


async def visit(
    clients: Clients, name: str, at: datetime = NOON, *, address: str = HOME, most: int = MOST
) -> datetime | None:
    return await clients.visited(address, prepare(name), at, most)


async def names(clients: Clients, address: str = HOME) -> list[str]:
    return [client.display for client in await clients.at(address)]


def client(name: str, first_at: datetime, visited_at: datetime, *, address: str = HOME) -> Client:
    prepared = prepare(name)
    return Client(
        address=address,
        display=prepared.display,
        key=prepared.key,
        first_at=first_at,
        visited_at=visited_at,
    )


async def test_nobody_is_known_at_first(clients: Clients) -> None:
    assert await clients.at(HOME) == []
    assert await clients.all() == []


async def test_a_first_visit_has_none_before_it_and_the_next_ones_are_told_the_last(clients: Clients) -> None:
    assert await visit(clients, "ann") is None
    assert await visit(clients, "ann", NOON + HOUR) == NOON
    assert await visit(clients, "ann", NOON + 2 * HOUR) == NOON + HOUR
    assert await clients.at(HOME) == [client("ann", NOON, NOON + 2 * HOUR)]


async def test_times_come_back_as_they_were_given_in_utc(clients: Clients) -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    await visit(clients, "ann", at.astimezone(None))
    (known,) = await clients.at(HOME)
    assert (known.first_at, known.visited_at) == (at, at)
    assert known.first_at.utcoffset() == timedelta(0)


async def test_a_name_is_shown_as_it_was_typed_first_however_it_is_typed_later(clients: Clients) -> None:
    await visit(clients, "Вадим")
    assert await visit(clients, "ВАДИМ", NOON + HOUR) == NOON
    assert await clients.at(HOME) == [client("Вадим", NOON, NOON + HOUR)]


async def test_the_one_that_came_last_is_the_first(clients: Clients) -> None:
    for hours, name in enumerate(("ann", "bob", "carl", "bob")):
        await visit(clients, name, NOON + hours * HOUR)
    assert await names(clients) == ["bob", "carl", "ann"]


async def test_the_same_name_at_another_address_is_another_client(clients: Clients) -> None:
    await visit(clients, "ann")
    assert await visit(clients, "ann", NOON + HOUR, address=WORK) is None
    assert await visit(clients, "bob", NOON + HOUR, address=WORK) is None
    assert await clients.at(HOME) == [client("ann", NOON, NOON)]
    assert await names(clients, "192.0.2.77") == []


async def test_all_are_listed_by_address_and_key(clients: Clients) -> None:
    for name, address in (("Bob", HOME), ("ann", WORK), ("ann", HOME)):
        await visit(clients, name, address=address)
    assert [(known.address, known.display) for known in await clients.all()] == [
        (HOME, "ann"),
        (HOME, "Bob"),
        (WORK, "ann"),
    ]


# --- how many -----------------------------------------------------------------------------------------------


async def test_beyond_the_most_the_name_that_was_used_longest_ago_makes_way(clients: Clients) -> None:
    for hours, name in enumerate(("ann", "bob", "carl", "dora", "ann", "eve")):
        await visit(clients, name, NOON + hours * HOUR)
    assert await names(clients) == ["eve", "ann", "dora", "carl"]


async def test_a_new_name_is_not_the_one_that_makes_way_though_the_clock_was_set_back(clients: Clients) -> None:
    for name in ("ann", "bob"):
        await visit(clients, name, NOON, most=2)
    await visit(clients, "new", NOON - HOUR, most=2)
    assert "new" in await names(clients)
    assert len(await names(clients)) == 2


async def test_one_who_is_known_pushes_nobody_out(clients: Clients) -> None:
    for name in ("ann", "bob", "ann", "bob"):
        await visit(clients, name, most=2)
    assert sorted(await names(clients)) == ["ann", "bob"]


async def test_an_address_pushes_nobody_out_at_another(clients: Clients) -> None:
    await visit(clients, "ann", address=WORK, most=1)
    await visit(clients, "bob", most=1)
    await visit(clients, "carl", NOON + HOUR, most=1)
    assert await names(clients, WORK) == ["ann"]
    assert await names(clients) == ["carl"]


async def test_of_visits_at_once_none_is_lost_and_no_name_is_kept_twice(clients: Clients) -> None:
    moments = [NOON + number * HOUR for number in range(20)]
    told = await asyncio.gather(*(visit(clients, "ann", at) for at in moments))
    (known,) = await clients.at(HOME)
    assert told.count(None) == 1
    assert sorted([known.visited_at, *(before for before in told if before)]) == moments


# --- a name that was wrong ----------------------------------------------------------------------------------


async def test_a_client_gets_another_name_and_keeps_its_visits(clients: Clients) -> None:
    await visit(clients, "amn")
    await visit(clients, "amn", NOON + HOUR)
    await clients.renamed(HOME, "amn", prepare("ann"), NOON + 2 * HOUR)
    assert await clients.at(HOME) == [client("ann", NOON, NOON + HOUR)]


async def test_only_the_spelling_of_a_name_can_change(clients: Clients) -> None:
    await visit(clients, "ann")
    await clients.renamed(HOME, "ann", prepare("Ann"), NOON + HOUR)
    assert await clients.at(HOME) == [client("Ann", NOON, NOON)]


@pytest.mark.parametrize(("wrong", "right"), [("ann", "bob"), ("bob", "ann")])
async def test_two_clients_of_one_name_become_one(clients: Clients, wrong: str, right: str) -> None:
    await visit(clients, "ann")
    await visit(clients, "ann", NOON + 3 * HOUR)
    await visit(clients, "bob", NOON + HOUR)
    await clients.renamed(HOME, wrong, prepare(right), NOON + 4 * HOUR)
    assert await clients.at(HOME) == [client(right, NOON, NOON + 3 * HOUR)]


async def test_where_nobody_has_the_wrong_name_the_right_one_is_added(clients: Clients) -> None:
    await clients.renamed(HOME, "nobody", prepare("ann"), NOON)
    assert await clients.at(HOME) == [client("ann", NOON, NOON)]


async def test_a_name_is_changed_at_its_own_address_only(clients: Clients) -> None:
    for address in (HOME, WORK):
        await visit(clients, "amn", address=address)
    await clients.renamed(HOME, "amn", prepare("ann"), NOON)
    assert await names(clients, WORK) == ["amn"]


async def test_a_client_is_forgotten_once_and_at_its_own_address(clients: Clients) -> None:
    for address in (HOME, WORK):
        await visit(clients, "Ann", address=address)
    assert await clients.forget(HOME, "ann")
    assert not await clients.forget(HOME, "ann")
    assert await names(clients) == []
    assert await names(clients, WORK) == ["Ann"]
    assert await visit(clients, "ann", NOON + HOUR) is None


# --- the end ------------------------------------------------------------------------------------------------


async def test_a_closed_store_says_try_later(store: Store, clients: Clients) -> None:
    await store.close()
    await store.close()
    for work in (
        clients.at(HOME),
        clients.all(),
        clients.visited(HOME, prepare("ann"), NOON, MOST),
        clients.renamed(HOME, "ann", prepare("bob"), NOON),
        clients.forget(HOME, "ann"),
    ):
        with pytest.raises(TryLater):
            await work
