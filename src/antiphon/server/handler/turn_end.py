"""Turn end: writes answers of several connections one behind the other, when the handlers of a turn have run."""

import asyncio

from antiphon.wire.held import HeldMessages

AT_ONCE_MOST = 16
"""Answers of a connection that are written at once after one beside which no other connection had any."""


class TurnEnd:
    """Answers that wait for the end of the turn, of all connections of a server.

    Handlers that wait for timers end in the same iteration of the event loop, one for each of many sessions. To
    run all of them and then to send all answers costs less than to do both by turns: the code of the interpreter
    and that of the kernel do not displace each other from the caches.
    """

    __slots__ = ("_writing", "due")

    def __init__(self) -> None:
        """Have none."""
        self._writing = False
        """`_write` is due."""
        self.due: list[HeldMessages] = []
        """Whose answers wait; always the same list."""

    def grew(self) -> None:
        """Write the answers in the next iteration if `due` has one entry, else now."""
        if len(self.due) > 1:
            self._write_all()
        elif not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._writing = False
        if len(self.due) == 1:
            self.due[0].at_once = AT_ONCE_MOST
        self._write_all()

    def _write_all(self) -> None:
        due = self.due[:]
        self.due.clear()  # before the writes, which may add others
        for held in due:
            try:
                held.write_late()
            except Exception as error:  # noqa: BLE001 - the caller may be the handler of another connection
                failure = {"message": "a late answer could not be written", "exception": error}
                asyncio.get_running_loop().call_exception_handler(failure)
