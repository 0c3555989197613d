"""The listener of the status page alone: a real one, with a real store, and no server beside it."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from antiphon.data.certificate import load_or_make
from antiphon.data.credentials import seal
from antiphon.data.folder import DataFolder
from antiphon.identity.names import prepare
from antiphon.identity.scram import Verifier
from antiphon.server.status.access.guard import Guard
from antiphon.server.status.endpoint import StatusEndpoint, listening_for_status
from antiphon.store.contracts import NewAccount, Store
from antiphon.store.opening import open_store
from antiphon.wire.bodies import SCRAM_SHA_256
from support.auth import CHEAP, RecordingLog
from support.status_page import Page

Result = TypeVar("Result")


@dataclass
class PageServer:
    """A listener of the page that runs."""

    folder: DataFolder
    endpoint: StatusEndpoint
    log: RecordingLog
    store: str

    @property
    def guard(self) -> Guard:
        """Who decides; of the page's thread."""
        return self.endpoint._guard

    def page(self, source: str = "127.0.0.1") -> Page:
        """Return a new browser."""
        return Page(self.endpoint.place, source)

    def signed_in(self, name: str = "ann") -> Page:
        """Return a browser whose person has signed in, without the exchange."""

        async def opened() -> tuple[str, str]:
            account = await (await self.guard.store.opened()).store.accounts.find(prepare(name).key)
            assert account is not None
            cookie, administrator = self.guard.sessions.open(account)
            return cookie, administrator.csrf

        page = self.page()
        port = self.endpoint.place.rpartition(":")[2]
        secure = self.endpoint.place.startswith("https:")
        cookie, page.csrf = self.inside(opened())
        page.cookies["__Host-antiphon" if secure else f"antiphon-{port}"] = cookie
        return page

    def inside(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the event loop of the page, and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.endpoint._loop).result(60)

    def change(self, work: Callable[[Store], Coroutine[Any, Any, Result]]) -> Result:
        """Do something with the store from outside, as a command does."""

        async def changed() -> Result:
            store = await open_store(self.store, self.folder.path)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(changed())

    def add(self, name: str, *, verifier: Verifier = CHEAP, administrator: bool = False, **fields: Any) -> int:
        """Add an account with the password `PASSWORD`; return its number. `fields` are those of `NewAccount`."""
        ring = self.folder.key_ring(secrets.token_bytes)

        async def added(store: Store) -> int:
            new = NewAccount(
                name=prepare(name),
                seal=lambda number, key: seal(ring, verifier, number, key, secrets.token_bytes),
                credential_type=SCRAM_SHA_256,
                **fields,
            )
            (account,) = await store.accounts.add([new], datetime.now(UTC), "test")
            await store.accounts.set_administrator(account.id, administrator=administrator)
            return account.id

        return self.change(added)


@contextlib.contextmanager
def page_server(path: Path, place: str = "127.0.0.1:0", store: str = "sqlite") -> Iterator[PageServer]:
    """Run the listener of the page at `place` for the data folder `path`."""
    folder, log = DataFolder.open(path), RecordingLog()
    folder.key_ring(secrets.token_bytes)
    secure = place.startswith("https://")
    endpoint = StatusEndpoint(
        listening_for_status(place),
        log,
        folder=folder,
        store=store,
        host="localhost",
        certificate=load_or_make(folder, ["localhost"]) if secure else None,
    )
    endpoint.start()
    try:
        yield PageServer(folder, endpoint, log, store)
    finally:
        asyncio.run(endpoint.close())
