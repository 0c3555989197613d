"""Follows the log of revocations, so that what ends a session anywhere closes its connection here (promise 17).

While the store is away the sessions that are held go on; what was missed is applied as soon as it answers again.
"""

import asyncio

from antiphon.errors import AntiphonError
from antiphon.observe.log import ServerLog
from antiphon.server.sessions import SessionKeeper

FOLLOW_SECONDS = 0.25
"""Pause between two looks: four within the second that is promised, and one query each."""


class Follower:
    """Looks at the log of revocations again and again."""

    def __init__(self, sessions: SessionKeeper, log: ServerLog) -> None:
        """Follow on behalf of `sessions`."""
        self._sessions = sessions
        self.log = log
        self._away = False

    async def run(self) -> None:
        """Follow until cancelled; nothing that goes wrong is the end of it."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Apply what is new; a store that is away is told of once, and its return too."""
        try:
            revoked = await self._sessions.follow()
        except Exception as error:  # a fault here must not leave sessions open for ever
            if not self._away:
                self._away = True
                code = error.code if isinstance(error, AntiphonError) else "fault"
                self.log.exception("revocations-unread", code=code)
            return
        if self._away:
            self._away = False
            self.log.info("revocations-read")
        for session, reason in revoked:
            self.log.info("session-revoked", name=session.name, address=session.holder.peer.address, reason=reason)
