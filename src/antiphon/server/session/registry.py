"""Channel registry: the live sessions whose home is this process, found when a connection resumes one."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

from antiphon.errors import AntiphonError, TryLater
from antiphon.identity.tokens import Token
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.session.budget import ReplayBudget
from antiphon.server.session.channel import SessionChannel
from antiphon.server.session.environment import ChannelEnvironment
from antiphon.server.session.holder import Holder, Session
from antiphon.server.session.manager import SessionManager
from antiphon.store.contracts import ProcessRecord, Revocation
from antiphon.wire.bodies import Resume, Welcome

AWAY_SECONDS = 60.0
"""How long a channel goes on without a connection."""
LEAVING_SECONDS = 1.0
"""Longest wait of a resume for a channel that is being given up."""
AGAIN_SECONDS = 1.0
"""Pause before a session is given up again, if the store could not note it."""
STOP_SECONDS = 3.0
"""Time in which a stopping server tries to save the snapshots."""


Resumed = Literal["continued", "restored", "unknown"]
"""How a session is resumed: where it is, from a snapshot of another process, or without knowing what has come."""


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
        self._leaving: dict[bytes, asyncio.Task[None]] = {}
        """Sessions that are being given up."""
        self._undropped: set[bytes] = set()
        """Sessions that go on from a snapshot, which the store still has."""
        self.resumes: Counter[Resumed] = Counter()
        """Sessions that were resumed here by clients of this process, by what the server knew of their counts."""

    def __iter__(self) -> Iterator[SessionChannel]:
        """Iterate over a copy, since channels end meanwhile."""
        return iter(list(self._channels.values()))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._channels)

    # --- connections ------------------------------------------------------------------------------------------

    async def resume(self, token: Token, holder: Holder) -> Session | ProcessRecord | None:
        """Take up the session of `token` for `holder`; another connection that holds it loses it.

        Where its channel is not here, what the store has of it is restored.

        Returns:
            As `SessionManager.resume`: the session, or where it is.

        Raises:
            SessionEnded: it was left, revoked or expired, or never was.
            TryLater: the store does not answer, or the session is just being given up, or was meanwhile: what the
                store then has of it is newer than what has been read.
        """
        mark = self._sessions.mark_of(token)
        await self._left(mark)
        if self._sessions.leaving:
            await self._pass_on(mark)
        before = self._channels.get(mark)
        session = await self._sessions.resume(token, holder)
        if not isinstance(session, Session):
            return session
        try:
            channel = self._channels.get(mark)
            if mark in self._leaving or (channel is None and before is not None):
                raise TryLater(wait=1)  # noqa: TRY301 - it is released below
            if channel is not None and channel.session.claim != session.claim:  # others had it meanwhile
                self.finish(channel)
                channel = None
            if channel is None:
                channel = self._begin(session)
                channel.restore(session.snapshot)
                if session.snapshot is not None:
                    self._undropped.add(mark)
            await channel.subscriptions.prepare()
            if mark in self._undropped:  # no message is handled before: the store must not give it again after one
                await self._sessions.drop_snapshot(session)
                self._undropped.discard(mark)
            if self._channels.get(mark) is not channel:
                raise TryLater(wait=1)  # noqa: TRY301 - as above
        except BaseException:  # or the session would count as held for as long as the server runs
            self._handlers.tasks.start(self.release(session))  # whoever waits here is told in time
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
        known = channel.replay.known and resumed.received is not None
        welcome, replayed = channel.resume(resumed.received, welcome)
        if session.holder.peer.relayed_by is None:  # else the process counts it that relays
            from_snapshot = session.snapshot is not None
            self.resumes["unknown" if not known else "restored" if from_snapshot else "continued"] += 1
        return channel, welcome, replayed

    def _begin(self, session: Session) -> SessionChannel:
        channel = self._channels[session.fingerprint] = SessionChannel(self._environment, session)
        return channel

    async def release(self, session: Session) -> None:
        """Note in the store that the connection of a session is gone; a store that is away is logged."""
        try:
            await self._sessions.release(session)
        except AntiphonError as error:
            self._handlers.log.exception("store-failed", code=error.code, name=session.name)

    # --- the end ----------------------------------------------------------------------------------------------

    async def end(self, session: Session) -> bool:
        """End a session for good; see `SessionManager.end`."""
        return await self._sessions.end(session)

    def finish(self, channel: SessionChannel | None) -> None:
        """End a channel in the background, if there is one: its session is over, or another process has it."""
        if channel is None:
            return
        self._forget(channel)
        if not channel.over:
            self._handlers.tasks.start(channel.finish())

    def _forget(self, channel: SessionChannel) -> None:
        fingerprint = channel.session.fingerprint
        if self._channels.get(fingerprint) is channel:
            del self._channels[fingerprint]
            self._undropped.discard(fingerprint)

    def revoked(self, entry: Revocation) -> None:
        """End the channels without a connection that a revocation concerns; others end with their connection."""
        for channel in self:
            if channel.away_since is not None and channel.concerned(entry):
                self.finish(channel)

    def claimed(self, claims: Mapping[bytes, int], before: list[SessionChannel]) -> None:
        """End the channels whose sessions are not this process's any more.

        `claims` are its claims in the store, `before` the channels when they were read.
        """
        for channel in before:
            session = channel.session
            if claims.get(session.fingerprint) == session.claim or channel.over:
                continue
            if channel.away_since is None:
                session.holder.lose("replaced")
            self.finish(channel)

    def go_on(self) -> None:
        """Handle what has waited in all channels."""
        self._handlers.topics.post.go_on()
        for channel in self:
            channel.proceed()

    # --- giving sessions up -----------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Give up the channels that have been without a connection for too long, and bound the memory of all.

        `now` is loop time.
        """
        for channel in self:
            if channel.away_since is not None and now - channel.away_since > AWAY_SECONDS:
                self._give_up(channel)
        self._environment.budget.enforce()

    def give_up_idle(self) -> None:
        """Give up the channels that have neither a connection nor anything to do: the server stops."""
        for channel in self:
            if channel.away_since is not None and channel.idle:
                self._give_up(channel)

    async def hand_on(self, mark: bytes) -> None:
        """Give up the session of a fingerprint, which another process wants and cannot relay to.

        Raises:
            TryLater: it is busy, or the store does not answer.
        """
        await self._left(mark)
        channel = self._channels.get(mark)
        if channel is None:
            return
        if not channel.idle:
            raise TryLater(wait=1)
        if channel.away_since is None:
            channel.session.holder.lose("replaced")
        await self._given_up(self._give_up(channel))

    async def _pass_on(self, mark: bytes) -> None:
        """Give up an idle channel that is resumed while the server stops."""
        channel = self._channels.get(mark)
        if channel is not None and channel.idle and channel.away_since is not None:
            await self._given_up(self._give_up(channel))

    async def _left(self, mark: bytes) -> None:
        if (leaving := self._leaving.get(mark)) is not None:
            await self._given_up(leaving)

    @staticmethod
    async def _given_up(leaving: "asyncio.Task[None]") -> None:
        """Wait until a session is given up.

        Raises:
            TryLater: it takes too long.
        """
        done, _ = await asyncio.wait({leaving}, timeout=LEAVING_SECONDS)
        if not done:
            raise TryLater(wait=1)

    def _give_up(self, channel: SessionChannel) -> "asyncio.Task[None]":
        mark = channel.session.fingerprint
        self._forget(channel)
        task = self._leaving[mark] = self._handlers.tasks.start(self._leave(channel))
        task.add_done_callback(lambda _: self._leaving.pop(mark, None))
        return task

    async def _leave(self, channel: SessionChannel) -> None:
        """End a channel and leave its session to the next process; repeat it until the store has noted it."""
        await channel.finish()
        snapshot = channel.dump()
        logged = False
        while True:
            try:
                await self._sessions.hand_on(channel.session, snapshot)
            except AntiphonError as error:
                if not logged:
                    self._handlers.log.exception("store-failed", code=error.code, name=channel.session.name)
                    logged = True
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def stop(self) -> None:
        """Give up all sessions, as far as the store takes them in time."""
        for channel in self:
            if not channel.over:
                self._give_up(channel)
        if self._leaving:
            await asyncio.wait(set(self._leaving.values()), timeout=STOP_SECONDS)
