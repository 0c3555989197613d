"""Topics over two workers, with cuts, drains, deaths and freezes; `make soak` does it for longer."""

from pathlib import Path

import pytest

from model.topics import GAP, TopicsWorld, broken
from support.nodes import PORTS


async def test_all_hear_the_same_and_everything_or_are_told(tmp_path: Path) -> None:
    world = TopicsWorld(tmp_path, seed=18)
    assert await world.run(90) == [], world.done
    assert min(world.done[what] for what in ("cut", "away", "drain", "kill")) > 0


async def test_all_hear_the_same_or_are_told_where_topics_are_in_a_database(tmp_path: Path, database: str) -> None:
    world = TopicsWorld(tmp_path, 21, "--store", database, "--relay-address", PORTS)
    assert await world.run(45) == [], world.done
    assert min(world.done[what] for what in ("cut", "drain", "kill")) > 0


@pytest.mark.parametrize(
    ("heard", "fault"),
    [
        ({"a": ["1", "2", "3"], "b": ["1", GAP, "3"], "c": [GAP, "3"]}, None),
        ({"a": ["1", "2", "2"]}, "a has heard 2 2 times"),
        ({"a": ["1", "2", "3"], "b": ["1", "3"]}, "b has not heard"),
        ({"a": ["1", "2", "3"], "b": ["2", "1", "3"]}, "not all have heard the same order"),
    ],
)
def test_the_rules_find_what_is_wrong(heard: dict[str, list[str]], fault: str | None) -> None:
    faults = broken(heard)
    assert faults == [] if fault is None else any(fault in each for each in faults)
