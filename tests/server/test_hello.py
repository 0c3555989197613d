"""The HELLO frame: what it says of the settings, and whether imported accounts are left."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antiphon.client.password_forms import hello_forms
from antiphon.errors import TryLater
from antiphon.identity.names import prepare
from antiphon.identity.old_forms import OldForm
from antiphon.identity.scram import ITERATIONS, SALT_SIZE
from antiphon.server import hello as hello_module
from antiphon.server.hello import HelloFrame, hello_of
from antiphon.settings import ServerSettings
from antiphon.store.contracts import NewAccount, Store
from antiphon.store.sql import open_sqlite
from antiphon.wire.bodies import END_OTHERS, INVITATIONS, REPLACE, Hello
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

    async def import_(self, name: str = "ann", *, lifetime: float = 60, form: str | None = "md5") -> None:
        account = NewAccount(
            name=prepare(name),
            seal=lambda _, __: secrets.token_bytes(8),
            credential_type="SCRAM-SHA-256",
            must_change=True,
            expires_at=NOON + timedelta(seconds=lifetime),
            old_form=form,
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
    assert hello.features == ([INVITATIONS, REPLACE, END_OTHERS] if by_password else [REPLACE])
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
    await frame.store.accounts.replace_credential(account.id, account.credential_type, lambda *_: b"new")
    await frame.hello.look()
    assert not frame.said().imports


async def test_imports_that_have_expired_are_not_left(frame: Frame) -> None:
    await frame.import_(lifetime=60)
    frame.clock.advance(60)
    await frame.hello.look()
    assert not frame.said().imports


async def test_other_old_forms_are_features_and_plain_passwords_are_nothing(frame: Frame) -> None:
    before = frame.said()
    await frame.import_("ann", form="sha256")
    await frame.import_("bob", form=None)
    await frame.hello.look()
    said = frame.said()
    assert (said.imports, said.features) == (False, [INVITATIONS, REPLACE, END_OTHERS, "old-form:sha256"])
    assert hello_forms(said) == [OldForm("sha256")]
    await frame.import_("cleo", form="md5")
    await frame.hello.look()
    assert hello_forms(frame.said()) == [OldForm("md5"), OldForm("sha256")]
    frame.clock.advance(60)
    await frame.hello.look()
    assert frame.said() == before


async def test_a_form_that_no_client_knows_is_not_named_and_two_are_named_at_most(frame: Frame) -> None:
    for name, form in {"ann": "md4", "bob": "sha256+", "cleo": "md5+" + "x" * 65, "dora": "+salt"}.items():
        await frame.import_(name, form=form)
    await frame.hello.look()
    assert hello_forms(frame.said()) == []
    for name, form in {"emma": "md5+salt", "finn": "sha224", "gina": "sha512"}.items():
        await frame.import_(name, form=form)
    await frame.hello.look()
    assert hello_forms(frame.said()) == [OldForm("md5", "salt"), OldForm("sha224")]


async def test_it_looks_again_after_the_store_was_away_and_after_a_fault(
    frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hello_module, "LOOK_SECONDS", 0)
    real, looked = frame.store.accounts.old_forms, asyncio.Event()
    errors: list[Exception] = [TryLater(), RuntimeError("a fault")]

    async def failing(at: datetime) -> list[str]:
        if errors:
            raise errors.pop(0)
        remain = await real(at)
        looked.set()
        return remain

    frame.store.accounts.old_forms = failing  # type: ignore[method-assign]
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
