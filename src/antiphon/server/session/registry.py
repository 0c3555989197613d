"""Channel registry: the live sessions of this server, found when a connection resumes one."""

import asyncio
from collections.abc import Iterator

from antiphon.errors import AntiphonError
from antiphon.identity.tokens import Token
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.session.budget import ReplayBudget
from antiphon.server.session.channel import ChannelEnvironment, SessionChannel
from antiphon.server.session.manager import Holder, Session, SessionManager
from antiphon.store.contracts import Revocation
from antiphon.wire.bodies import Resume, Welcome

AWAY_SECONDS = 60.0
"""How long a channel goes on without a connection."""


class ChannelRegistry:
    """Channels by the fingerprint of their session's token."""

    def __init__(
        self,
        sessions: SessionManager,
        handlers: HandlerEnvironment,
        budget: ReplayBudget | None = None,
    ) -> None:
        """Start with none.

        Args:
            sessions: the sessions that they are of.
            handlers: what runs in all of them.
            budget: the memory that their replay buffers may take; by default the usual.
        """
        self._sessions = sessions
        self._handlers = handlers
        self._environment = ChannelEnvironment(handlers, sessions.end, budget or ReplayBudget())
        self._channels: dict[bytes, SessionChannel] = {}

    def __iter__(self) -> Iterator[SessionChannel]:
        """Iterate over a copy, since channels end meanwhile."""
        return iter(list(self._channels.values()))

    async def resume(self, token: Token, holder: Holder) -> Session:
        """Take up the session of `token` for `holder`; another connection that holds it loses it.

        Where its channel is not here, what the store has of it is restored: the store gives a snapshot once.

        Raises:
            SessionEnded: it was left, revoked or expired, or never was.
            TryLater: the store does not answer.
        """
        session = await self._sessions.resume(token, holder, self._channels)
        try:
            if session.fingerprint not in self._channels:
                if session.snapshot is not None:
                    await self._sessions.drop_snapshot(session)
                channel = self._channels.get(session.fingerprint)
                if channel is None:
                    self._begin(session).restore(session.snapshot)
                elif session.snapshot is not None:  # another connection that resumed it meanwhile has got nothing
                    channel.restore(session.snapshot)
                session.snapshot = None
        except BaseException:  # or the session would count as held for as long as the server runs
            await self.release(session)
            raise
        return session

    def admit(
        self, session: Session, welcome: Welcome, resumed: Resume | None
    ) -> tuple[SessionChannel, Welcome, list[bytes]]:
        """Return the channel of a new or `resumed` session, its WELCOME, and the frames to replay.

        Raises:
            BodyInvalid: the client claims to have received more than was sent.
        """
        channel = self._channels.get(session.fingerprint)
        if channel is None:
            channel = self._begin(session)
            if resumed is not None:  # the channel has ended since `resume`: nobody knows the counts
                channel.restore(None)
        if resumed is None:
            return channel, welcome, []
        return channel, *channel.resume(resumed.received, welcome)

    def _begin(self, session: Session) -> SessionChannel:
        channel = self._channels[session.fingerprint] = SessionChannel(self._environment, session)
        return channel

    async def release(self, session: Session) -> None:
        """Note in the store that the connection of a session is gone; a store that is away is logged."""
        try:
            await self._sessions.release(session)
        except AntiphonError as error:
            self._handlers.log.exception("store-failed", code=error.code, name=session.name)

    async def end(self, session: Session) -> bool:
        """End a session for good; see `SessionManager.end`."""
        return await self._sessions.end(session)

    def finish(self, channel: SessionChannel | None) -> None:
        """End a channel in the background, if there is one."""
        if channel is None:
            return
        fingerprint = channel.session.fingerprint
        if self._channels.get(fingerprint) is channel:
            del self._channels[fingerprint]
        if not channel.over:
            self._handlers.tasks.start(channel.finish())

    def sweep(self, now: float) -> None:
        """End the channels that have been without a connection for too long, and bound the memory of all.

        `now` is loop time.
        """
        for channel in self:
            if channel.away_since is not None and now - channel.away_since > AWAY_SECONDS:
                self.finish(channel)
        self._environment.budget.enforce()

    def revoked(self, entry: Revocation) -> None:
        """End the channels without a connection that a revocation concerns; others end with their connection."""
        for channel in self:
            if channel.away_since is not None and channel.concerned(entry):
                self.finish(channel)

    async def stop(self) -> None:
        """End all channels, and save snapshots of those whose sessions go on."""
        channels = [channel for channel in self if not channel.over]
        await asyncio.gather(*(channel.finish() for channel in channels))
        self._channels.clear()
        try:
            for channel in channels:
                await self._sessions.hand_on(channel.session, channel.dump() if channel.replay.known else None)
        except AntiphonError as error:  # the others would wait for the store in vain
            self._handlers.log.exception("store-failed", code=error.code)
