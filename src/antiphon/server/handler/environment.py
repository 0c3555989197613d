"""What the handlers of all sessions of a server share: the service, its limits, and where faults are logged."""

from contextvars import Context, copy_context
from dataclasses import dataclass, field

from antiphon.observe.log import ServerLog
from antiphon.server.handler.time_limits import TimeLimits
from antiphon.server.tasks import BackgroundTasks
from antiphon.services import Service


@dataclass(frozen=True, kw_only=True, eq=False)
class HandlerEnvironment:
    """One service, as the sessions of a server run it."""

    service: Service
    seconds: float
    """The longest that one answer may take."""
    message_limit: int
    """The largest message in bytes, from either side."""
    log: ServerLog
    tasks: BackgroundTasks
    time_limits: TimeLimits = field(init=False)
    """Of handlers that wait."""
    variables: Context = field(default_factory=copy_context)
    """The context variables that the server was started with; each message of a coroutine handler has a copy."""

    def __post_init__(self) -> None:
        """Give every waiting handler the same time."""
        object.__setattr__(self, "time_limits", TimeLimits(self.seconds))
