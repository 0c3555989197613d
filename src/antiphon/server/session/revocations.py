"""Revocation poller: reads the revocation log of the store, so that what ends a session anywhere ends it here too.

It keeps promise 17. While the store is away, sessions go on; what was missed is applied as soon as it answers.
"""

import asyncio
import contextlib

from antiphon.errors import AntiphonError
from antiphon.observe.log import ServerLog
from antiphon.server.session.manager import SessionManager
from antiphon.server.session.registry import ChannelRegistry
from antiphon.store.contracts import Revocation, RevocationLog

POLL_SECONDS = 0.25
"""Pause between two polls: four within the promised second, one query each."""
HINTED_SECONDS = 0.02
"""Pause between two polls that hints have hastened: many ends, one after the other, are read in few polls."""


class RevocationPoller:
    """Polls the revocation log."""

    def __init__(self, sessions: SessionManager, channels: ChannelRegistry, log: ServerLog) -> None:
        """Poll for the sessions of `sessions`, and for the `channels` that have no connection now."""
        self._sessions = sessions
        self._channels = channels
        self.log = log
        self.read_at = asyncio.get_running_loop().time()
        """Loop time at which the store has answered last."""
        self._away = False
        self._hinted = asyncio.Event()

    async def run(self) -> None:
        """Poll until cancelled; no error ends it."""
        while True:
            await asyncio.sleep(HINTED_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS - HINTED_SECONDS):
                    await self._hinted.wait()
            self._hinted.clear()
            await self.poll()

    async def listen(self, revocations: RevocationLog) -> None:
        """Have the store hasten the polls until cancelled; without its hints they come as often as always."""
        try:
            await revocations.listen(self._hinted.set)
        except Exception:
            self.log.exception("fault")

    async def poll(self) -> None:
        """Apply new revocations; a store that is away is logged once, and its return too.

        Then end what such a store may have left behind.
        """
        try:
            for entry in await self._sessions.new_revocations():
                self._apply(entry)
        except Exception as error:  # a fault here must not leave sessions open for ever
            if not self._away:
                self._away = True
                code = error.code if isinstance(error, AntiphonError) else "fault"
                self.log.exception("revocations-unread", code=code)
            return
        self.read_at = asyncio.get_running_loop().time()
        if self._away:
            self._away = False
            self.log.info("revocations-read")
        with contextlib.suppress(AntiphonError):
            await self._sessions.leftovers.end()

    def _apply(self, entry: Revocation) -> None:
        for session in self._sessions.apply(entry):
            self.log.info(
                "session-revoked", name=session.name, address=session.holder.peer.address, reason=entry.reason
            )
        self._channels.revoked(entry)  # last: one that has just lost its session to another server ends too
