"""What the parts of one running server share; each connection gets it whole."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import AntiphonError
from antiphon.observe.log import ServerLog
from antiphon.server.caps import EntryCaps, RegistrationCaps
from antiphon.server.invited import Invited
from antiphon.server.sessions import Session, SessionKeeper
from antiphon.server.throttle import Throttle
from antiphon.server.turns import Turns
from antiphon.services import Service
from antiphon.settings import ServerSettings
from antiphon.store.contracts import Accounts, Clients

if TYPE_CHECKING:
    from antiphon.server.connection import Connection
    from antiphon.server.dialogues import Dialogues


@dataclass(kw_only=True, eq=False)
class ServerContext:
    """Settings, stores, keys and log of a server, and what is alive in it."""

    settings: ServerSettings
    service: Service
    accounts: Accounts
    clients: Clients
    sessions: SessionKeeper
    dialogues: "Dialogues"
    throttle: Throttle
    ring: LiveKeyRing
    log: ServerLog
    caps: EntryCaps
    registrations: RegistrationCaps
    invited: Invited
    registration: bool
    language: str
    """For those who have not said theirs."""
    hello: bytes
    """The HELLO frame: one for all connections."""
    mechanism: str
    """The SASL mechanism that is offered."""
    clock: Callable[[], datetime]
    """Wall time, UTC: for expiry and records, never for deadlines."""
    random: Callable[[int], bytes]
    stopping: bool = False
    """Whoever comes now is told so."""
    dropped: int = 0
    """Connections dropped at the door since the log was last told."""
    connections: "set[Connection]" = field(default_factory=set)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    turns: Turns = field(init=False)
    """The handlers that wait for something."""
    variables: Context = field(default_factory=copy_context)
    """Those of the context that the server was started in: each handler has a copy."""

    def __post_init__(self) -> None:
        """Give every turn the same time."""
        self.turns = Turns(self.settings.service_seconds)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` beside everything else; the server waits for it before it stops."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

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
