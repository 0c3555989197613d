"""New keys while servers run (issue 3, part 5): no account is lost, no session ends, the old keys are gone."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from antiphon.data import rekey as rekey_module
from antiphon.data.credentials import seal
from antiphon.data.folder import DataFolder
from antiphon.data.rekey import rekey
from antiphon.errors import CredentialUnreadable, KeyRingUnusable, NameTaken, RekeyUnderWay, TryLater
from antiphon.identity.keys import KeyRing, key_number
from antiphon.identity.names import prepare
from antiphon.store.contracts import Accounts, Resealed
from antiphon.store.sql import SqlStore
from antiphon.wire.bodies import SCRAM_SHA_256, Authenticate, Body, Challenge, Error, Identified, Register, Welcome
from antiphon.wire.kinds import Kind
from support.key_rings import change_keys, enrol, in_store, lost, ring_of
from support.processes import PASSWORD
from support.raw import RawClient
from support.retried import retry_everything
from support.serving import PACE_SECONDS, Serving, credential, seed, serving, verifier

NAMES = [f"person{number}" for number in range(25)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten accounts at a time: three batches of the 25."""
    monkeypatch.setattr(rekey_module, "BATCH", 10)


def numbers(folder: Path) -> set[int]:
    """Return the numbers of the keys that seal accounts."""
    with closing(sqlite3.connect(folder / "accounts.db")) as database:
        return {key_number(data) for (data,) in database.execute("SELECT data FROM credentials")}


def register(server: Serving, name: str) -> Body:
    with server.client() as client:
        client.hello()
        return client.request(Kind.REGISTER, Register(name=name, credential=credential()))


def signs_in(server: Serving, name: str) -> bool:
    with server.client() as client:
        client.hello()
        return isinstance(client.authenticate(name, PASSWORD), Welcome)


# --- what it does -------------------------------------------------------------------------------------------


def test_everything_is_sealed_with_a_new_key_and_the_old_one_is_gone(data: Path, small_batches: None) -> None:
    enrol(data, NAMES)
    before = ring_of(data)
    assert change_keys(data) == (2, len(NAMES))
    after = ring_of(data)
    assert list(after.sealing_keys) == [2]
    assert (numbers(data), lost(data)) == ({2}, [])
    assert after.sealing_keys[2] != before.sealing_keys[1]
    assert (after.token_key, after.mock_key) == (before.token_key, before.mock_key)
    assert change_keys(data) == (3, len(NAMES))
    assert (numbers(data), lost(data)) == ({3}, [])


def test_a_transaction_that_is_tried_again_counts_no_account_twice(
    data: Path, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(data, NAMES)
    retry_everything(monkeypatch)
    assert change_keys(data) == (2, len(NAMES))
    assert (numbers(data), lost(data)) == ({2}, [])


def test_it_tells_how_far_it_is(data: Path, small_batches: None) -> None:
    enrol(data, NAMES)
    told: list[int] = []
    in_store(data, lambda store: rekey(DataFolder.open(data), store.accounts, os.urandom, told.append))
    assert told == [10, 20, 25, 25]


def test_what_one_pass_has_left_out_is_sealed_before_the_old_key_goes(data: Path) -> None:
    enrol(data, NAMES)

    async def work(store: SqlStore) -> None:
        await rekey(DataFolder.open(data), Hasty(store.accounts), os.urandom)  # type: ignore[arg-type]

    in_store(data, work)
    assert (numbers(data), lost(data)) == ({2}, [])


class Hasty:
    """Accounts whose first pass ends before it has begun."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._passes = 0

    async def reseal(self, renew: Callable[[int, bytes], bytes], after: int, most: int) -> Resealed:
        self._passes += not after
        return Resealed(None, 0) if self._passes == 1 else await self._accounts.reseal(renew, after, most)

    def __getattr__(self, name: str) -> object:
        return getattr(self._accounts, name)


def test_a_folder_without_accounts_gets_a_new_key_too(data: Path) -> None:
    DataFolder.open(data).key_ring(os.urandom)
    assert change_keys(data) == (2, 0)
    assert list(ring_of(data).sealing_keys) == [2]


def test_one_that_was_cut_short_is_finished_and_makes_no_further_key(data: Path) -> None:
    enrol(data, NAMES)
    DataFolder.open(data).change_key_ring(lambda ring: ring.with_new_key(os.urandom))
    enrol(data, ["late"])  # sealed with key 2
    assert change_keys(data) == (2, len(NAMES))
    assert list(ring_of(data).sealing_keys) == [2]
    assert lost(data) == []


def test_a_second_one_at_the_same_time_is_refused_and_changes_nothing(data: Path) -> None:
    enrol(data, ["ann"])
    with FileLock(data / "rekey.lock"), pytest.raises(RekeyUnderWay):
        change_keys(data)
    assert list(ring_of(data).sealing_keys) == [1]
    assert change_keys(data) == (2, 1)


# --- while servers run --------------------------------------------------------------------------------------


def test_who_registers_at_two_servers_meanwhile_is_not_lost(data: Path, small_batches: None) -> None:
    enrol(data, NAMES)
    registered: list[str] = []
    stop = threading.Event()

    def keep_registering(client: RawClient, prefix: str) -> None:
        with client:
            client.hello()
            while not stop.wait(PACE_SECONDS):
                name = f"{prefix}{len(registered)}"
                body = client.request(Kind.REGISTER, Register(name=name, credential=credential()))
                assert body == Identified(name=name, free=False), body
                registered.append(name)

    options: dict[str, Any] = {"plain": True, "registrations_source": 10**6, "registrations_most": 10**6}
    with serving(data, **options) as one, serving(data, **options) as other:
        threads = [
            threading.Thread(target=keep_registering, args=(server.client(), prefix))
            for server, prefix in ((one, "one"), (other, "other"))
        ]
        for thread in threads:
            thread.start()
        counts = []
        try:
            for _ in range(4):
                change_keys(data)
                counts.append(len(registered))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert counts[0] < counts[-1]
        assert signs_in(one, registered[-1])
        assert signs_in(other, registered[-1])
    assert list(ring_of(data).sealing_keys) == [5]
    assert lost(data) == []


def test_no_session_ends_and_everybody_signs_in_without_a_restart(data: Path) -> None:
    tokens = seed(data, "ann", 2)
    with serving(data, plain=True) as server, server.session(tokens[0]) as client:
        change_keys(data)
        change_keys(data)
        assert client.ask("still here") == "still here"
        with server.session(tokens[1]) as resumed:
            assert resumed.ask("so am I") == "so am I"
        assert signs_in(server, "ann")
        assert register(server, "new") == Identified(name="new", free=False)
        assert signs_in(server, "new")
    with serving(data, plain=True) as server:
        assert signs_in(server, "new")
        with server.session(tokens[0]) as client:
            assert client.ask("and after a restart") == "and after a restart"


def test_a_name_that_nobody_has_gets_the_same_salt_afterwards(data: Path) -> None:
    enrol(data, ["ann"])
    with serving(data, plain=True) as server:
        before = salt(server, "nobody")
        change_keys(data)
        assert salt(server, "nobody") == before
    with serving(data, plain=True) as server:
        assert salt(server, "nobody") == before


def salt(server: Serving, name: str) -> bytes:
    with server.client() as client:
        client.hello()
        first = Authenticate(mechanism="SCRAM-SHA-256", data=f"n,,n={name},r=bm9uY2Ugb2YgdGhlIHRlc3Q=".encode())
        challenge = client.request(Kind.AUTHENTICATE, first)
        assert isinstance(challenge, Challenge)
        return challenge.data.partition(b",")[2]


def test_what_was_being_sealed_when_the_ring_changed_is_waited_for(data: Path) -> None:
    """Somebody seals with the old key, and keeps it only after the new one is there."""
    DataFolder.open(data).key_ring(os.urandom)
    sealing, changed = threading.Event(), threading.Event()

    def slow(number: int, key: str | None) -> bytes:
        sealed = seal(DataFolder.open(data).key_ring(os.urandom), verifier(), number, key, os.urandom)
        sealing.set()
        changed.wait(1)
        return sealed

    async def writer(store: SqlStore) -> None:
        await store.accounts.register(prepare("slow"), slow, SCRAM_SHA_256, datetime.now(UTC), "test")

    thread = threading.Thread(target=in_store, args=(data, writer))

    async def change(store: SqlStore) -> None:
        thread.start()
        await asyncio.to_thread(sealing.wait)
        await rekey(DataFolder.open(data), Noting(store.accounts, changed), os.urandom)  # type: ignore[arg-type]

    in_store(data, change)
    thread.join()
    assert lost(data) == []
    assert numbers(data) == {2}


class Noting:
    """Accounts that say when they are about to be sealed again: the new key is there."""

    def __init__(self, accounts: object, changed: threading.Event) -> None:
        self._accounts = accounts
        self._changed = changed

    def __getattr__(self, name: str) -> object:
        if name == "reseal":
            self._changed.set()
        return getattr(self._accounts, name)


def test_a_password_is_sealed_inside_the_transaction_that_keeps_it(data: Path) -> None:
    enrol(data, ["ann"])
    seen: list[str] = []

    def sealing(number: int, _: str | None = None) -> bytes:
        with closing(sqlite3.connect(data / "accounts.db", timeout=0)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                seen.append(str(error))
        return b"sealed"

    async def work(store: SqlStore) -> None:
        await store.accounts.replace_credential(1, SCRAM_SHA_256, sealing)
        await store.accounts.register(prepare("bob"), sealing, SCRAM_SHA_256, datetime.now(UTC), "test")
        await store.accounts.reseal(lambda number, _: sealing(number), 0, 10)

    in_store(data, work)
    assert seen == ["database is locked"] * 4


# --- a ring that does not fit -------------------------------------------------------------------------------


def lose_a_key(folder: Path) -> None:
    """Put the backup back that was made before the keys were changed."""
    before = (folder / "secret.key").read_bytes()
    change_keys(folder)
    (folder / "secret.key").write_bytes(before)


def take_anothers(folder: Path) -> None:
    (folder / "secret.key").write_bytes(KeyRing.generate(os.urandom).dump())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lose_a_key, "lacks key 2, which accounts beside it were sealed with"),
        (take_anothers, "another folder's"),
        (lambda folder: (folder / "secret.key").unlink(), "missing"),
    ],
)
def test_a_ring_that_does_not_fit_the_accounts_stops_the_start_and_a_change(
    data: Path, spoil: Callable[[Path], None], said: str
) -> None:
    enrol(data, NAMES)
    spoil(data)
    before = {path.name: path.read_bytes() for path in data.glob("secret.key")}
    with pytest.raises(KeyRingUnusable, match=said), serving(data, plain=True):
        pass
    with pytest.raises(KeyRingUnusable, match=said):
        change_keys(data)
    assert {path.name: path.read_bytes() for path in data.glob("secret.key")} == before
    last = (data / "server.log").read_text("utf-8").splitlines()[-2]
    assert "not-started" in last
    assert said in last


def spoil_one(folder: Path, account_id: int) -> None:
    with closing(sqlite3.connect(folder / "accounts.db")) as database, database:
        database.execute(
            "UPDATE credentials SET data = CAST(substr(data, 1, 40) || '!' AS BLOB) WHERE account_id = ?",
            (account_id,),
        )


def test_one_damaged_account_keeps_nobody_else_out_and_is_named(data: Path, small_batches: None) -> None:
    enrol(data, NAMES)
    spoil_one(data, 1)
    with serving(data, plain=True) as server:
        assert signs_in(server, NAMES[-1])
    with pytest.raises(CredentialUnreadable) as raised:
        change_keys(data)
    assert raised.value.fields["name"] == NAMES[0]
    assert lost(data) == [NAMES[0]]
    in_store(data, lambda store: store.accounts.remove(1))
    assert change_keys(data).number == 2
    assert (numbers(data), lost(data)) == ({2}, [])


def test_a_server_whose_ring_gets_lost_signs_people_in_says_so_and_takes_nobody_new(data: Path) -> None:
    enrol(data, ["ann"])
    with serving(data, plain=True) as server:
        ring = (data / "secret.key").read_bytes()
        (data / "secret.key").unlink()
        assert signs_in(server, "ann")
        refused = register(server, "new")
        assert isinstance(refused, Error)
        assert refused.code == "try-later"
        assert "secret.key" not in refused.text + refused.hint
        server.read(lambda server: server._upkeep.follow_keys())
        (data / "secret.key").write_bytes(ring)
        (data / "secret.key").chmod(0o600)
        server.read(lambda server: server._upkeep.follow_keys())
        assert register(server, "new") == Identified(name="new", free=False)
        log = server.server.log_path
    told = [line for line in log.read_text("utf-8").splitlines() if "secret.key" in line]
    assert [line.split()[2] for line in told] == ["sign-in-failed", "key-ring-unread"]
    assert all("it is missing" in line for line in told)


def test_a_store_that_cannot_go_on_leaves_every_account_in_its_place(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rekey_module, "PATIENCE_SECONDS", 0)
    enrol(data, NAMES)
    with closing(sqlite3.connect(data / "accounts.db")) as frozen:
        frozen.execute("BEGIN IMMEDIATE")
        with pytest.raises(TryLater):
            change_keys(data)
    assert lost(data) == []
    with pytest.raises(NameTaken):
        enrol(data, NAMES[:1])
    assert change_keys(data) == (2, len(NAMES))
