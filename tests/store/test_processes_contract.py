"""What every store of processes does."""

import asyncio
from dataclasses import replace
from threading import Thread

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import Processes, Store
from support.stored import MINUTE, NOON, process


async def test_a_process_is_found_as_it_was_entered(processes: Processes) -> None:
    assert await processes.find("one") is None
    await processes.enter(process("one"))
    await processes.enter(process("two", started_at=NOON - MINUTE))
    assert await processes.find("one") == process("one")
    assert await processes.all() == [process("two", started_at=NOON - MINUTE), process("one")]


async def test_a_process_that_enters_again_replaces_its_record(processes: Processes) -> None:
    await processes.enter(process("one", beat=7))
    again = process("one", pid=2, started_at=NOON + MINUTE, relay_address="/elsewhere", relay_version=2)
    again = replace(again, service="other", limits="others")
    await processes.enter(again)
    assert await processes.all() == [again]


async def test_a_process_that_is_removed_is_gone(processes: Processes) -> None:
    await processes.enter(process("one"))
    await processes.enter(process("two"))
    assert await processes.remove("one") is True
    assert await processes.remove("one") is False
    assert await processes.all() == [process("two")]


async def test_a_process_whose_counter_has_moved_is_not_removed(processes: Processes) -> None:
    await processes.enter(process("one", beat=4))
    assert await processes.remove("one", beat=3) is False
    assert await processes.remove("one", beat=5) is False
    assert await processes.find("one") is not None
    assert await processes.remove("one", beat=4) is True
    assert await processes.find("one") is None


async def test_a_heartbeat_advances_its_own_counter_and_returns_all(processes: Processes) -> None:
    await processes.enter(process("one", beat=4))
    await processes.enter(process("two", beat=9))
    pulse = processes.pulse()
    assert pulse.beat("one") == {"one": 5, "two": 9}
    assert pulse.beat("one") == {"one": 6, "two": 9}
    pulse.close()
    pulse.close()
    assert [each.beat for each in await processes.all()] == [6, 9]


async def test_a_heartbeat_notes_the_keys_of_its_process(processes: Processes) -> None:
    keys = "1:a"
    assert await processes.enter(process("one", place="here:/data", keys=keys))
    await processes.enter(process("two", keys="other"))
    pulse = processes.pulse(lambda: keys)
    pulse.beat("one")
    assert await processes.find("one") == process("one", beat=2, place="here:/data", keys="1:a")
    keys = "1:a 2:b"
    pulse.beat("one")
    pulse.close()
    assert {each.id: each.keys for each in await processes.all()} == {"one": "1:a 2:b", "two": "other"}


async def test_a_process_that_was_taken_for_dead_is_told(processes: Processes) -> None:
    await processes.enter(process("two", beat=9))
    pulse = processes.pulse()
    assert pulse.beat("one") is None
    assert await processes.all() == [process("two", beat=9)]
    pulse.close()


async def test_a_heartbeat_waits_neither_for_the_loop_nor_for_the_store(store: Store) -> None:
    await store.processes.enter(process("one", beat=0))
    pulse = store.processes.pulse()
    counted: list[dict[str, int] | None] = []
    thread = Thread(target=lambda: counted.append(pulse.beat("one")))
    thread.start()
    thread.join(60)  # it blocks the loop
    assert counted == [{"one": 1}]
    pulse.close()


async def test_each_of_several_pulses_counts(processes: Processes) -> None:
    for id in ("one", "two", "three"):
        await processes.enter(process(id, beat=0))
    pulses = {each.id: processes.pulse() for each in await processes.all()}

    def beat(id: str) -> None:
        for _ in range(20):
            pulses[id].beat(id)
        pulses[id].close()

    await asyncio.gather(*(asyncio.to_thread(beat, id) for id in pulses))
    assert [each.beat for each in await processes.all()] == [20] * 3


async def test_a_closed_store_says_try_later(store: Store, processes: Processes) -> None:
    await store.close()
    for call in (
        processes.enter(process("one")),
        processes.find("one"),
        processes.all(),
        processes.remove("one"),
        processes.remove("one", 1),
    ):
        with pytest.raises(TryLater):
            await call
