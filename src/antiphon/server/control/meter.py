"""Meter of one process that serves: measures, four times a second, what its reports say."""

import asyncio
import os
from collections import deque
from collections.abc import Callable

from antiphon.server.connection.host import ConnectionHost
from antiphon.server.control.report import Facts, ProcessReport
from antiphon.server.home.process import HomeProcess
from antiphon.server.session.revocations import RevocationPoller

TICK_SECONDS = 0.25
WINDOW_SECONDS = 10.0
"""Time over which rates and lags are taken."""


class Meter:
    """Measures from `run` on."""

    def __init__(
        self, host: ConnectionHost, home: HomeProcess, poller: RevocationPoller, facts: Callable[[], Facts]
    ) -> None:
        """Measure what `host` has; `home` and `poller` know when the store answered last."""
        self._host = host
        self._home = home
        self._poller = poller
        self._facts = facts
        self._loop = asyncio.get_running_loop()
        self._looks: deque[tuple[float, int, float]] = deque([(self._loop.time(), 0, 0.0)])
        """Loop time, messages until then, and the lag: one for each look, the oldest first."""

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = self._loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            now = self._loop.time()
            self._looks.append((now, self._host.channels.messages(), max(0.0, now - due)))
            while now - self._looks[0][0] > WINDOW_SECONDS:
                self._looks.popleft()

    def report(self) -> ProcessReport:
        """Return what is known now."""
        host, now = self._host, self._loop.time()
        began, before, _ = self._looks[0]
        messages = host.channels.messages()
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
        )
