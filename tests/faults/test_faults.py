"""The faults of a database that matter most, for a short time. See `make faults`."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.cluster import Cluster
from faults.scenarios import FAULTS
from faults.world import World

SECONDS = {"killed": 0.5, "frozen": 2.5, "cut, silent": 2.5}
"""For how long each lasts: the last two until all threads have met it."""
SLACK_SECONDS = 1.5


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user of PostgreSQL can reach."""
    made = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


async def test_whoever_talks_goes_on_and_whoever_comes_is_told_in_time(folder: Path) -> None:
    cluster = Cluster.begun(folder)
    world = World(folder, cluster, talkers=20, nodes=True, slack=SLACK_SECONDS)
    try:
        await world.begin(len(SECONDS))
        for name, seconds in SECONDS.items():
            seen = await world.suffer(replace(FAULTS[name], seconds=seconds))
            assert not seen.broken, seen.row
    finally:
        await world.close()
        cluster.stop()
