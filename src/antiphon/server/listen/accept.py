"""Accept loop: hands over each client that connects to a listening socket.

The loop is our own because asyncio's takes 50 to 300 KiB for TLS before any of our code runs, and stops at the
first handshake that is awaited in it.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

from antiphon.observe.log import ServerLog

RETRY_SECONDS = 0.2
"""Pause before the next accept when the machine has no descriptor or memory left (promise 25)."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Take = Callable[[socket.socket, tuple[Any, ...], float], None]
"""Takes an accepted socket, the address of its peer, and the loop time at which it was accepted."""


class Acceptor:
    """Accepts on one listening socket until its task is cancelled."""

    def __init__(
        self, listener: socket.socket, take: Take, log: ServerLog, *, room: asyncio.Event | None = None
    ) -> None:
        """Accept from `listener`, which must not block.

        Args:
            listener: the socket, bound and listening.
            take: takes each socket.
            log: where a machine that has nothing left is written.
            room: accept only while it is set; without it always.
        """
        self._listener = listener
        self._take = take
        self._log = log
        self._room = room
        self._stopped: asyncio.Future[OSError | None]
        """Set to the error when the machine has no descriptor or memory left, to None when there is no room."""
        self._logged = False
        """Whether the log knows of that error."""

    async def run(self) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if self._room is not None:
                await self._room.wait()
            stopped = self._stopped = loop.create_future()
            try:
                loop.add_reader(self._listener, self._accept)
                error = await stopped
            except OSError as unwatched:  # the system watches no more sockets
                error = unwatched
            finally:
                loop.remove_reader(self._listener)
            if error is None:
                continue
            if not self._logged:
                self._log.error("accept-exhausted", problem=error.strerror)
                self._logged = True
            # Open connections are served: a pause beats spinning on a socket that cannot be accepted.
            await asyncio.sleep(RETRY_SECONDS)

    def _accept(self) -> None:
        """Accept one socket; the loop calls again for the next one, after other connections had their turn."""
        try:
            client, socket_address = self._listener.accept()
            self._logged = False
            self._take(client, _without_mapping(socket_address), asyncio.get_running_loop().time())
        except OSError as error:
            # Any other error is of a client that closed before it was accepted.
            if error.errno in _EXHAUSTED:
                self._stop(error)
        except Exception:  # noqa: BLE001 - a fault with one client must not keep others out
            self._log.exception("fault")
        if self._room is not None and not self._room.is_set():
            self._stop(None)

    def _stop(self, error: OSError | None) -> None:
        if not self._stopped.done():
            self._stopped.set_result(error)


def _without_mapping(address: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the address of a peer; one of IPv4 at a socket for both is mapped into IPv6 (RFC 4291, 2.5.5.2)."""
    host = address[0].removeprefix("::ffff:")
    return (host, address[1]) if "." in host and ":" not in host else address
