"""Place: which processes may share a database, and how they reach each other.

Without `--relay-address` they are those of one data folder on one machine: relays go through sockets in the data
folder, and reach no further. A process elsewhere could neither relay to the homes here nor tell whether they live.
With it they are nodes, which may be anywhere, and none may be without it.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from antiphon.errors import DatabaseElsewhere, NodesOnly, RelayAddressMissing
from antiphon.server.home.heartbeat import BEAT_SECONDS
from antiphon.server.home.watch import DEAD_SECONDS
from antiphon.store.contracts import Store

NODES = "nodes"
"""The place of a database that nodes share; those of others have a colon."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux has a name for the system as it runs: no other machine has it, whatever its host name is. Containers
of one machine have it in common, and their folders differ."""


def place_of(folder: Path) -> str:
    """Return the name of a data folder of this machine."""
    return f"{socket.gethostname()}:{folder.resolve()}"


def place_here(folder: Path) -> str:
    """Return the place of the processes of a data folder: they reach each other's Unix sockets."""
    found = folder.stat()
    boot = ""
    with contextlib.suppress(OSError):
        boot = _BOOT.read_text("ascii").strip()
    return f"{place_of(folder)}#{boot}:{found.st_dev:x}:{found.st_ino:x}"


async def take_place(
    store: Store,
    folder: Path,
    database: str,
    wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
    *,
    node: bool = False,
) -> None:
    """Have a store serve the processes of `folder`, or nodes. It may take 7 s, if those of others were killed.

    Raises:
        DatabaseElsewhere: processes of another machine or folder use it; or nodes, and this is none, or the other
            way round.
        TryLater: the store does not answer.
    """
    if store.owner is None:
        return
    place = NODES if node else place_of(folder)
    noted = await store.owner.join(None, place)
    if noted.place == place:
        return
    counters = {each.id: each.beat for each in await store.processes.all()}
    for _ in range(round(DEAD_SECONDS / BEAT_SECONDS) + 1):
        await wait(BEAT_SECONDS)
        if any(counters.get(each.id) != each.beat for each in await store.processes.all()):
            raise _refusal(noted.place, node, database)
    for id, beat in counters.items():
        await store.processes.remove(id, beat)
    if (noted := await store.owner.join(None, place)).place != place:
        raise _refusal(noted.place, node, database)


async def check_place(store: Store, folder: Path, database: str, *, node: bool = False) -> None:
    """Check, once this process is known to the store, that no other place has been taken at the same time.

    Raises:
        DatabaseElsewhere: one has.
        TryLater: the store does not answer.
    """
    if store.owner is None:
        return
    noted = (await store.owner.noted()).place
    if noted != (NODES if node else place_of(folder)):
        raise _refusal(noted, node, database)


def _refusal(place: str | None, node: bool, database: str) -> DatabaseElsewhere:  # noqa: FBT001 - of this module
    if place == NODES:
        return RelayAddressMissing(database=database)
    return (NodesOnly if node else DatabaseElsewhere)(place=place, database=database)
