"""Trust: what speaks for a server's key, and the file of known servers.

The file holds one line for each key, the host and the key's fingerprint. A key is known on every port of its host.
"""

import contextlib
import ipaddress
import os
from enum import Enum
from pathlib import Path

from platformdirs import user_data_path

from antiphon.address import Address
from antiphon.errors import KnownServersUnusable, ServerKeyChanged
from antiphon.files import make_private, reported


class Standing(Enum):
    """What speaks for a server's key."""

    PINNED = "the address carries it"
    KNOWN = "it is known for this host"
    VOUCHED = "the system's authorities vouch for it"
    UNKNOWN = "nothing"


class KnownServers:
    """The file of known servers."""

    def __init__(self, path: Path | None = None) -> None:
        """Use the file at `path`; by default `known_servers` in the user's data folder."""
        self.path = path or user_data_path("antiphon", appauthor=False) / "known_servers"

    def standing(self, address: Address, fingerprint: str) -> Standing:
        """Return what speaks for the key `fingerprint` that the server at `address` has shown.

        Raises:
            ServerKeyChanged: the address carries another key, or the host is known with other keys only.
        """
        if address.fingerprint is not None:
            if address.fingerprint == fingerprint:
                return Standing.PINNED
            raise self._changed(address.host, fingerprint, address.fingerprint)
        known = self._keys(address.host)
        if fingerprint in known:
            return Standing.KNOWN
        if known:
            raise self._changed(address.host, fingerprint, known[-1])
        return Standing.UNKNOWN

    def remember(self, host: str, fingerprint: str) -> None:
        """Add a key of `host`, as a line at the end, so that clients do not undo each other's.

        Raises:
            KnownServersUnusable: the file cannot be written.
        """
        if fingerprint in self._keys(host):
            return
        with reported(self.path, KnownServersUnusable):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            make_private(self.path)
            with self.path.open("a+b") as file:
                file.seek(-min(1, file.seek(0, os.SEEK_END)), os.SEEK_END)
                ended = file.read() in (b"", b"\n")  # an editor may have left the last line open
                file.write((b"" if ended else b"\n") + f"{_plain(host)} {fingerprint}\n".encode())

    def _changed(self, host: str, fingerprint: str, expected: str) -> ServerKeyChanged:
        return ServerKeyChanged(host=host, fingerprint=fingerprint, expected=expected, file=str(self.path))

    def _keys(self, host: str) -> list[str]:
        wanted = _plain(host)
        pairs = (line.split() for line in self._lines())
        return [pair[1] for pair in pairs if len(pair) == 2 and pair[0] == wanted]

    def _lines(self) -> list[str]:
        with reported(self.path, KnownServersUnusable):
            try:
                return self.path.read_text("utf-8", errors="replace").splitlines()
            except FileNotFoundError:
                return []


def _plain(host: str) -> str:
    """Return the canonical spelling of a host: lower case, addresses in their shortest form."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    return host.lower().rstrip(".")
