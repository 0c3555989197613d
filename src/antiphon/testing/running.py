"""`RunningServer`: a real server in a thread of its own, for tests that are not coroutines."""

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from antiphon.address import Address
from antiphon.options import ServerOptions
from antiphon.services import Handler, Lifespan, echo
from antiphon.testing.reachable import Reachable

if TYPE_CHECKING:
    from antiphon.server.server import Server


class RunningServer(Reachable):
    """A server that serves `handler` on a free port of 127.0.0.1, over TLS, until the end of the block.

    `with RunningServer(handler) as server`, then `server.connect("ann")`. The end of the block leaves the sessions
    that `connect` returned, and drains the server.
    """

    def __init__(
        self,
        handler: Handler = echo,
        folder: str | os.PathLike[str] | None = None,
        *,
        lifespan: Lifespan | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        """Prepare to serve `handler`; the server starts at the beginning of the block.

        Args:
            handler: the service.
            folder: the data folder; a temporary one by default.
            lifespan: as for `Server`.
            options: fields of `ServerSettings`.
        """
        super().__init__()
        self._handler = handler
        self._lifespan = lifespan
        self._options: ServerOptions = {"port": 0, "host": "127.0.0.1", "data": folder, "drain_seconds": 2}
        self._options.update(options)
        self._server: Server
        self._loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Self:
        """Start the server.

        Raises:
            UsageError: the server cannot start: `handler` is not one (`ServiceInvalid`), or an option is invalid
                (`SettingInvalid`) or cannot be met on this machine.
        """
        from antiphon.server.server import Server  # noqa: PLC0415 - with SQL behind it, which costs 0.3 s

        with ExitStack() as closing:
            if self._options["data"] is None:
                temporary = tempfile.TemporaryDirectory(prefix="antiphon-", ignore_cleanup_errors=True)
                self._options["data"] = closing.enter_context(temporary)
            self._server = Server(self._handler, lifespan=self._lifespan, **self._options)
            self._loop = closing.enter_context(_loop_in_a_thread())
            self._run(self._server.__aenter__())
            closing.callback(lambda: self._run(self._server.stop()))
            self._closing = closing.pop_all()
        return self

    @property
    def address(self) -> Address:
        """The server's address with the fingerprint of its key; `str(address)` is ready to paste."""
        return self._server.addresses[0]

    @property
    def folder(self) -> Path:
        """The data folder; `server.log` in it has the traceback of a handler that raised."""
        return self._server.data_path

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()


@contextlib.contextmanager
def _loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread; tasks that still run at the end of the block are cancelled."""
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        running.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="antiphon.testing")
    thread.start()
    loop, stop = running.result()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
