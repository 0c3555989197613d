"""The HELLO frame: what it says of the settings, and whether imported accounts are left."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import TryLater
from antiphon.identity.names import prepare
from antiphon.identity.scram import ITERATIONS, SALT_SIZE
from antiphon.server import hello as hello_module
from antiphon.server.hello import HelloFrame, hello_of
from antiphon.settings import ServerSettings
from antiphon.store.contracts import NewAccount, Store
from antiphon.store.sql import open_sqlite
from antiphon.wire.bodies import INVITATIONS, REPLACE, Hello
from antiphon.wire.conversation import ClientConversation, Control
from support.auth import NOON, Clock, RecordingLog
from support.imported_accounts import digest, seed_old
from support.serving import Serving, serving


class Frame:
    """A frame on a real store, in which imported accounts are left or not."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.log = RecordingLog()
        self.hello = HelloFrame(
            hello_of(ServerSettings(), "SCRAM-SHA-256", registration=True), store.accounts, self.clock, self.log
        )

    def said(self) -> Hello:
        return said_by(self.hello.frame)

    async def import_(self, *, lifetime: float = 60) -> None:
        account = NewAccount(
            name=prepare("ann"),
            seal=lambda _: secrets.token_bytes(8),
            credential_type="SCRAM-SHA-256",
            must_change=True,
            expires_at=NOON + timedelta(seconds=lifetime),
        )
        await self.store.accounts.add([account], NOON, "import")


def said_by(data: bytes) -> Hello:
    conversation = ClientConversation()
    conversation.feed(data)
    event = conversation.next()
    assert isinstance(event, Control)
    assert isinstance(event.body, Hello)
    return event.body


@pytest.fixture
async def frame(tmp_path: Path) -> AsyncIterator[Frame]:
    store = await open_sqlite(tmp_path)
    yield Frame(store)
    await store.close()


# --- the settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("access", ["authenticate", "identify", "anyone"])
def test_hello_says_what_the_server_wants(access: Any) -> None:
    settings = ServerSettings(access=access, message_limit=4096, heartbeat_seconds=3, silence_seconds=7)
    hello = hello_of(settings, "SCRAM-SHA-256-PLUS", registration=False)
    by_password = access == "authenticate"
    assert hello.access == access
    assert hello.mechanisms == (["SCRAM-SHA-256-PLUS"] if by_password else [])
    assert hello.features == ([INVITATIONS, REPLACE] if by_password else [REPLACE])
    assert (hello.limits.message, hello.limits.heartbeat, hello.limits.silence) == (4096, 3, 7)
    assert (hello.scram.salt_length, hello.scram.iterations) == (SALT_SIZE, ITERATIONS)
    assert (hello.registration, hello.imports) == (False, False)
    assert hello.password_minimum == settings.password_minimum
    assert hello.product.startswith("antiphon/")


# --- imported accounts --------------------------------------------------------------------------------------


async def test_the_frame_says_after_each_look_whether_imports_are_left(frame: Frame) -> None:
    await frame.hello.look()
    assert not frame.said().imports
    await frame.import_()
    assert not frame.said().imports, "it is the same for all connections until the next look"
    await frame.hello.look()
    assert frame.said().imports
    assert frame.said().registration, "all else stays"
    account = await frame.store.accounts.find("ann")
    assert account
    await frame.store.accounts.replace_credential(account.id, account.credential_type, lambda _: b"new")
    await frame.hello.look()
    assert not frame.said().imports


async def test_imports_that_have_expired_are_not_left(frame: Frame) -> None:
    await frame.import_(lifetime=60)
    frame.clock.advance(60)
    await frame.hello.look()
    assert not frame.said().imports


async def test_it_looks_again_after_the_store_was_away_and_after_a_fault(
    frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hello_module, "LOOK_SECONDS", 0)
    real, looked = frame.store.accounts.imports, asyncio.Event()
    errors: list[Exception] = [TryLater(), RuntimeError("a fault")]

    async def failing(at: datetime) -> bool:
        if errors:
            raise errors.pop(0)
        remain = await real(at)
        looked.set()
        return remain

    frame.store.accounts.imports = failing  # type: ignore[method-assign]
    await frame.import_()
    running = asyncio.create_task(frame.hello.run())
    await looked.wait()
    while not frame.said().imports:
        await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert errors == []
    assert [record.event for record in frame.log.records] == ["fault"], "a store that is away is no fault"


# --- on a server --------------------------------------------------------------------------------------------


def remain(server: Serving) -> bool:
    with server.client() as client:
        return client.hello().imports


def test_hello_says_from_the_start_and_while_the_server_runs_that_imports_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hello_module, "LOOK_SECONDS", 0.01)
    data = tmp_path / "data"
    with serving(data, plain=True) as server:
        assert not remain(server)
        seed_old(data, "ann", digest("old"))
        while not remain(server):
            pass
    with serving(data, plain=True) as server:
        assert remain(server)
