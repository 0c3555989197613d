"""Clients by address in a file, `clients.txt`, that a person can read and edit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from antiphon.identity.names import Name
from antiphon.store.contracts import Client
from antiphon.store.files.layout import MOMENT, NAME, TEXT, Layout
from antiphon.store.files.sheet import Sheet, WriteLock
from antiphon.store.thread import Result, StoreThread

CLIENTS_FILE = "clients.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientRow:
    """A row of the file."""

    address: str
    name: Name
    first_visit: datetime
    last_visit: datetime

    def client(self) -> Client:
        """Return the client as the contract gives it."""
        return Client(
            address=self.address,
            display=self.name.display,
            key=self.name.key,
            first_at=self.first_visit,
            visited_at=self.last_visit,
        )


CLIENTS = Layout(
    row=ClientRow,
    columns={"address": TEXT, "name": NAME, "first_visit": MOMENT, "last_visit": MOMENT},
    unique={"name": lambda row: (row.address, row.name.key)},
    delimiter="\t",
)


class FilesClients:
    """`contracts.Clients` in a file."""

    def __init__(self, thread: StoreThread, lock: WriteLock, path: Path) -> None:
        """Keep clients in the file `path`."""
        self._thread = thread
        self._lock = lock
        self._sheet = Sheet(path, CLIENTS, lock)

    def make(self) -> None:
        """Make the file ready; see `Sheet.make`."""
        self._sheet.make()

    async def at(self, address: str) -> list[Client]:
        """See `contracts.Clients`."""
        rows = await self._thread.run(self._sheet.rows)
        here = sorted((row.client() for row in rows if row.address == address), key=lambda client: client.key)
        return sorted(here, key=lambda client: client.visited_at, reverse=True)

    async def visited(self, address: str, name: Name, at: datetime, most: int) -> datetime | None:
        """See `contracts.Clients`."""

        def change(rows: list[ClientRow]) -> tuple[list[ClientRow], datetime | None]:
            before = _found(rows, address, name.key)
            if before is not None:
                return [replace(row, last_visit=at) if row is before else row for row in rows], before.last_visit
            here = sorted((row for row in rows if row.address == address), key=lambda row: row.last_visit)
            in_the_way = here[: max(len(here) - most + 1, 0)]
            new = ClientRow(address=address, name=name, first_visit=at, last_visit=at)
            return [*(row for row in rows if row not in in_the_way), new], None

        return await self._change(change)

    async def renamed(self, address: str, key: str, name: Name, at: datetime) -> None:
        """See `contracts.Clients`."""

        def change(rows: list[ClientRow]) -> tuple[list[ClientRow], None]:
            new = ClientRow(address=address, name=name, first_visit=at, last_visit=at)
            wrong, right = _found(rows, address, key), _found(rows, address, name.key)
            known = [row for row in (wrong, right) if row]
            if known:
                new = replace(
                    new,
                    first_visit=min(row.first_visit for row in known),
                    last_visit=max(row.last_visit for row in known),
                )
            return [*(row for row in rows if row not in known), new], None

        await self._change(change)

    async def forget(self, address: str, key: str) -> bool:
        """See `contracts.Clients`."""

        def change(rows: list[ClientRow]) -> tuple[list[ClientRow], bool]:
            gone = _found(rows, address, key)
            return [row for row in rows if row is not gone], gone is not None

        return await self._change(change)

    async def all(self) -> list[Client]:
        """See `contracts.Clients`."""
        rows = await self._thread.run(self._sheet.rows)
        return sorted((row.client() for row in rows), key=lambda client: (client.address, client.key))

    async def _change(self, change: Callable[[list[ClientRow]], tuple[list[ClientRow], Result]]) -> Result:
        """Replace the rows by those that `change` returns for them; return its second result."""

        def work() -> Result:
            with self._lock.held():
                before = self._sheet.rows()
                rows, told = change(before)
                if rows != before:
                    self._sheet.write(rows)
                return told

        return await self._thread.run(work)


def _found(rows: list[ClientRow], address: str, key: str) -> ClientRow | None:
    return next((row for row in rows if (row.address, row.name.key) == (address, key)), None)
