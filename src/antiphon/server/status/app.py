"""Status application: what is answered at `--status`, as ASGI."""

from collections.abc import Callable
from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from antiphon.server.status.access.guard import Administrator, Guard
from antiphon.server.status.access.routes import access_routes
from antiphon.server.status.board import Posted
from antiphon.server.status.metrics import Exposition

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="csrf" content="{csrf}">
<title>Antiphon</title>
<link rel="icon" href="/access/icon.svg">
</head>
<body><p>{name}</p></body>
</html>
"""


def status_app(read: Callable[[], Posted], guard: Guard) -> ASGIApp:
    """Return the application; it answers from what `read` returns, and shows to whom `guard` lets in.

    The paths for programs wait for nothing.
    """
    exposition = Exposition(read)

    async def healthz(_: Request) -> Response:
        """The process lives."""
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        """A new connection would be served; if not, say why."""
        obstacle = read().obstacle
        return PlainTextResponse(f"{obstacle or 'ready'}\n", status_code=503 if obstacle else 200)

    async def metrics(request: Request) -> Response:
        text, media_type = exposition.write(request.headers.get("accept", ""))
        return Response(text, media_type=media_type)

    async def page(_: Request, administrator: Administrator) -> Response:
        return HTMLResponse(_PAGE.format(csrf=escape(administrator.csrf), name=escape(administrator.name)))

    handlers = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics, "/": guard.page(page)}
    app = Starlette(routes=[*access_routes(guard), *(Route(path, handler) for path, handler in handlers.items())])
    app.router.redirect_slashes = False  # the redirect would go to whatever host the request names
    return guard.protect(app)
