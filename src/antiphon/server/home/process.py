"""Home process: one server process among those of its store, each of which is the home of sessions.

It has a row in the store while it serves, and a counter there that its heartbeat advances. A process without a row
is dead: others may claim its sessions.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from antiphon.data.folder import KEY_RING_FILE
from antiphon.errors import AntiphonError, KeyRingUnusable, Problem, TryLater
from antiphon.language import N_
from antiphon.observe.log import ServerLog
from antiphon.server.home.fence import Fence
from antiphon.server.home.heartbeat import Heartbeat
from antiphon.server.home.watch import DEAD_SECONDS, ProcessWatch
from antiphon.server.nodes.dialer import is_reached
from antiphon.server.nodes.listener import NodePlace
from antiphon.server.relay import address
from antiphon.server.relay.link import RELAY_VERSION
from antiphon.server.tasks import BackgroundTasks
from antiphon.store.contracts import Processes, ProcessRecord

_LACKS_KEY = Problem(N_("it lacks the key that seals the accounts of the database now"))
AGAIN_SECONDS = 0.25
"""Pause before the claims are read again, if the store did not answer."""


class HomeProcess:
    """The process of one server, from its start to its end."""

    def __init__(
        self,
        processes: Processes,
        fence: Fence,
        log: ServerLog,
        tasks: BackgroundTasks,
        *,
        service: str,
        limits: str,
        place: str,
        random: Callable[[int], bytes],
        clock: Callable[[], datetime],
        keys: Callable[[], str] = lambda: "",
    ) -> None:
        """Prepare; `start` makes it known.

        Args:
            processes: the processes of the store.
            fence: the fence of this process.
            log: where a process that is found dead is written.
            tasks: where the claims are read again.
            service: what answers here; processes with another one do not relay to this one.
            limits: the limits that clients are told, likewise.
            place: whose Unix sockets it reaches (`place.place_here`).
            random: returns random bytes, for the id.
            clock: wall time in UTC.
            keys: returns the marks of the sealing keys in its key ring; called in several threads.
        """
        self.id = random(8).hex()
        """The name of this process in the store."""
        self._processes = processes
        self._fence = fence
        self._log = log
        self._tasks = tasks
        self._service = service
        self._limits = limits
        self._place = place
        self._clock = clock
        self._keys = keys
        self.watch = ProcessWatch()
        self._heartbeat: Heartbeat | None = None
        self._record: ProcessRecord
        self._read_claims: Callable[[], Awaitable[None]]
        self._go_on: Callable[[], None]

    # --- its own life -----------------------------------------------------------------------------------------

    async def start(
        self,
        relay_address: str,
        read_claims: Callable[[], Awaitable[None]],
        go_on: Callable[[], None],
        node: NodePlace | None = None,
    ) -> None:
        """Enter the store, and show that this process lives.

        Args:
            relay_address: path of the socket that takes relays.
            read_claims: takes from this process the sessions that others have claimed.
            go_on: handles what has waited behind the fence.
            node: where it takes relays of other nodes.

        Raises:
            KeyRingUnusable: its key ring lacks the key that seals now.
            TryLater: the store does not answer.
        """
        self._record = ProcessRecord(
            id=self.id,
            pid=os.getpid(),
            started_at=self._clock(),
            beat=0,
            relay_address=relay_address,
            relay_version=RELAY_VERSION,
            service=self._service,
            limits=self._limits,
            place=self._place,
            node_address=node.address if node is not None else "",
            certificate=node.certificate.digest.hex() if node is not None else "",
            keys=self._keys(),
        )
        self._read_claims = read_claims
        self._go_on = go_on
        await self._enter(self._record)
        await self._sweep()
        self._fence.join(self._recover)
        self._heartbeat = Heartbeat(self._processes.pulse(self._keys), self.id, self.watch, self._fence, self._log)
        self._heartbeat.start()

    @property
    def store_age(self) -> float:
        """Seconds since the store has taken a heartbeat last; 0 if there are none yet, or no more."""
        return time.monotonic() - self._heartbeat.answered_at if self._heartbeat is not None else 0.0

    async def stop(self) -> None:
        """Leave the store. May be called again."""
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is None:
            return
        self._fence.leave(self._recover)
        await asyncio.to_thread(heartbeat.stop)
        try:
            await self._processes.remove(self.id)
        except TryLater as error:  # its counter stands still from now on
            self._log.exception("store-failed", code=error.code)

    def _recover(self) -> None:
        """Begin to recover: this process has not run for a while, or others have taken it for dead."""
        self._log.warning("fenced")
        self._tasks.start(self._recovered())

    async def _enter(self, record: ProcessRecord) -> None:
        if not await self._processes.enter(record):
            raise KeyRingUnusable(path=KEY_RING_FILE, problem=_LACKS_KEY)

    async def _recovered(self) -> None:
        told = False
        while self._heartbeat is not None:
            closings = self._fence.closings
            # Whoever has seen the counter stand still compares it before the row is removed: so it moves before
            # the claims are read, and from then on nobody claims a session of this process.
            beat = (self.watch.counter(self.id) or 0) + 1
            try:
                await self._enter(replace(self._record, beat=beat, keys=await asyncio.to_thread(self._keys)))
                await self._read_claims()
            except AntiphonError as error:
                if isinstance(error, KeyRingUnusable) and not told:
                    told = True
                    self._log.error("key-ring-unread", why=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if self._fence.recovered(self._recover, closings):
                self._log.info("unfenced")
                self._fence.wait(self._go_on)
                return

    # --- the others -------------------------------------------------------------------------------------------

    async def find(self, id: str) -> ProcessRecord | None:
        """See `Homes`."""
        return await self._processes.find(id)

    def understands(self, other: ProcessRecord) -> bool:
        """See `Reachable`."""
        return (other.relay_version, other.service, other.limits) == (RELAY_VERSION, self._service, self._limits)

    def is_here(self, other: ProcessRecord) -> bool:
        """See `Reachable`."""
        return not other.node_address or other.place == self._place

    async def refused(self, other: ProcessRecord) -> None:
        """See `Reachable`."""
        await self._bury(other.id, other.beat)
        address.remove(Path(other.relay_address))  # only here: one that was merely silent may wake and need it

    def still_for(self, other: ProcessRecord) -> float:
        """See `Reachable`."""
        return self.watch.still_for(other.id, time.monotonic())

    def sees(self, id: str) -> bool:
        """Return whether another process, which has a row, lives as far as this one has seen its counter."""
        return self.watch.still_for(id, time.monotonic()) < DEAD_SECONDS

    async def silent(self, other: ProcessRecord) -> None:
        """See `Reachable`."""
        counter = self.watch.stands_at(other.id, time.monotonic())
        if counter is None:
            raise TryLater(wait=1)
        await self._bury(other.id, counter)

    async def _bury(self, id: str, counter: int) -> None:
        record = await self._processes.find(id)
        if record is None:
            return
        if not await self._processes.remove(id, counter):
            raise TryLater(wait=1)
        self._log.warning("process-dead", process=id, pid=record.pid)

    async def tidy(self) -> None:
        """Remove processes that were killed and left nothing that anybody asks for."""
        for other in await self._processes.all():
            if other.id == self.id or self.still_for(other) < DEAD_SECONDS:
                continue
            with contextlib.suppress(TryLater):
                if not self.is_here(other):
                    if not await is_reached(other.node_address):
                        await self.silent(other)
                elif address.is_refused(other.relay_address):
                    await self.refused(other)
        await self._sweep()

    async def _sweep(self) -> None:
        """Remove sockets of this folder whose processes those of other nodes have found dead."""
        folder = Path(self._record.relay_address).parent
        if folder.name == address.FOLDER:
            address.sweep(folder, {each.id for each in await self._processes.all()})
