"""`make faults`: let every fault happen to the database of two nodes, whose clocks are an hour apart.

`FAULT="killed; frozen"` is for some of them, `TOPOLOGY=servers` for two servers of one data folder. It prints what
was seen of each, and ends with 1 if a rule was broken.
"""

import asyncio
import hashlib
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

from faults.cluster import Cluster
from faults.rules import HEAD
from faults.scenarios import FAULTS
from faults.world import World

TALKERS = 50


def main() -> int:
    """Run the faults; return the exit code."""
    hashlib.pbkdf2_hmac = cache(hashlib.pbkdf2_hmac)  # type: ignore[assignment] # as in the tests
    names = [name.strip() for name in (os.environ.get("FAULT") or "; ".join(FAULTS)).split(";")]
    nodes = os.environ.get("TOPOLOGY", "nodes") == "nodes"
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))  # short enough for its socket
    cluster = Cluster.begun(folder)
    try:
        broken = asyncio.run(run(folder, cluster, names, nodes=nodes))
    finally:
        cluster.stop()
    if broken:
        print(f"The logs are in {folder}.")
    else:
        shutil.rmtree(folder)
    return int(broken)


async def run(folder: Path, cluster: Cluster, names: list[str], *, nodes: bool) -> bool:
    """Let each fault happen; return whether a rule was broken."""
    world = World(folder, cluster, talkers=TALKERS, nodes=nodes)
    broken: list[str] = []
    try:
        await world.begin(len(names))
        print(HEAD, flush=True)
        for name in names:
            seen = await world.suffer(FAULTS[name])
            print(seen.row, flush=True)
            broken += [f"{name}: {rule}" for rule in seen.broken]
    finally:
        await world.close()
    for rule in dict.fromkeys(broken):
        print(rule)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
