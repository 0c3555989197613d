"""Entry to the page: the sign-in with its script, and the way out."""

from importlib import resources

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from antiphon.errors import AntiphonError
from antiphon.server.status.access.answers import Refused, body_of, language_of, refusal, said
from antiphon.server.status.access.entry_page import entry_page
from antiphon.server.status.access.guard import Endpoint, Guard
from antiphon.server.status.access.sessions import Administrator

FILES = {
    "sign-in.js": "text/javascript",
    "request.js": "text/javascript",
    "entry.css": "text/css",
    "icon.svg": "image/svg+xml",
}
"""What the page loads, and its media types."""


class _First(msgspec.Struct, forbid_unknown_fields=True):
    """Body of the first request: the client's first message."""

    message: str


class _Final(msgspec.Struct, forbid_unknown_fields=True):
    """Body of the second request: the number of the exchange, and the client's final message."""

    exchange: str
    message: str


def entry_routes(guard: Guard) -> list[BaseRoute]:
    """Return the routes of sign-in and sign-out."""

    async def show(request: Request) -> Response:
        if guard.administrator(request) is not None:
            return RedirectResponse("/", 303)
        return HTMLResponse(entry_page(language_of(request)))

    async def begin(request: Request) -> Response:
        try:
            body = await body_of(request, _First)
            number, challenge = await guard.sign_in.begin(body.message.encode(), guard.peer_of(request))
        except (AntiphonError, Refused) as error:
            return refusal(request, error)
        return said({"exchange": number, "message": challenge.decode()})

    async def prove(request: Request) -> Response:
        try:
            body = await body_of(request, _Final)
            peer = guard.peer_of(request)
            account, signature = await guard.sign_in.prove(body.exchange, body.message.encode(), peer)
        except (AntiphonError, Refused) as error:
            return refusal(request, error)
        if (before := guard.administrator(request)) is not None:
            guard.end(before, "signed-in-again")
        cookie, _ = guard.sessions.open(account)
        guard.log.info("administrator-in", name=account.display, address=peer.address)
        response = said({"message": signature.decode()})
        response.set_cookie(
            guard.cookie_of(request),
            cookie,
            path="/",
            secure=guard.reach.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    async def leave(request: Request, administrator: Administrator) -> Response:
        guard.end(administrator, "left")
        response = said({})
        response.delete_cookie(
            guard.cookie_of(request),
            path="/",
            secure=guard.reach.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    return [
        Route("/sign-in", show),
        Route("/sign-in/begin", begin, methods=["POST"]),
        Route("/sign-in/prove", prove, methods=["POST"]),
        Route("/sign-out", guard.action(leave, confirmed=False), methods=["POST"]),
        *(Route(f"/access/{name}", _file(name, kind)) for name, kind in FILES.items()),
    ]


def _file(name: str, kind: str) -> Endpoint:
    content = resources.files("antiphon.server.status.access").joinpath("static", name).read_bytes()

    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=kind)

    return endpoint
