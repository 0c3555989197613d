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
TRIES = 3
"""A busy machine makes some tries late, a fault all of them."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user of PostgreSQL can reach."""
    made = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


async def test_whoever_talks_goes_on_and_whoever_comes_is_told_in_time(folder: Path) -> None:
    late: list[list[str]] = []
    while not late or (late[-1] and len(late) < TRIES):
        late.append(await late_in(folder / str(len(late))))
    assert not late[-1], late


async def late_in(folder: Path) -> list[str]:
    """Return what took too long in one try; nothing else may be wrong in any."""
    folder.mkdir()
    late: list[str] = []
    cluster = Cluster.begun(folder)
    world = World(folder, cluster, talkers=20, nodes=True, slack=SLACK_SECONDS)
    try:
        await world.begin(len(SECONDS))
        for name, seconds in SECONDS.items():
            seen = await world.suffer(replace(FAULTS[name], seconds=seconds))
            assert seen.broken == seen.late, (seen.broken, seen.row)
            late += seen.late
            if late:
                break
    finally:
        await world.close()
        cluster.stop()
    return late
