"""Status endpoint: serves `--status` over HTTP, in a thread with an event loop of its own.

A handler that blocks the server does not keep it from answering. What it imports is imported only here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from threading import Thread

from antiphon.address import listening_place, written_place
from antiphon.errors import AddressUnavailable, PortTaken, Problem, SettingInvalid
from antiphon.language import N_
from antiphon.observe.log import ServerLog
from antiphon.server.control.report import ServerReport
from antiphon.server.forking import give_up_in_children
from antiphon.server.listen.ports import Listening, listen
from antiphon.server.status.board import StatusBoard

POST_SECONDS = 1.0
"""Pause between two reports; workers report as often."""
CONNECTIONS_MOST = 64
"""Connections at once; further ones get 503."""
END_SECONDS = 1
"""Time for answers in progress at the end."""
PACKAGES = ("starlette", "uvicorn", "prometheus_client")

_MISSING = Problem(N_("needs packages that pip install 'antiphon[status]' brings"))
_TAKEN = Problem(N_("port {port} is taken on {host}"))


class StatusEndpoint:
    """The endpoint of one server. `serving_status` makes it."""

    def __init__(self, listening: Listening, log: ServerLog) -> None:
        """Answer at the sockets of `listening`, once it is started; a fault goes to `log`."""
        from uvicorn import Config, Server  # noqa: PLC0415 - only with the extra antiphon[status]

        from antiphon.server.status.app import status_app  # noqa: PLC0415 - likewise

        self._log = log
        self._board = StatusBoard()
        self._sockets = list(listening.sockets)
        self.place = written_place(listening.hosts[0], listening.port)
        """Host and port where it answers."""
        self._posting: asyncio.Task[None] | None = None
        self._server = Server(
            Config(
                status_app(self._board.read),
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS_MOST,
                timeout_graceful_shutdown=END_SECONDS,
            )
        )
        self._thread = Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def follow(self, report: Callable[[], ServerReport]) -> None:
        """Answer from now on by what `report` returns, which is called in the running event loop."""
        self._posting = asyncio.get_running_loop().create_task(self._post(report))

    async def close(self) -> None:
        """Answer no more."""
        if self._posting is not None:
            self._posting.cancel()
            await asyncio.wait({self._posting})
        self._server.should_exit = True
        await asyncio.to_thread(self._thread.join, 2 * END_SECONDS)

    async def _post(self, report: Callable[[], ServerReport]) -> None:
        while True:
            self._board.post(report())
            await asyncio.sleep(POST_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=self._sockets))
        except Exception:  # noqa: BLE001 - nobody waits for this thread; the server goes on
            self._log.exception("fault")
        finally:  # uvicorn closes them, unless it is to end while it starts
            for each in self._sockets:
                each.close()


@contextlib.asynccontextmanager
async def serving_status(place: str | None, log: ServerLog) -> AsyncIterator[StatusEndpoint | None]:
    """Answer at `place`, the value of `--status`, in the block; without one do nothing.

    Raises:
        SettingInvalid: the packages are missing, or nobody can listen there.
    """
    if place is None:
        yield None
        return
    listening = listening_for_status(place)
    give_up_in_children(listening.sockets)
    try:
        endpoint = StatusEndpoint(listening, log)
        endpoint.start()
    except BaseException:
        listening.close()
        raise
    if not listening.loopback:
        log.warning("status-exposed", address=endpoint.place)
    try:
        yield endpoint
    finally:
        await endpoint.close()


def listening_for_status(place: str) -> Listening:
    """Listen at `place`, the value of `--status`.

    Raises:
        SettingInvalid: the packages are missing, or nobody can listen there.
    """
    if any(find_spec(package) is None for package in PACKAGES):
        raise SettingInvalid(source="--status", problem=_MISSING)
    asked = listening_place(place)
    assert asked is not None, "settings have seen to it"
    host, port = asked
    try:
        return listen(host, port, strict=True)
    except PortTaken:
        raise SettingInvalid(source="--status", problem=_TAKEN, port=port, host=host) from None
    except AddressUnavailable as error:
        raise SettingInvalid(source="--status", problem=error.fields["problem"]) from None
