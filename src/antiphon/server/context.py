"""What the parts of one running server share; each connection gets it whole."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import AntiphonError
from antiphon.observe.log import ServerLog
from antiphon.server.hello import HelloFrame
from antiphon.server.listen.limits import AdmissionLimits
from antiphon.server.sessions import Session, SessionKeeper
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.turns import Turns
from antiphon.services import Service
from antiphon.settings import ServerSettings

if TYPE_CHECKING:
    from antiphon.server.connection import Connection
    from antiphon.server.dialogues import Dialogues


@dataclass(kw_only=True, eq=False)
class ServerContext:
    """Settings, stores, keys and log of a server, and what is alive in it."""

    settings: ServerSettings
    service: Service
    sessions: SessionKeeper
    dialogues: "Dialogues"
    log: ServerLog
    admission: AdmissionLimits
    hello: HelloFrame
    connections: "set[Connection]" = field(default_factory=set)
    tasks: BackgroundTasks = field(default_factory=BackgroundTasks)
    turns: Turns = field(init=False)
    """The handlers that wait for something."""
    variables: Context = field(default_factory=copy_context)
    """Those of the context that the server was started in: each handler has a copy."""

    def __post_init__(self) -> None:
        """Give every turn the same time."""
        self.turns = Turns(self.settings.service_seconds)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` beside everything else; the server waits for it before it stops."""
        return self.tasks.start(work)

    async def release(self, session: Session) -> None:
        """Have a session wait to be resumed, since its connection is gone."""
        try:
            await self.sessions.release(session)
        except AntiphonError as error:
            self.log.exception("store-failed", code=error.code, name=session.name)

    @property
    def under_way(self) -> list[asyncio.Future[Any]]:
        """All that the server waits for before it stops."""
        return [*self.tasks, *self.turns]
