"""Handler environment: the service of a server, its limits, and the log of its faults, shared by all sessions."""

from contextvars import Context, copy_context
from dataclasses import dataclass, field

from antiphon.observe.log import ServerLog
from antiphon.observe.repeats import REPEAT_SECONDS
from antiphon.server.handler.time_limits import TimeLimits
from antiphon.server.handler.turn_end import TurnEnd
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.topics.topics import Topics
from antiphon.server.turn_budget import TurnBudget
from antiphon.services import Service, ServiceServer
from antiphon.wire.times import TIME_BOUNDS, Times, new_times


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
    topics: Topics
    """What is published, and who is subscribed."""
    server: ServiceServer
    """The server, as the service sees it."""
    repeat_seconds: float = REPEAT_SECONDS
    """For how long equal faults of a session are only counted; with 0 each is logged."""
    time_limits: TimeLimits = field(init=False)
    """Of handlers that wait."""
    variables: Context = field(default_factory=copy_context)
    """The context variables that the server was started with; each message of a coroutine handler has a copy."""
    turns: TurnBudget = field(default_factory=TurnBudget)
    """Shared by all connections, and by handlers that send many answers."""
    turn_end: TurnEnd = field(default_factory=TurnEnd)
    """Shared by all connections: answers of handlers that have waited."""
    times: Times = field(default_factory=lambda: new_times(TIME_BOUNDS))
    """Of all messages that were given to the service, from the call to the last answer."""

    def __post_init__(self) -> None:
        """Give every waiting handler the same time."""
        object.__setattr__(self, "time_limits", TimeLimits(self.seconds))
