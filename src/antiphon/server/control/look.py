"""Look at the sessions of one process, for those who ask who is there.

All channels are walked, a few at a time, so that no message waits for it; once a second at most, and never while
nobody asks.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from itertools import islice

from antiphon.server.control.live import ClosedSession, Live, LiveQuery, LiveSession, most_talkative, place_of
from antiphon.server.session.channel import SessionChannel
from antiphon.server.session.closings import Closings
from antiphon.server.session.registry import ChannelRegistry
from antiphon.store.contracts import short_id

SLICE = 250
"""Channels that are looked at in one step: well below a millisecond."""
FRESH_SECONDS = 0.9
"""Age up to which a walk serves whoever asks next."""
FORGET_SECONDS = 60.0
"""Time after the last look when the counts of all sessions are forgotten."""

_Counts = Mapping[bytes, tuple[int, float]]
"""Messages and seconds of handlers, by the fingerprint of the session."""


class SessionLook:
    """Answers who is connected to this process."""

    def __init__(self, channels: ChannelRegistry, closings: Closings) -> None:
        """Look at `channels`; nothing is walked yet."""
        self._channels = channels
        self._closings = closings
        self._walking = asyncio.Lock()
        self._sessions: list[LiveSession] = []
        self._counts: _Counts = {}
        self._looked_at: float | None = None
        """When the last walk was made; None if there is none, or its counts are forgotten."""
        self._forgetting: asyncio.TimerHandle | None = None

    async def answer(self, query: LiveQuery) -> Live:
        """Return what `query` asks for; of the sessions all up to the end of the page."""
        async with self._walking:
            if self._looked_at is None or time.monotonic() - self._looked_at > FRESH_SECONDS:
                await self._walk()
            sessions = self._sessions
        wanted = query.wanted
        found = [each for each in sessions if wanted in each.key] if wanted else sessions
        return Live(
            count=len(sessions),
            found=len(found),
            sessions=found[: query.end],
            talkers=most_talkative(sessions),
            closed=self.last_closed(),
        )

    async def _walk(self) -> None:
        now, before, counts = time.monotonic(), self._counts, {}
        seconds = None if self._looked_at is None else now - self._looked_at
        sessions: list[LiveSession] = []
        channels = iter(self._channels)
        while part := list(islice(channels, SLICE)):
            for channel in part:
                if channel.away_since is None and not channel.over:
                    mark = channel.session.fingerprint
                    counts[mark] = count = channel.replay.counted, channel.runner.seconds
                    sessions.append(_shown(channel, count, before.get(mark), seconds))
            await asyncio.sleep(0)
        sessions.sort(key=place_of)
        self._sessions, self._counts, self._looked_at = sessions, counts, now
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(FORGET_SECONDS, self._forget)

    def _forget(self) -> None:
        self._sessions, self._counts, self._looked_at, self._forgetting = [], {}, None, None

    def last_closed(self) -> list[ClosedSession]:
        """Return the sessions that have closed last, the newest first."""
        return [ClosedSession(*each) for each in reversed(self._closings)]


def _shown(
    channel: SessionChannel, count: tuple[int, float], before: tuple[int, float] | None, seconds: float | None
) -> LiveSession:
    session = channel.session
    peer = session.holder.peer
    rate = handler = None
    if seconds is not None:
        messages, busy = (
            count if before is None or count[0] < before[0] else (count[0] - before[0], count[1] - before[1])
        )
        rate = messages / max(seconds, FRESH_SECONDS)
        handler = busy / messages if messages else None
    name = session.name or ""
    return LiveSession(
        key=f"{name.casefold()} {peer.address}",
        id=short_id(session.fingerprint),
        name=name,
        account=session.account_id,
        address=peer.address,
        opened_at=session.opened_at,
        pid=os.getpid(),
        relayed=peer.relayed_by is not None,
        messages=count[0],
        messages_per_s=rate,
        handler_s=handler,
    )
