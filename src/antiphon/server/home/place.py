"""Place: the processes that share a database are those of one data folder on one machine.

Relays go through sockets in the data folder, and reach no further. A process elsewhere could neither relay to the
homes here nor tell whether they live.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from antiphon.errors import DatabaseElsewhere
from antiphon.server.home.heartbeat import BEAT_SECONDS
from antiphon.server.home.watch import DEAD_SECONDS
from antiphon.store.contracts import Store


def place_of(folder: Path) -> str:
    """Return the name of a data folder of this machine."""
    return f"{socket.gethostname()}:{folder.resolve()}"


async def take_place(
    store: Store, folder: Path, database: str, wait: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> None:
    """Have a store serve the processes of `folder`. It may take 7 s, if those of another one were killed.

    Raises:
        DatabaseElsewhere: processes of another machine or folder use it.
        TryLater: the store does not answer.
    """
    if store.owner is None:
        return
    place = place_of(folder)
    noted = await store.owner.join(None, place)
    if noted.place == place:
        return
    counters = {each.id: each.beat for each in await store.processes.all()}
    for _ in range(round(DEAD_SECONDS / BEAT_SECONDS) + 1):
        await wait(BEAT_SECONDS)
        if any(counters.get(each.id) != each.beat for each in await store.processes.all()):
            raise DatabaseElsewhere(place=noted.place, database=database)
    for id, beat in counters.items():
        await store.processes.remove(id, beat)
    if (noted := await store.owner.join(None, place)).place != place:
        raise DatabaseElsewhere(place=noted.place, database=database)


async def check_place(store: Store, folder: Path, database: str) -> None:
    """Check, once this process is known to the store, that no other place has been taken at the same time.

    Raises:
        DatabaseElsewhere: one has.
        TryLater: the store does not answer.
    """
    if store.owner is not None and (noted := await store.owner.noted()).place != place_of(folder):
        raise DatabaseElsewhere(place=noted.place, database=database)
