"""Two nodes on one database, and those who talk to them, while something happens to the database."""

import asyncio
import contextlib
import json
import secrets
import shutil
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from antiphon.cli.control import RunningServer
from antiphon.data.folder import KEY_RING_FILE, DataFolder
from antiphon.identity.names import prepare
from antiphon.identity.tokens import TOKEN_SIZE, Token, fingerprint
from antiphon.store.contracts import NewAccount, SessionRecord, Store
from antiphon.store.opening import open_store
from antiphon.wire.bodies import SCRAM_SHA_256
from faults.clients import IN, Attempt, Comers, Talker, Way
from faults.cluster import Cluster
from faults.proxy import DatabaseNetwork
from faults.rules import STEP_SECONDS, WELL_SECONDS, Seen
from support import clock_off
from support.nodes import PORTS
from support.processes import ANTIPHON, ServerProcess
from support.serving import sealed

SERVICE = Path(__file__).with_name("service.py")
HOUR = 3600
RELAYED = 5
"""One talker of so many has the home of its session at the other node."""
NAMES = 10
"""For those who come in with a password."""
SETTLED = 4
"""Tries of each way that succeed one after the other at each node: then all threads have had their turn."""
PAUSES: dict[Way, float] = {"right": 0.15, "valid": 0.15, "wrong": 2.0, "revoked": 0.5}
LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Fault:
    """Something that happens to the database, or to the way there."""

    name: str
    begin: Callable[["World"], Awaitable[object]]
    end: Callable[["World"], Awaitable[object]]
    reachable: bool = False
    """Whether an operator reaches the database meanwhile, to revoke sessions; else it is done just before."""
    seconds: float = 6.0


class World:
    """The nodes and the clients. All methods belong to one event loop."""

    def __init__(self, folder: Path, cluster: Cluster, *, talkers: int, nodes: bool, slack: float = 0.0) -> None:
        """Prepare; call `begin` next.

        Args:
            folder: for the data folders and the logs.
            cluster: the database.
            talkers: how many talk all the time.
            nodes: whether each server has a data folder of its own, and a clock an hour ahead of the one before.
            slack: seconds that the machine may add to each time.
        """
        self.cluster = cluster
        self.networks = [DatabaseNetwork(cluster.port) for _ in range(2)]
        self.servers: list[ServerProcess] = []
        self.talkers: list[Talker] = []
        self.comers: list[Comers] = []
        self.homes: dict[bytes, tuple[str, int]] = {}
        """Home and claim of each talker's session at the beginning, by its fingerprint."""
        self._folder = folder
        self._many = talkers
        self._nodes = nodes
        self._slack = slack
        self._all: list[Talker] = []
        self._victims: list[tuple[Talker, bytes]] = []
        self._store: Store
        self._ring: Any

    # --- beginning and end --------------------------------------------------------------------------------------

    async def begin(self, faults: int) -> None:
        """Make the accounts, start the servers, and let everybody talk; so many faults will happen."""
        data = DataFolder.open(self._data(0))
        self._ring = data.key_ring(secrets.token_bytes)
        self._store = await open_store(self.cluster.direct, data.path)
        talking = [f"s{number}" for number in range(self._many + 2 * faults)]
        named: dict[Way, list[str]] = {
            "right": [f"right{number}" for number in range(NAMES)],
            "wrong": [f"wrong{number}" for number in range(NAMES)],
        }
        tokens = await self._add([*talking, "valid0", "valid1", "revoked", *named["right"], *named["wrong"]])
        for number, network in enumerate(self.networks):
            await network.open()
            self.servers.append(await asyncio.to_thread(self._start, number))
        await self._store.sessions.revoke(self._mark(tokens["revoked"]), "revoked", datetime.now(UTC))
        for number, name in enumerate(talking):
            await self._enter(number, name, tokens[name])
        for number, server in enumerate(self.servers):
            held: dict[Way, bytes] = {"valid": tokens[f"valid{number}"], "revoked": tokens["revoked"]}
            self.comers.append(Comers(number, server.address, named, held))
        self.homes = await self.claims()

    async def _enter(self, number: int, name: str, token: bytes) -> None:
        talker = Talker(name)
        self._all.append(talker)
        here, there = (self.servers[(number + step) % 2].address for step in range(2))
        if number >= self._many:
            self._victims.append((talker, token))
            await talker.enter(here, token)
            return
        self.talkers.append(talker)
        if self._is_relayed(number):
            await talker.enter_by(here, there, token)
        else:
            await talker.enter(here, token)

    @staticmethod
    def _is_relayed(number: int) -> bool:
        return number % RELAYED == 0

    def _data(self, number: int) -> Path:
        return self._folder / f"data{number if self._nodes else 0}"

    def _start(self, number: int) -> ServerProcess:
        data = self._data(number)
        options = ["--store", self.cluster.by(self.networks[number].port), "--plain", "--host", "127.0.0.1"]
        options += ["--log", str(self._folder / f"{number}.log")]
        if not self._nodes:
            return ServerProcess(data, f"{SERVICE}:ROOM", *options, PGPASSWORD="correct")
        if number:
            data.mkdir(0o700)
            shutil.copy(self._data(0) / KEY_RING_FILE, data)
        program = (clock_off.__file__, str(HOUR * number)) if number else (ANTIPHON,)
        options += ["--relay-address", PORTS]
        return ServerProcess(data, f"{SERVICE}:ROOM", *options, program=program, PGPASSWORD="correct")

    async def _add(self, names: list[str]) -> dict[str, bytes]:
        """Add accounts, and return the token of a session of each."""
        new = [
            NewAccount(
                name=prepare(name),
                seal=lambda number, _: sealed(self._ring, number),
                credential_type=SCRAM_SHA_256,
            )
            for name in names
        ]
        now = datetime.now(UTC)
        tokens = {}
        for account in await self._store.accounts.add(new, now, "test"):
            token = tokens[account.display] = secrets.token_bytes(TOKEN_SIZE)
            record = SessionRecord(
                fingerprint=self._mark(token), account_id=account.id, name=account.display, epoch=account.epoch,
                opened_at=now, expires_at=now + timedelta(days=1), seen_at=now, owner=None, address="test",
            )  # fmt: skip
            await self._store.sessions.open(record, 10)
        return tokens

    def _mark(self, token: bytes) -> bytes:
        return fingerprint(Token(token), self._ring.token_key)

    async def close(self) -> None:
        """End everything, whatever has happened."""
        for comers in self.comers:
            await comers.close()
        for talker in self._all:
            await talker.close()
        for server in self.servers:
            server.signal(signal.SIGCONT)
            await asyncio.to_thread(server.kill)
        for network in self.networks:
            await network.close()
        with contextlib.suppress(AttributeError):
            await self._store.close()

    # --- one fault ----------------------------------------------------------------------------------------------

    async def suffer(self, fault: Fault) -> Seen:
        """Let a fault happen and pass; return what was seen."""
        for comers in self.comers:  # all is well
            for way in ("right", "valid"):
                attempt = await comers.come(way, "right0")
                assert attempt.outcome == IN, attempt.shown
            comers.attempts.clear()
            comers.begin(PAUSES)
        for talker in self.talkers:
            talker.longest = 0.0
        await self._lags()
        seen = Seen(fault.name, self.said, self._slack)
        victims = [self._victims.pop() for _ in range(2)]
        if not fault.reachable:
            await self._revoke(victims)
        seen.began = time.monotonic()
        await fault.begin(self)
        await asyncio.sleep(fault.seconds / 2)
        if fault.reachable:
            await self._revoke(victims)
        await asyncio.sleep(fault.seconds / 2)
        await fault.end(self)
        seen.back = time.monotonic()
        seen.well = await self._well(seen.back)
        seen.applied = await self._applied(victims, seen.back)
        seen.problems = await self._problems(seen.back)
        for comers in self.comers:
            await comers.close()
        seen.attempts = self._attempts()
        seen.said = self.said - seen.said
        seen.lags = await self._lags()
        claims = await self.claims()
        seen.claimed = sum(mark in claims and claims[mark] != home for mark, home in self.homes.items())
        seen.logs = [line for server in self.servers for line in server.log.splitlines()]
        seen.judge(self.talkers)
        return seen

    @property
    def said(self) -> int:
        """How many messages were sent so far."""
        return sum(talker.said for talker in self.talkers)

    async def claims(self) -> dict[bytes, tuple[str, int]]:
        """Return home and claim of each session of a talker that is there, by its fingerprint."""
        talking = {talker.name for talker in self.talkers}
        records = await self._store.sessions.all()
        return {each.fingerprint: (each.home or "", each.claim) for each in records if each.name in talking}

    async def _revoke(self, victims: list[tuple[Talker, bytes]]) -> None:
        for _, token in victims:
            assert await self._store.sessions.revoke(self._mark(token), "revoked", datetime.now(UTC))

    def _attempts(self) -> list[Attempt]:
        """Return the attempts that have ended."""
        return [each for comers in self.comers for each in comers.attempts if each.ended]

    async def _well(self, back: float) -> float | None:
        """Wait until everybody comes in; return since when, in seconds from the return. None: nobody does."""
        while time.monotonic() < back + WELL_SECONDS + STEP_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            later = [each for each in self._attempts() if each.began > back and each.way in ("right", "valid")]
            failed = max((each.began for each in later if each.outcome != IN), default=back)
            fine = Counter((each.node, each.way) for each in later if each.began > failed)
            if len(fine) == 4 and min(fine.values()) >= SETTLED:  # each of two ways at each of two nodes
                return failed - back
        return None

    async def _applied(self, victims: list[tuple[Talker, bytes]], back: float) -> float | None:
        """Wait until the victims are cut; return when the last was, in seconds from the return. None: never."""
        while True:
            ends = [talker.ended_at for talker, _ in victims if talker.ended_at is not None]
            if len(ends) == len(victims):
                return max(ends) - back
            if time.monotonic() > back + WELL_SECONDS:
                return None
            await asyncio.sleep(LOOK_SECONDS)

    async def _problems(self, back: float) -> list[str]:
        """Return what the servers say is wrong with them, once nothing is or the time is over."""
        while True:
            problems: list[str] = []
            for number, server in enumerate(self.servers):
                asked = RunningServer(self._data(number), server.process.pid)
                answer = await asyncio.to_thread(asked.ask, "status")
                assert answer.report is not None
                problems += answer.report.problems
            if not problems or time.monotonic() > back + WELL_SECONDS:
                return problems
            await asyncio.sleep(0.1)

    async def _lags(self) -> list[tuple[float, float]]:
        """Return the lag of each server's loop since the last call, and what of it the machine has not made."""
        lags = []
        for node in range(2):
            numbers = range(node, len(self.talkers), 2)
            talker = next(self.talkers[number] for number in numbers if not self._is_relayed(number))
            lag, excess = json.loads(str(await talker.session.ask("lag")))
            lags.append((lag, excess))
        return lags
