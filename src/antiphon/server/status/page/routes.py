"""Routes of the page: the page itself, its files, and the stream of what changes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from threading import Event

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from antiphon.server.control.live import PAGES_MOST, SEARCH_MOST, LiveQuery
from antiphon.server.status.access.answers import language_of
from antiphon.server.status.access.guard import Administrator, Guard
from antiphon.server.status.page.document import document
from antiphon.server.status.page.html import Html
from antiphon.server.status.page.sections import sections
from antiphon.server.status.page.view import View
from antiphon.server.status.source import Source

FILES = {"page.js": "text/javascript", "page.css": "text/css"}
"""What the page loads, and its media types."""
STREAM_TYPE = "text/event-stream"
STREAM_SECONDS = 2.0
"""Pause between two updates of a page."""
STREAMS_MOST = 16
"""Pages that are kept up to date at once; further ones are told to try again later."""
STOP_SECONDS = 0.2
"""Longest wait of a stream until it sees that the server stops."""
RETRY_SECONDS = 3
"""Time after which a browser opens a stream again that was lost."""


class Pages:
    """The page of one server, as its administrators see it."""

    def __init__(self, source: Source) -> None:
        """Show what `source` has, in the language of each request."""
        self._source = source
        self._streams = 0
        self._stopping = Event()

    def routes(self, guard: Guard) -> list[BaseRoute]:
        """Return the routes, of which `guard` lets administrators use those with names and addresses."""
        return [
            Route("/", guard.page(self._show)),
            Route("/events", guard.stream(self._follow)),
            *(Route(f"/{name}", _file(name, kind)) for name, kind in FILES.items()),
        ]

    def stop(self) -> None:
        """End all streams: the server stops."""
        self._stopping.set()

    async def _show(self, request: Request, administrator: Administrator) -> Response:
        view = await self._view(query_of(request), language_of(request))
        return HTMLResponse(document(view, administrator.name, administrator.csrf))

    async def _follow(self, request: Request, administrator: Administrator) -> Response:
        if request.method == "HEAD":  # it has no body: the browser asks the next thing on this connection
            return Response(media_type=STREAM_TYPE)
        if self._streams >= STREAMS_MOST:
            return PlainTextResponse("too many pages are open\n", status_code=503)
        updates = self._updates(query_of(request), language_of(request), administrator.ended)
        return StreamingResponse(updates, media_type=STREAM_TYPE)

    async def _updates(self, query: LiveQuery, language: str, ended: asyncio.Event) -> AsyncIterator[bytes]:
        """Yield what has changed, again and again, until the person is signed out or the server stops."""
        self._streams += 1
        sent: dict[str, Html] = {}
        try:
            yield b"retry: %d\n\n" % (RETRY_SECONDS * 1000)
            while not (ended.is_set() or self._stopping.is_set()):
                parts = sections(await self._view(query, language))
                changed = {id: part for id, part in parts.items() if sent.get(id) != part}
                sent = parts
                yield _event("parts", changed)
                await self._pause(ended)
            yield _event("signed-out" if ended.is_set() else "stopped", {})
        finally:
            self._streams -= 1

    async def _pause(self, ended: asyncio.Event) -> None:
        """Wait for the next update, or for the end."""
        ends = asyncio.get_running_loop().time() + STREAM_SECONDS
        while not self._stopping.is_set() and (left := ends - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, STOP_SECONDS)):
                    await ended.wait()
                    return

    async def _view(self, query: LiveQuery, language: str) -> View:
        live = await self._source.look(query)
        return View(self._source.read(), self._source.history, query, live, language)


def query_of(request: Request) -> LiveQuery:
    """Return what a request looks for: `q`, and `page` from 1."""
    page = request.query_params.get("page", "")
    number = int(page) if page.isascii() and page.isdecimal() and len(page) < 6 else 1
    search = request.query_params.get("q", "")[:SEARCH_MOST]
    return LiveQuery(search, min(max(number, 1), PAGES_MOST) - 1)


def _event(name: str, parts: dict[str, Html]) -> bytes:
    """Return an event; JSON has no line breaks, which would end it."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), json.dumps(parts).encode())


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = resources.files("antiphon.server.status.page").joinpath("static", name).read_bytes()

    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=kind)

    return endpoint
