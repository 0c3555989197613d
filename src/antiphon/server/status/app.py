"""Status application: what is answered at `--status`, as ASGI."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from antiphon.server.status.board import Posted
from antiphon.server.status.metrics import Exposition


def status_app(read: Callable[[], Posted]) -> Starlette:
    """Return the application; it answers from what `read` returns, and waits for nothing."""
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

    handlers = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
    return Starlette(routes=[Route(path, handler) for path, handler in handlers.items()])
