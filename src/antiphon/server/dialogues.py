"""The dialogues of this server: found by their session when a connection resumes it, ended when none does."""

import asyncio
import contextlib
from collections.abc import Iterator

from antiphon.errors import AntiphonError
from antiphon.identity.tokens import Token
from antiphon.server.context import ServerContext
from antiphon.server.dialogue import Dialogue
from antiphon.server.sessions import Holder, Session
from antiphon.store.contracts import Revocation
from antiphon.wire.bodies import Resume, Welcome

AWAY_SECONDS = 60.0
"""How long a dialogue goes on without a connection."""


class Dialogues:
    """Dialogues by the fingerprint of their session's token."""

    def __init__(self) -> None:
        """Begin with none."""
        self._dialogues: dict[bytes, Dialogue] = {}

    def __iter__(self) -> Iterator[Dialogue]:
        """Go through a copy, so that they may end meanwhile."""
        return iter(list(self._dialogues.values()))

    def find(self, session: Session) -> Dialogue | None:
        """Return the dialogue of a session that goes on here."""
        return self._dialogues.get(session.fingerprint)

    def begin(self, context: ServerContext, session: Session) -> Dialogue:
        """Return a new dialogue of a session."""
        dialogue = self._dialogues[session.fingerprint] = Dialogue(context, session)
        return dialogue

    def take_up(
        self, context: ServerContext, session: Session, welcome: Welcome, resumed: Resume | None
    ) -> tuple[Dialogue, Welcome, list[bytes]]:
        """Return the dialogue of a session that was let in, its WELCOME, and the frames to send behind that."""
        dialogue = self.find(session)
        if dialogue is None:
            dialogue = self.begin(context, session)
            if resumed is not None:  # it has ended since the store was asked: nobody knows the counts
                dialogue.restore(None)
        if resumed is None:
            return dialogue, welcome, []
        return dialogue, *dialogue.resume(resumed.received, welcome)

    def finish(self, context: ServerContext, dialogue: Dialogue | None) -> None:
        """End a dialogue, if there is one; the service is told beside everything else."""
        if dialogue is None:
            return
        if self._dialogues.get(dialogue.fingerprint) is dialogue:
            del self._dialogues[dialogue.fingerprint]
        if not dialogue.over:
            context.start(dialogue.finish())

    def sweep(self, context: ServerContext, now: float) -> None:
        """End the dialogues that have been without a connection for too long; `now` is loop time."""
        for dialogue in self:
            if dialogue.away_since is not None and now - dialogue.away_since > AWAY_SECONDS:
                self.finish(context, dialogue)

    def revoked(self, context: ServerContext, entry: Revocation) -> None:
        """End those without a connection that a revocation concerns; the others lose theirs by it."""
        for dialogue in self:
            if dialogue.away_since is not None and dialogue.concerned(entry):
                self.finish(context, dialogue)

    async def stop(self) -> dict[bytes, bytes]:
        """End all; return, by session, what another server needs to go on with those that are not over."""
        dialogues = [dialogue for dialogue in self if not dialogue.over]
        await asyncio.gather(*(dialogue.finish() for dialogue in dialogues))
        self._dialogues.clear()
        return {dialogue.fingerprint: dialogue.dump() for dialogue in dialogues if dialogue.counted}


class Resumption:
    """Resumes sessions together with their dialogues: what the sign-in calls for a RESUME."""

    def __init__(self, context: ServerContext) -> None:
        """Resume sessions of `context.sessions`, and dialogues of `context.dialogues`."""
        self._context = context

    async def resume(self, token: Token, holder: Holder) -> Session:
        """Resume the session of `token` on `holder`, with its dialogue.

        Raises:
            SessionEnded: it was left, revoked or expired, or never was.
            TryLater: the store does not answer; the session can be resumed later.
        """
        sessions = self._context.sessions
        session = await sessions.resume(token, holder)
        try:
            await self._take_over(session)
        except BaseException:  # else it would count as held for as long as the server runs
            with contextlib.suppress(AntiphonError):
                await sessions.release(session)
            raise
        return session

    async def _take_over(self, session: Session) -> None:
        """Restore the dialogue that a server which has stopped saved; the store returns it only once."""
        dialogues = self._context.dialogues
        if dialogues.find(session) is None:
            kept = await self._context.sessions.kept(session)
            dialogue = dialogues.find(session) or dialogues.begin(self._context, session)
            if kept is not None or not dialogue.restored:
                dialogue.restore(kept)
