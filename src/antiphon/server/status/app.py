"""Status application: what is answered at `--status`, as ASGI."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from antiphon.server.status.access.guard import Guard
from antiphon.server.status.access.routes import access_routes
from antiphon.server.status.metrics import Exposition
from antiphon.server.status.page.routes import Pages
from antiphon.server.status.source import Source


def status_app(source: Source, guard: Guard, pages: Pages) -> ASGIApp:
    """Return the application; it answers from what `source` has, and shows `pages` to whom `guard` lets in.

    The paths for programs wait for nothing.
    """
    exposition = Exposition(source.read)

    async def healthz(_: Request) -> Response:
        """The process lives."""
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        """A new connection would be served; if not, say why."""
        obstacle = source.read().obstacle
        return PlainTextResponse(f"{obstacle or 'ready'}\n", status_code=503 if obstacle else 200)

    async def metrics(request: Request) -> Response:
        text, media_type = exposition.write(request.headers.get("accept", ""))
        return Response(text, media_type=media_type)

    handlers = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
    probes = (Route(path, handler) for path, handler in handlers.items())
    app = Starlette(routes=[*access_routes(guard), *pages.routes(guard), *probes])
    app.router.redirect_slashes = False  # the redirect would go to whatever host the request names
    return guard.protect(app)
