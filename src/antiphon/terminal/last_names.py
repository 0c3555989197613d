"""Names that a person has signed in with last, which are the defaults when a name is asked for.

The file `last_names` stands beside the file of known servers. A line holds `HOST:PORT NAME`; the newest line
is the last. It is a convenience: a file that cannot be read or written is passed over.
"""

import contextlib
from pathlib import Path

from antiphon.address import Address, written_place
from antiphon.errors import UsageError
from antiphon.files import make_missing, read_private, write_atomically
from antiphon.identity.names import prepare

FILE = "last_names"
MOST = 100
"""Servers that are remembered."""


class LastNames:
    """The names used last, by server."""

    def __init__(self, known_servers: Path) -> None:
        """Use the file beside `known_servers`."""
        self._path = known_servers.parent / FILE

    def find(self, address: Address) -> str:
        """Return the name used last at the server at `address`, else at any server; empty if there is none."""
        lines = self._lines()
        here = [name for place, name in lines if place == _place(address)]
        for name in (here or [name for _, name in lines])[-1:]:
            with contextlib.suppress(UsageError):
                return prepare(name).display
        return ""

    def remember(self, address: Address, name: str) -> None:
        """Note that `name` has signed in at `address`; what the server says and is no name is passed over."""
        try:
            added = (_place(address), prepare(name).display)
        except UsageError:
            return
        lines = self._lines()
        if lines[-1:] == [added]:
            return
        kept = [line for line in lines if line[0] != added[0]][1 - MOST :]
        data = "".join(f"{place} {name}\n" for place, name in [*kept, added]).encode()
        with contextlib.suppress(UsageError, OSError):
            make_missing(self._path.parent)
            write_atomically(self._path, data)

    def _lines(self) -> list[tuple[str, str]]:
        with contextlib.suppress(UsageError):
            text = (read_private(self._path, most=64 * 1024) or b"").decode("utf-8", "replace")
            split = (line.partition(" ") for line in text.splitlines())
            return [(place, name) for place, _, name in split if place and name]
        return []


def _place(address: Address) -> str:
    return written_place(address.host.lower(), address.port)
