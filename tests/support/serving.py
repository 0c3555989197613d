"""Servers in a thread of this process, data folders with accounts and sessions, and an honest client.

For tests that need their own handler or store; `processes.py` has real server processes.
"""

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from antiphon.address import Address
from antiphon.data.folder import DataFolder
from antiphon.data.keyring import LiveKeyRing
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, Verifier, make_verifier
from antiphon.identity.throttle import name_mark
from antiphon.identity.tokens import TOKEN_SIZE, Token, fingerprint
from antiphon.server.auth.throttle import Throttle
from antiphon.server.listen.limits import SourceFailures
from antiphon.server.server import Server
from antiphon.services import Handler, echo
from antiphon.settings import ServerSettings
from antiphon.store.contracts import Account, NewAccount, SessionRecord
from antiphon.store.opening import open_store
from antiphon.store.sql import open_sqlite
from antiphon.wire.bodies import SCRAM_SHA_256, Credential, Welcome
from support.processes import PASSWORD
from support.raw import RawClient

ATTACKER = "127.0.0.2"
"""The attacker's address: another source than the honest client's for the admission limits."""
PACE_SECONDS = 0.005
"""Seconds between two messages of the honest client, so that it uses little processor time."""
PATIENCE_SECONDS = 60.0
"""Longest wait for what a server does, on a busy machine."""
READ = "log-read"
"""A record that tests add to the log, to know that all records before it are written."""

Result = TypeVar("Result")


@cache
def verifier() -> Verifier:
    """Return the verifier of `PASSWORD`; it is hashed only once, which takes a fifth of a second."""
    return make_verifier(Password(PASSWORD), bytes(SALT_SIZE), ITERATIONS)


def credential() -> Credential:
    """Return a client's registration of `PASSWORD`, made without hashing."""
    kept = verifier()
    return Credential(
        salt=kept.salt, iterations=kept.iterations, stored_key=kept.stored_key, server_key=kept.server_key
    )


def seed(
    folder: Path,
    name: str = "ann",
    sessions: int = 1,
    *,
    age: float = 0,
    store: str = "sqlite",
    must_change: bool = False,
) -> list[bytes]:
    """Add an account with the password `PASSWORD` to a data folder; return the tokens of its sessions.

    The sessions were opened and last held `age` seconds ago.
    """
    seeding = _seed(folder, name, sessions, timedelta(seconds=age), store, must_change=must_change)
    return asyncio.run(seeding)


async def _seed(
    folder: Path, name: str, sessions: int, age: timedelta, kept_in: str, *, must_change: bool
) -> list[bytes]:
    data = DataFolder.open(folder)
    ring = data.key_ring(secrets.token_bytes)
    store = await open_store(kept_in, data.path)
    now = datetime.now(UTC) - age
    tokens = [secrets.token_bytes(TOKEN_SIZE) for _ in range(sessions)]
    try:
        new = NewAccount(
            name=prepare(name),
            seal=lambda number, _: sealed(ring, number),
            credential_type=SCRAM_SHA_256,
            must_change=must_change,
        )
        (account,) = await store.accounts.add([new], now, "test")
        for token in tokens:
            await store.sessions.open(record_of(token, ring, account, now), sessions)
    finally:
        await store.close()
    return tokens


def fail(folder: Path, name: str, times: int, host: str = ATTACKER, *, ago: float = 0) -> datetime:
    """Record `times` failed sign-ins under a name; return the time of the last one, `ago` seconds ago."""
    last = datetime.now(UTC) - timedelta(seconds=ago)
    asyncio.run(_fail(folder, name, times, host, last))
    return last


async def _fail(folder: Path, name: str, times: int, host: str, last: datetime) -> None:
    data = DataFolder.open(folder)
    store = await open_sqlite(data.path)
    moments = (last - timedelta(hours=number) for number in reversed(range(times)))  # an hour is never too early
    key = data.key_ring(secrets.token_bytes).mock_key
    throttle = Throttle(store.failures, key, lambda: next(moments), SourceFailures())
    try:
        for _ in range(times):
            await throttle.attempt(throttle.marks(prepare(name).key, host), host)
    finally:
        await store.close()


def forgive(folder: Path, name: str) -> None:
    """Forget the failed sign-ins under a name, as an operator does."""
    asyncio.run(_forgive(folder, name))


async def _forgive(folder: Path, name: str) -> None:
    data = DataFolder.open(folder)
    store = await open_sqlite(data.path)
    await store.failures.forgive(name_mark(prepare(name).key, data.key_ring(secrets.token_bytes).mock_key))
    await store.close()


def sealed(ring: LiveKeyRing, number: int) -> bytes:
    """Return the sealed credential of `PASSWORD` for the account with this number."""
    return ring.seal(verifier().encode(), number.to_bytes(8, "big"), secrets.token_bytes(12))


def record_of(token: bytes, ring: LiveKeyRing, account: Account, at: datetime) -> SessionRecord:
    """Return the record of a session that was opened at a time."""
    return SessionRecord(
        fingerprint=fingerprint(Token(token), ring.token_key),
        account_id=account.id,
        name=account.display,
        epoch=account.epoch,
        opened_at=at,
        expires_at=at + timedelta(days=1),
        seen_at=at,
        owner=None,
        address="test",
    )


def await_record(path: Path, mark: str) -> None:
    """Wait until the record with this mark is written: a separate thread writes the log."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while mark not in path.read_text("utf-8"):
        assert time.monotonic() < ends
        time.sleep(PACE_SECONDS)


def records_in(path: Path) -> str:
    """Return a log without the records of `await_record`."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if f" {READ} " not in line)


class Serving:
    """A server that runs in its own thread."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        """Control `server`, which runs in `loop`."""
        self.server = server
        self._loop = loop
        self._stopped: asyncio.Event
        self._running = True

    @property
    def address(self) -> Address:
        """The server's address."""
        return self.server.addresses[0]

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` in the server's event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    def read(self, look: Callable[[Server], Result]) -> Result:
        """Call `look` in the server's event loop and return its result."""

        async def work() -> Result:
            return look(self.server)

        return self.call(work())

    def log(self) -> str:
        """Return the log with all records of the server so far."""
        if self._running:
            mark = secrets.token_hex(8)
            self.read(lambda server: server._host.log.error(READ, mark=mark))
            await_record(self.server.log_path, mark)
        return records_in(self.server.log_path)

    def records(self, event: str) -> list[str]:
        """Return the records of `event` in the log so far."""
        return [line for line in self.log().splitlines() if f" {event} " in f"{line} "]

    def client(self, source: str = "") -> RawClient:
        """Return a new connection to the server."""
        return RawClient(self.address, source=source)

    def session(self, token: bytes, source: str = "") -> RawClient:
        """Return a new connection with the session of `token` resumed."""
        return in_session(self.address, token, source)


@contextlib.contextmanager
def serving(folder: Path, handler: Handler = echo, **options: Any) -> Iterator[Serving]:
    """Run a server of `handler` on any free port of 127.0.0.1; the end of the block drains it.

    `options` are those of `ServerSettings`.
    """
    defaults: dict[str, Any] = {"data": folder, "port": 0, "host": "127.0.0.1", "drain_seconds": 2}
    settings = ServerSettings(**defaults | options)
    started: list[Serving] = []
    failed: list[BaseException] = []
    ready = threading.Event()

    async def main() -> None:
        async with Server(handler, settings) as server:
            serving = Serving(server, asyncio.get_running_loop())
            serving._stopped = asyncio.Event()
            started.append(serving)
            ready.set()
            await serving._stopped.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        if started:
            yield started[0]
    finally:
        if started:
            started[0]._loop.call_soon_threadsafe(started[0]._stopped.set)
        thread.join()
        if started:
            started[0]._running = False
    if failed:
        raise failed[0]


def in_session(address: Address, token: bytes, source: str = "", timeout: float = PATIENCE_SECONDS) -> RawClient:
    """Return a connection to `address` that has resumed the session of `token`."""
    client = RawClient(address, timeout, source)
    try:
        client.hello()
        welcome = client.resume(token)
        assert isinstance(welcome, Welcome), welcome
    except BaseException:
        client.sock.close()
        raise
    return client


class Honest:
    """A client in session that sends messages all the time while an attack goes on.

    Leaving the block checks that it was not disturbed: every message was answered correctly and in time, on one
    connection, and still is.
    """

    def __init__(self, address: Address, token: bytes) -> None:
        """Resume the session of `token`."""
        self._client = in_session(address, token)
        self._client.sock.settimeout(PATIENCE_SECONDS)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self.asked = 0
        self.longest = 0.0
        """Time of the slowest answer in seconds."""

    def __enter__(self) -> Self:
        self._ask()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        try:
            if error is None:
                assert self._error is None, f"the honest client was disturbed: {self._error!r}"
                self._ask()
                self._client.leave()
        finally:
            self._client.sock.close()

    def _run(self) -> None:
        try:
            while not self._stop.wait(PACE_SECONDS):
                self._ask()
        except BaseException as error:  # noqa: BLE001 - shown in the test's thread
            self._error = error

    def _ask(self) -> None:
        question = f"question {self.asked}"
        asked_at = time.monotonic()
        assert self._client.ask(question) == question
        self.longest = max(self.longest, time.monotonic() - asked_at)
        self.asked += 1
