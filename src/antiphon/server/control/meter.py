"""Meter of one process that serves: measures, four times a second, what its reports say."""

import asyncio
import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from antiphon.address import Address
from antiphon.data.certificate import Certificate
from antiphon.data.keyring import LiveKeyRing
from antiphon.data.store_note import store_of
from antiphon.observe.logfile import CONSOLE
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.control.live import ClosedSession, Live, LiveQuery, merged
from antiphon.server.control.look import SessionLook
from antiphon.server.control.report import Facts, ProcessReport, ServerReport, report_of
from antiphon.server.control.totals import Totals
from antiphon.server.home.process import HomeProcess
from antiphon.server.session.revocations import RevocationPoller
from antiphon.settings import ServerSettings
from antiphon.store.thread import calls
from antiphon.version import __version__
from antiphon.wire.times import counts_of

TICK_SECONDS = 0.25
WINDOW_SECONDS = 10.0
"""Time over which rates and lags are taken."""


class Described(Protocol):
    """The server, as its reports describe it."""

    settings: ServerSettings
    certificate: Certificate | None
    registration: bool
    data_path: Path
    log_path: Path

    @property
    def addresses(self) -> list[Address]:
        """See `Server`."""


class Meter:
    """Measures from `run` on."""

    def __init__(
        self,
        server: Described,
        ring: LiveKeyRing,
        host: ConnectionHost,
        home: HomeProcess,
        poller: RevocationPoller,
    ) -> None:
        """Measure what `host` has; `home` and `poller` know when the store answered last."""
        self._server = server
        self._ring = ring
        self._started_at = datetime.now(UTC)
        self._host = host
        self._home = home
        self._poller = poller
        self._loop = asyncio.get_running_loop()
        self._looks: deque[tuple[float, int, float]] = deque([(self._loop.time(), 0, 0.0)])
        """Loop time, messages until then, and the lag: one for each look, the oldest first."""
        self._sessions = SessionLook(host.channels, host.closings)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = self._loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            now = self._loop.time()
            self._looks.append((now, self._handled(), max(0.0, now - due)))
            while now - self._looks[0][0] > WINDOW_SECONDS:
                self._looks.popleft()

    def report(self) -> ProcessReport:
        """Return what is known now."""
        host, now = self._host, self._loop.time()
        began, before, _ = self._looks[0]
        messages = self._handled()
        return ProcessReport(
            pid=os.getpid(),
            connections=len(host.connections),
            sessions=len(host.channels),
            messages=messages,
            messages_per_s=round((messages - before) / max(now - began, TICK_SECONDS), 1),
            lag_s=round(max(lag for _, _, lag in self._looks), 4),
            store_age_s=round(self._home.store_age, 2),
            revocations_age_s=round(now - self._poller.read_at, 2),
            events=dict(host.log.events),
            log_lost=host.log.unwritten,
            facts=self._facts(),
            totals=self._totals(),
        )

    def _handled(self) -> int:
        """Return how many messages handlers have had since the start."""
        return sum(counts_of(self._host.handlers.times))

    def _totals(self) -> Totals:
        host = self._host
        host.count_bytes()
        return Totals(
            received_bytes=host.traffic.received,
            sent_bytes=host.traffic.sent,
            resumes={str(outcome): count for outcome, count in host.channels.resumes.items()},
            handled=counts_of(host.handlers.times),
            handler_seconds=round(host.handlers.times[-1], 6),
            store_calls=calls.count,
            store_seconds=round(calls.seconds, 6),
            log_dropped=host.log.dropped,
        )

    def report_alone(self) -> ServerReport:
        """Return the report of a server that has no other process."""
        return report_of(
            [self.report()],
            version=__version__,
            pid=os.getpid(),
            started_at=self._started_at,
            now=datetime.now(UTC),
            draining=self._host.stopping,
        )

    async def look(self, query: LiveQuery) -> Live:
        """Return who is connected to this process; see `SessionLook.answer`."""
        return await self._sessions.answer(query)

    def last_closed(self) -> list[ClosedSession]:
        """Return the sessions that have closed last, the newest first."""
        return self._sessions.last_closed()

    async def look_alone(self, query: LiveQuery) -> Live:
        """Return who is connected to a server that has no other process."""
        return merged([await self.look(query)], query, [])

    def _facts(self) -> Facts:
        server, certificate = self._server, self._server.certificate
        return Facts(
            addresses=[str(address) for address in server.addresses],
            access=server.settings.access,
            registration="open" if server.registration else "closed",
            data=str(server.data_path),
            store=store_of(server.settings),
            log=_place_of(server.log_path),
            fingerprint=certificate.fingerprint if certificate else None,
            valid_from=certificate.valid_from if certificate else None,
            expires_at=certificate.expires_at if certificate else None,
            key=self._ring.newest,
            node=server.settings.relay_address,
        )


def _place_of(log: Path) -> str:
    """Return where the log is, for somebody in another folder than the server's."""
    return str(log if str(log) in CONSOLE else log.absolute())
