"""What the channels of a server share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.session.budget import ReplayBudget
from antiphon.server.session.holder import Session


@dataclass(frozen=True, eq=False)
class ChannelEnvironment:
    """What the channels of a server share."""

    handlers: HandlerEnvironment
    end: Callable[[Session], Awaitable[bool]]
    """Ends a session in the store (`SessionManager.end`)."""
    budget: ReplayBudget
