"""Upkeep of a running server: deadlines, expired sessions, abandoned channels, and notes in the store."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from antiphon.data.certificate import Certificate
from antiphon.data.keyring import LiveKeyRing
from antiphon.data.validity import condition_of
from antiphon.errors import AntiphonError
from antiphon.observe.log import ServerLog
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.home.process import HomeProcess
from antiphon.server.session.manager import HELD_EVERY, SessionManager

TICK_SECONDS = 0.25
"""Pause between two looks at the deadlines: short beside each of them, long beside the cost of a look."""
VALIDITY_EVERY = 86400.0
"""Seconds between two looks at the certificate's dates."""


async def watch_validity(certificate: Certificate, log: ServerLog, clock: Callable[[], datetime]) -> None:
    """Log, at once and then daily, that the certificate is not valid, or not for long, until cancelled."""
    while True:
        match condition_of(certificate.valid_from, certificate.expires_at, clock()):
            case "certificate-not-yet-valid":
                log.error("certificate-not-yet-valid", valid_from=certificate.valid_from.isoformat())
            case "certificate-expires":
                log.warning("certificate-expires", expires_at=certificate.expires_at.isoformat())
            case "certificate-expired":
                log.error("certificate-expired", expires_at=certificate.expires_at.isoformat())
        await asyncio.sleep(VALIDITY_EVERY)


class Upkeep:
    """Looks after the connections and sessions of one server, again and again."""

    def __init__(
        self, host: ConnectionHost, sessions: SessionManager, home: HomeProcess, ring: LiveKeyRing
    ) -> None:
        """Look after the connections of `host`, the `sessions` that they hold, and the processes beside `home`."""
        self._host = host
        self._sessions = sessions
        self._home = home
        self._ring = ring

    async def run(self) -> None:
        """Look around until cancelled; no error ends it."""
        loop = asyncio.get_running_loop()
        noted_at = loop.time()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = loop.time()
            try:
                self.look(now)
                if now - noted_at >= HELD_EVERY:
                    noted_at = now
                    self._host.tasks.start(self._note_held())
                    self.follow_keys()
            except Exception:  # without this task there are no deadlines
                self._host.log.exception("fault")

    def look(self, now: float) -> None:
        """Look at every deadline; `now` is loop time."""
        host = self._host
        host.tick(now)
        self._sessions.expire()
        host.channels.sweep(now)
        if dropped := host.limits.take_dropped():
            host.log.warning("dropped", count=dropped)

    async def _note_held(self) -> None:
        try:
            await self._sessions.note_held()
            await self._home.tidy()
        except AntiphonError as error:
            self._host.log.exception("store-failed", code=error.code)

    def follow_keys(self) -> None:
        """Log a key ring that got lost while its keys are still in use here."""
        try:
            self._ring.follow()
        except AntiphonError as error:
            self._host.log.error("key-ring-unread", why=error.fields["problem"])  # noqa: TRY400 - the operator's
