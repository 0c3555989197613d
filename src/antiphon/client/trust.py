"""Trust: what speaks for a server's key, and the file of known servers.

A line of the file holds `HOST:PORT FINGERPRINT`, and perhaps a comment. Several fingerprints in a line, with `+`
between them, are those of the nodes of one server. `HOST FINGERPRINT`, the form of earlier
versions, is for every port that has no line of its own. Empty lines and lines that begin with `#` are passed over;
any other line that cannot be read is an error, as it may be the one that matters.
"""

import contextlib
import ipaddress
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from antiphon.address import Address, is_fingerprint, parse_place, split_fingerprints, written_place
from antiphon.errors import KnownServersUnusable, Problem, ServerKeyChanged, UsageError
from antiphon.files import make_missing, make_private, read_private, reported, user_folder, write_atomically
from antiphon.language import N_

_BOM = b"\xef\xbb\xbf"
_UNREADABLE = Problem(N_("line {line} is not HOST:PORT and a key such as sha256:…"))
_HOMELESS = Problem(N_("This user has no home folder: name a file with --known-servers."))
_FORGET = Problem(N_(", or forget the old one: antiphon known-servers forget {place} (lines of {file}: {lines})"))


class Standing(Enum):
    """What speaks for a server's key."""

    PINNED = "the address carries it"
    KNOWN = "it is known for this host and port"
    VOUCHED = "the system's authorities vouch for it"
    UNKNOWN = "nothing"


@dataclass(frozen=True)
class KnownKey:
    """One line of the file of known servers."""

    line: int
    """Number of the line, from 1."""
    host: str
    port: int | None
    """None: any port that has no line of its own."""
    fingerprint: str
    """as an address carries it; several with `+` between them"""
    comment: str

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Each fingerprint of the line."""
        return split_fingerprints(self.fingerprint)

    def concerns(self, host: str, port: int | None) -> bool:
        """Return whether the line is about `host` and `port`; about the host alone if the port is None."""
        return self.host == _plain(host) and (port is None or self.port in (None, port))


class KnownServers:
    """The file of known servers."""

    def __init__(self, path: Path | None = None) -> None:
        """Use the file at `path`; by default `known_servers` in the user's data folder."""
        folder = user_folder("data")
        self._path = path or (folder and folder / "known_servers")

    @property
    def path(self) -> Path:
        """The file.

        Raises:
            UsageError: none was named, and this user has no home folder.
        """
        if self._path is None:
            raise UsageError(problem=_HOMELESS)
        return self._path

    def standing(self, address: Address, fingerprint: str) -> Standing:
        """Return what speaks for the key `fingerprint` that the server at `address` has shown.

        Raises:
            ServerKeyChanged: the address carries another key, or only other keys are known for host and port.
            KnownServersUnusable, FolderUnsafe: as `read`.
        """
        if address.fingerprint is not None:
            if fingerprint in address.fingerprints:
                return Standing.PINNED
            expected = ", ".join(address.fingerprints)
            raise ServerKeyChanged(host=address.host, fingerprint=fingerprint, expected=expected, remedy="")
        concerned = [key for key in self.read() if key.concerns(address.host, address.port)]
        decisive = _decisive(concerned)
        if any(fingerprint in key.fingerprints for key in decisive):
            return Standing.KNOWN
        if not decisive:
            return Standing.UNKNOWN
        raise ServerKeyChanged(
            host=address.host,
            fingerprint=fingerprint,
            expected=decisive[-1].fingerprint,
            remedy=_FORGET,
            file=str(self.path),
            lines=", ".join(str(key.line) for key in concerned),
            place=written_place(address.host, address.port),
        )

    def remember(self, host: str, fingerprint: str, port: int | None = None) -> None:
        """Add a key of `host` and `port`, as a line at the end, so that clients do not undo each other's.

        Several keys of one server, as an address carries them, go into one line.
        A port of None is any port that has no line of its own.

        Raises:
            UsageError: the file cannot be read or written, as `read` says, or there is no place for it.
        """
        concerned = [key for key in self.read() if key.concerns(host, port)]
        decisive = _decisive(concerned) if port is not None else [key for key in concerned if key.port is None]
        added = split_fingerprints(fingerprint)
        if any(set(added) <= set(key.fingerprints) for key in decisive):
            return
        with reported(self.path, KnownServersUnusable):
            make_missing(self.path.parent)
            make_private(self.path)
            with self.path.open("a+b") as file:
                file.seek(-min(1, file.seek(0, os.SEEK_END)), os.SEEK_END)
                ended = file.read() in (b"", b"\n")  # an editor may have left the last line open
                line = f"{written_place(_plain(host), port)} {fingerprint}\n"
                file.write((b"" if ended else b"\n") + line.encode())

    def together(self, address: Address, fingerprint: str) -> set[str]:
        """Return the keys that stand in a line with `fingerprint` for the place of `address`: one server's.

        Raises:
            KnownServersUnusable, FolderUnsafe: as `read`.
        """
        decisive = _decisive([key for key in self.read() if key.concerns(address.host, address.port)])
        lines = (key.fingerprints for key in decisive if fingerprint in key.fingerprints)
        return {each for line in lines for each in line}

    def forget(self, host: str, port: int | None) -> list[KnownKey]:
        """Remove the lines that concern `host`, and `port` unless it is None; return them.

        Raises:
            KnownServersUnusable: the file cannot be read or written.
            FolderUnsafe: as `read`.
        """
        forgotten = [key for key in self.read() if key.concerns(host, port)]
        if forgotten:
            numbers = {key.line for key in forgotten}
            lines = self._content().splitlines(keepends=True)
            kept = [line for number, line in enumerate(lines, 1) if number not in numbers]
            write_atomically(self.path, b"".join(kept), KnownServersUnusable)
        return forgotten

    def read(self) -> list[KnownKey]:
        """Return the known keys, in the order of the file; none if there is no file.

        Raises:
            KnownServersUnusable: the file, or a line of it, cannot be read.
            FolderUnsafe: another user could write to the file. One that others can only read is closed to them.
        """
        keys = []
        for number, line in enumerate(self._content().splitlines(), 1):
            text = line.decode("utf-8", errors="replace").strip()
            if text and not text.startswith("#"):
                keys.append(self._key(number, text))
        return keys

    def _key(self, number: int, text: str) -> KnownKey:
        place, fingerprint, *comment = [*text.split(maxsplit=2), ""]
        with contextlib.suppress(UsageError):
            host, port = parse_place(place)
            if is_fingerprint(fingerprint):
                return KnownKey(number, _plain(host), port, fingerprint, comment[0] if comment else "")
        raise KnownServersUnusable(path=str(self.path), problem=_UNREADABLE, line=number)

    def _content(self) -> bytes:
        if self._path is None:
            return b""
        content = read_private(self.path, tighten=True, unusable=KnownServersUnusable) or b""
        return content.removeprefix(_BOM)


def _decisive(concerned: list[KnownKey]) -> list[KnownKey]:
    """Return the keys that count among those for one host and port: its own, else those for any port."""
    return [key for key in concerned if key.port is not None] or concerned


def _plain(host: str) -> str:
    """Return the canonical spelling of a host: lower case, addresses in their shortest form."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    return host.lower().rstrip(".")
