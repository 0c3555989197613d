"""Status endpoint: serves `--status` over HTTP, in a thread with an event loop of its own.

A handler that blocks the server does not keep it from answering. What it imports is imported only here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING, Literal

from antiphon.address import status_place, written_place
from antiphon.data.folder import DataFolder
from antiphon.errors import AddressUnavailable, AntiphonError, PortTaken, Problem, SettingInvalid
from antiphon.language import N_
from antiphon.observe.log import ServerLog
from antiphon.server.control.report import ServerReport
from antiphon.server.forking import give_up_in_children
from antiphon.server.listen.ports import Listening, listen
from antiphon.server.status.source import Look, Source

if TYPE_CHECKING:
    from antiphon.data.certificate import Certificate

POST_SECONDS = 1.0
"""Pause between two reports; workers report as often."""
END_SECONDS = 1
"""Time for answers in progress at the end."""
PACKAGES = ("starlette", "uvicorn", "prometheus_client")

_MISSING = Problem(N_("needs packages that pip install 'antiphon[status]' brings"))
_TAKEN = Problem(N_("port {port} is taken on {host}"))


class StatusEndpoint:
    """The endpoint of one server. `serving_status` makes it."""

    def __init__(
        self,
        listening: Listening,
        log: ServerLog,
        *,
        folder: DataFolder,
        store: str,
        host: str,
        certificate: "Certificate | None",
    ) -> None:
        """Answer at the sockets of `listening`, once it is started; a fault goes to `log`.

        Args:
            listening: where to answer.
            log: the server's.
            folder: the data folder.
            store: the value of `--store`, for the sign-in to the page.
            host: as `--status` names it.
            certificate: that of the server, for TLS; None for plain HTTP.
        """
        from uvicorn import Config  # noqa: PLC0415 - only with the extra antiphon[status]

        from antiphon.server.status.access.guard import Guard  # noqa: PLC0415 - likewise
        from antiphon.server.status.access.origin import Reach  # noqa: PLC0415 - likewise
        from antiphon.server.status.access.store import PageStore  # noqa: PLC0415 - likewise
        from antiphon.server.status.app import status_app  # noqa: PLC0415 - likewise
        from antiphon.server.status.listener import CONNECTIONS_MOST, HttpListener  # noqa: PLC0415 - likewise
        from antiphon.server.status.page.routes import Pages  # noqa: PLC0415 - likewise

        self._log = log
        self._source = Source()
        self._sockets = list(listening.sockets)
        self._folder = folder
        self._host = host
        self._certificate = certificate
        place = written_place(listening.hosts[0], listening.port)
        self.place = f"https://{place}" if certificate else place
        """Host and port where it answers; over TLS, after `https://`."""
        self._posting: asyncio.Task[None] | None = None
        self._reach = Reach(
            scheme="https" if certificate else "http",
            loopback=listening.loopback,
            names=names_of(host, certificate),
        )
        self._guard = Guard(self._reach, PageStore(store, folder.path, log), log)
        self._pages = Pages(self._source)
        self._server = HttpListener(
            Config(
                status_app(self._source, self._guard, self._pages),
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
            ),
            lambda: self._certificate,
        )
        self._loop: asyncio.AbstractEventLoop
        """Of the thread."""
        self._thread = Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def follow(self, report: Callable[[], ServerReport], look: Look) -> None:
        """Answer from now on by what `report` returns, and `look` to those who look.

        Both are called in the running event loop.
        """
        self._source.answer_with(look)
        self._posting = asyncio.get_running_loop().create_task(self._post(report))

    def reload(self) -> None:
        """Load the certificate again, for connections from now on; if it is broken, the old one stays.

        It blocks while files are read.
        """
        if self._certificate is None:
            return
        try:
            certificate = _certificate(self._folder, self._host)
        except AntiphonError as error:
            self._log.error("reload-failed", code=error.code, why=str(error))
            return
        self._reach.names = names_of(self._host, certificate)
        self._certificate = certificate

    async def close(self) -> None:
        """Answer no more."""
        self._source.answer_with(None)
        if self._posting is not None:
            self._posting.cancel()
            await asyncio.wait({self._posting})
        self._server.should_exit = True
        self._pages.stop()
        await asyncio.to_thread(self._thread.join, 2 * END_SECONDS)

    async def _post(self, report: Callable[[], ServerReport]) -> None:
        while True:
            self._source.post(report())
            await asyncio.sleep(POST_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:  # noqa: BLE001 - nobody waits for this thread; the server goes on
            self._log.exception("fault")
        finally:  # uvicorn closes them, unless it is to end while it starts
            for each in self._sockets:
                each.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        guarding = self._loop.create_task(self._guard.run())
        try:
            await self._server.serve(sockets=self._sockets)
        finally:
            guarding.cancel()
            await asyncio.wait({guarding})


def names_of(host: str, certificate: "Certificate | None") -> frozenset[str]:
    """Return the names under which the page is asked: as `--status` has it, and those of the certificate."""
    named = certificate.names if certificate else ()
    return frozenset(name.lower() for name in ("localhost", host, *named))


@contextlib.asynccontextmanager
async def serving_status(
    place: str | None, folder: DataFolder, store: str, log: ServerLog
) -> AsyncIterator[StatusEndpoint | None]:
    """Answer at `place`, the value of `--status`, in the block; without one do nothing.

    `folder` is the data folder, `store` the value of `--store`.

    Raises:
        SettingInvalid: the packages are missing, or nobody can listen there.
        UsageError: the certificate cannot be used, as `load_or_make` says.
    """
    if place is None:
        yield None
        return
    listening = listening_for_status(place)
    give_up_in_children(listening.sockets)
    try:
        scheme, host, _ = _parsed(place)
        certificate = await asyncio.to_thread(_certificate, folder, host) if scheme == "https" else None
        endpoint = StatusEndpoint(listening, log, folder=folder, store=store, host=host, certificate=certificate)
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
    _, host, port = _parsed(place)
    try:
        return listen(host, port, strict=True)
    except PortTaken:
        raise SettingInvalid(source="--status", problem=_TAKEN, port=port, host=host) from None
    except AddressUnavailable as error:
        raise SettingInvalid(source="--status", problem=error.fields["problem"]) from None


def _parsed(place: str) -> tuple[Literal["http", "https"], str, int]:
    asked = status_place(place)
    assert asked is not None, "settings have seen to it"
    return asked


def _certificate(folder: DataFolder, host: str) -> "Certificate":
    from antiphon.data.certificate import load_or_make  # noqa: PLC0415 - a supervisor needs it for this alone

    return load_or_make(folder, [host])
