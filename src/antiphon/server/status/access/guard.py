"""Guard of the status page: who may see it, and what they may do there.

How the application uses it:

- `Guard(...)` is made by the endpoint, in the thread of the page, and `run` is a task beside the application;
- `Starlette(routes=[*access_routes(guard), ...])` has the sign-in and the actions (`routes.py`), and
  `guard.protect(app)` is what is served;
- `Route("/", guard.page(handler))` shows a page to administrators, and the sign-in to everybody else;
- `Route("/events", guard.stream(handler))` answers administrators, and 401 everybody else. A stream ends when
  `administrator.ended` is set;
- `Route("/x", guard.action(handler), methods=["POST"])` takes a request of the page's own script, with the header
  `X-Antiphon-CSRF: <administrator.csrf>`.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from antiphon.errors import AntiphonError, TryLater
from antiphon.language import N_
from antiphon.observe.log import ServerLog
from antiphon.server.peer import Peer
from antiphon.server.status.access.answers import Refused, refusal
from antiphon.server.status.access.middleware import Protected
from antiphon.server.status.access.origin import Reach
from antiphon.server.status.access.sessions import Administrator, PageSessions, is_token
from antiphon.server.status.access.sign_in import PageSignIn
from antiphon.server.status.access.store import PageStore

__all__ = ["Administrator", "Guard"]

Handler = Callable[[Request, Administrator], Awaitable[Response]]
"""Answers a request of an administrator."""
Endpoint = Callable[[Request], Awaitable[Response]]

CSRF_HEADER = "X-Antiphon-CSRF"
WATCH_SECONDS = 0.25
"""Pause between two looks at the accounts of those who are signed in: four within the second of promise 17."""
ACTION_SECONDS = 10.0
"""Time for an action; what the store does has limits of its own."""

_SIGNED_OUT = N_("You are not signed in to this page, or no longer. Sign in again.")
_NO_TOKEN = N_("This request does not come from the page, and is refused.")


class Guard:
    """Lets administrators in, and nobody else. All of it runs in the event loop of the page."""

    def __init__(self, reach: Reach, store: PageStore, log: ServerLog) -> None:
        """Guard a page that browsers reach as `reach` says, for the administrators in `store`."""
        self.reach = reach
        self.store = store
        self.log = log
        self.sessions = PageSessions(time.monotonic)
        self.sign_in = PageSignIn(store, log, lambda: datetime.now(UTC))

    # --- for the application --------------------------------------------------------------------------------

    def administrator(self, request: Request, *, touch: bool = True) -> Administrator | None:
        """Return who has sent a request, by its cookie; None for somebody who is not signed in.

        With `touch` the person counts as active. It waits for nothing: what ends a session is looked for in `run`.
        """
        cookie = request.cookies.get(self.cookie_of(request))
        return self.sessions.find(cookie, touch=touch) if cookie else None

    def page(self, handler: Handler) -> Endpoint:
        """Return an endpoint for a page: whoever is not signed in is sent to the sign-in."""

        async def endpoint(request: Request) -> Response:
            administrator = self.administrator(request)
            if administrator is None:
                return RedirectResponse("/sign-in", 303)
            return await handler(request, administrator)

        return endpoint

    def stream(self, handler: Handler) -> Endpoint:
        """Return an endpoint for what a script of the page reads by itself: that keeps no session alive."""

        async def endpoint(request: Request) -> Response:
            administrator = self.administrator(request, touch=False)
            if administrator is None:
                return refusal(request, Refused(401, _SIGNED_OUT, "signed-out"))
            return await handler(request, administrator)

        return endpoint

    def action(self, handler: Handler, *, confirmed: bool = True) -> Endpoint:
        """Return an endpoint for a POST of the page's own script, which carries the CSRF token of its session.

        With `confirmed` the account is looked up before: while the store is away, nobody acts.
        """

        async def endpoint(request: Request) -> Response:
            administrator = self.administrator(request)
            if administrator is None:
                return refusal(request, Refused(401, _SIGNED_OUT, "signed-out"))
            if not is_token(request.headers.get(CSRF_HEADER, ""), administrator):
                return refusal(request, Refused(403, _NO_TOKEN, "csrf"))
            try:
                async with asyncio.timeout(ACTION_SECONDS):
                    if confirmed and not await self._is_administrator(administrator):
                        return refusal(request, Refused(401, _SIGNED_OUT, "signed-out"))
                    return await handler(request, administrator)
            except TimeoutError:
                return refusal(request, TryLater())
            except (AntiphonError, Refused) as error:
                return refusal(request, error)

        return endpoint

    def protect(self, app: ASGIApp) -> ASGIApp:
        """Return the application with the checks and the headers that hold for all of it."""
        return Protected(app, self.reach)

    async def run(self) -> None:
        """End the sessions of those who are no administrators any more, until cancelled; then close the store."""
        try:
            while True:
                await asyncio.sleep(WATCH_SECONDS)
                try:
                    await self._look()
                except Exception:  # without this task no session would end
                    self.log.exception("fault")
        finally:
            await self.sign_in.close()
            await self.store.close()

    # --- for the routes -------------------------------------------------------------------------------------

    def cookie_of(self, request: Request) -> str:
        """Return the name of the cookie: over TLS one that only this host can set, and no subdomain."""
        if self.reach.scheme == "https":
            return "__Host-antiphon"
        return f"antiphon-{request.url.port or 80}"  # cookies do not know ports, and there may be two servers

    def peer_of(self, request: Request) -> Peer:
        """Return where a request comes from."""
        return Peer.at(tuple(request.client or ("unknown", 0)), None)

    def end(self, administrator: Administrator, why: str) -> None:
        """End a session, and log it."""
        self.sessions.end(administrator)
        self.log.info("administrator-out", name=administrator.name, why=why)

    async def _look(self) -> None:
        """Look once; while the store is away, everybody stays who was let in before."""
        self.sessions.expire()
        for administrator in self.sessions:
            with contextlib.suppress(TryLater):
                await self._is_administrator(administrator)

    async def _is_administrator(self, administrator: Administrator) -> bool:
        """Return whether the account of a session is still what it was at the sign-in; if not, end the session.

        Raises:
            TryLater: the store does not answer.
        """
        was = administrator.account
        now = await (await self.store.opened()).store.accounts.find(was.key)
        if now and (now.id, now.epoch) == (was.id, was.epoch) and now.administrator and not now.disabled:
            return True
        self.end(administrator, "account-changed")
        return False
