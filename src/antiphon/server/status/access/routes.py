"""Routes of the access to the page: sign-in, sign-out, and what administrators do."""

from starlette.routing import BaseRoute

from antiphon.server.status.access.actions import action_routes
from antiphon.server.status.access.entry import entry_routes
from antiphon.server.status.access.guard import Guard


def access_routes(guard: Guard) -> list[BaseRoute]:
    """Return all routes that `guard` needs or guards by itself; the application adds those of the page."""
    return [*entry_routes(guard), *action_routes(guard)]
