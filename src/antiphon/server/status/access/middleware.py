"""What holds for everything at the listener of the page: security headers, and where a request may be from."""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon.server.status.access.answers import sentence
from antiphon.server.status.access.origin import Reach

PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths for programs: they need no sign-in, and are asked under any name."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Protected:
    """An ASGI application behind the checks."""

    def __init__(self, app: ASGIApp, reach: Reach) -> None:
        """Protect `app`, which browsers reach as `reach` says."""
        self._app = app
        self._reach = reach

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app = self._app
        if scope["path"] not in PROBES:
            request = Request(scope)
            if refused := self._reach.refusal(request):
                app = sentence(request, *refused)
        await app(scope, receive, send_with_headers)
