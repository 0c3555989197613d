"""A real server in a thread of its own, for tests that are no coroutines."""

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from antiphon import blocking
from antiphon.address import Address
from antiphon.services import Handler, echo

if TYPE_CHECKING:
    from antiphon.server.server import Server

PASSWORD = "correct horse battery"  # noqa: S105 - of people who live as long as a test
"""What `connect` signs in with unless told otherwise."""


class RunningServer:
    """Serves `handler` on a free port of 127.0.0.1, over TLS, until the end of the block.

    `with RunningServer(handler) as server`, then `server.connect("ann")`. The end of the block leaves the sessions
    that it has given, and drains the server.
    """

    def __init__(self, handler: Handler = echo, folder: Path | None = None, **options: Any) -> None:
        """Prepare to serve from `folder`, by default a temporary one; `options` are single `ServerSettings`.

        Raises:
            ServiceInvalid: it cannot be served.
            SettingInvalid: an option holds what it cannot hold.
        """
        self._handler = handler
        self._folder = folder
        self._options: dict[str, Any] = {"port": 0, "host": "127.0.0.1", "drain_seconds": 2} | options
        self._server: Server
        self._loop: asyncio.AbstractEventLoop
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            UsageError: the settings ask for what cannot be had here.
        """
        from antiphon.server.server import Server  # noqa: PLC0415 - with SQL behind it, which costs 0.3 s

        with ExitStack() as closing:
            if self._folder is None:
                temporary = tempfile.TemporaryDirectory(prefix="antiphon-", ignore_cleanup_errors=True)
                self._folder = Path(closing.enter_context(temporary))
            self._server = Server(self._handler, data=self._folder, **self._options)
            self._loop = closing.enter_context(_loop_in_a_thread())
            self._run(self._server.__aenter__())
            closing.callback(lambda: self._run(self._server.stop()))
            self._closing = closing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the sessions, and stop it."""
        self._closing.__exit__(kind, error, trace)

    @property
    def address(self) -> Address:
        """Where it listens, with its key's fingerprint; `str` of it is ready to paste."""
        return self._server.addresses[0]

    @property
    def folder(self) -> Path:
        """Where it keeps its data; `server.log` among them has the traceback of a handler that raises."""
        return self._server.data_path

    def connect(self, name: str = "ann", password: str = PASSWORD) -> blocking.Session:
        """Sign in as `name`, who is registered if new, and return the session of the blocking client.

        It takes the time that the hashing of a password takes, a fifth of a second or two.

        Raises:
            AntiphonError: as `blocking.connect`.
        """
        session = blocking.connect(self.address, name=name, password=password, register=True)
        return self._closing.enter_context(contextlib.closing(session))

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()


@contextlib.contextmanager
def _loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop beside this thread; what still goes on in it at the end is cancelled."""
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
