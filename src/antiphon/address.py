"""Server addresses: parse and write `tls://name@host:7862#sha256:...`, one line that a person can paste.

Host names are resolved elsewhere, and `identity.names` checks names.
"""

import contextlib
import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

from antiphon.errors import AddressInvalid, PortInvalid, Problem
from antiphon.language import N_

Scheme = Literal["tls", "tcp"]

DEFAULT_PORT = 7862
BETWEEN_KEYS = "+"
"""Between the fingerprints of an address: nodes behind one address may have keys of their own."""
RELAY_PORTS = range(7700, 7828)
"""Ports for relays of other nodes, by default: each process takes one. A server has 64 workers at most, and in a
restart without a gap as many again that drain."""

_SCHEMES: dict[str, Scheme] = {"tls": "tls", "tcp": "tcp"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_FINGERPRINT = re.compile(r"sha256:[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
"""32 bytes in base64url. The last of the 43 characters holds only four bits: each fingerprint has one spelling."""
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?", re.DOTALL)
_ZONE = re.compile(r"[A-Za-z0-9_.-]+")
"""Zone of a link-local address (RFC 4007). `ipaddress` would accept any text here."""
_LISTENING = re.compile(r"(?:\[([^\s\[\]]+)\]|([^\s:\[\]]+)):([0-9]{1,5})")
_RELAY_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]*]+))(?::([0-9]{1,5})(?:-([0-9]{1,5}))?)?")
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DELIMITERS = frozenset("/?#@")
"""Address parsers disagree on which of these ends the host, so a name that holds one of them raw is refused."""


@dataclass(frozen=True)
class Address:
    """The address of a server; `str(address)` is ready to paste, and `parse` turns it back into an equal one.

    `host` is a name in lower case or an IP address in its short form, without brackets; `port` is from 1 to
    65535; `name` is the name to sign in with; `fingerprint` is the one that the server's key must have, or several
    with `+` between them, one of which it must have.
    """

    scheme: Scheme
    host: str
    port: int
    name: str | None = None
    fingerprint: str | None = None

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The fingerprints of the keys that the server may have; empty if it may have any."""
        return split_fingerprints(self.fingerprint) if self.fingerprint else ()

    def __str__(self) -> str:
        """Return the address as one line to paste."""
        name = f"{_quoted(self.name)}@" if self.name else ""
        fingerprint = f"#{self.fingerprint}" if self.fingerprint else ""
        return f"{self.scheme}://{name}{written_place(self.host, self.port)}{fingerprint}"


def parse(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """Parse an address: `tls://name@host:7862#sha256:...` or a part of it, down to `host`.

    The scheme defaults to `tls`. The name may be plain or percent-encoded (RFC 3986). An IPv6 address followed by
    a port needs brackets. White space around the address is ignored.

    Raises:
        AddressInvalid: with the first thing that is wrong; a password in `text` is never repeated.
        PortInvalid: the port is not a number from 1 to 65535.
    """
    text = text.strip()
    written = _SCHEME.match(text)
    start = written.end() if written else 0
    user, at, place = text[start:].rpartition("@")
    if ":" in user:
        shown = text[: text.index(":", start)]
        raise AddressInvalid(address=f"{shown}:…", problem=Problem(N_("a password does not belong in it")))
    scheme = _SCHEMES.get(written[1].lower() if written else "tls")
    if scheme is None:
        raise AddressInvalid(address=text, problem=Problem(N_("it begins with neither tls:// nor tcp://")))
    name = _name(user, text) if at else None
    place, hash_sign, fingerprint = place.partition("#")
    if hash_sign:
        _check_fingerprint(scheme, fingerprint, text)
    host, port = _host_and_port(place.removesuffix("/"), text)
    return Address(scheme, host, default_port if port is None else _port(port), name, fingerprint or None)


def parse_place(text: str) -> tuple[str, int | None]:
    """Parse `host`, `host:port` or `[IPv6 address]:port`; return the host as in `Address`, and the port or None.

    Raises:
        AddressInvalid: with the first thing that is wrong.
        PortInvalid: the port is not a number from 1 to 65535.
    """
    host, port = _host_and_port(text, text)
    return host, None if port is None else _port(port)


def listening_place(text: str) -> tuple[str, int] | None:
    """Return host and port of `host:port` or `[IPv6 address]:port` to listen on; None if `text` is no such thing.

    The host is not looked at; port 0 means any free one.
    """
    written = _LISTENING.fullmatch(text)
    if written is None or int(written[3]) > 65535:
        return None
    return written[1] or written[2], int(written[3])


def relay_place(text: str) -> tuple[str, int, int] | None:
    """Return the host and the first and last port of `host`, `host:port` or `host:port-port`; None for others.

    Without ports they are `RELAY_PORTS`.
    """
    written = _RELAY_PLACE.fullmatch(text)
    if written is None:
        return None
    host = written[1] or written[2]
    if written[3] is None:
        return host, RELAY_PORTS[0], RELAY_PORTS[-1]
    first = int(written[3])
    last = int(written[4] or first)
    return (host, first, last) if 0 < first <= last <= 65535 else None


def status_place(text: str) -> tuple[Literal["http", "https"], str, int] | None:
    """Return scheme, host and port of a value of `--status`; None if `text` is no such thing.

    `http://` may be left out. The rest is as `listening_place` has it.
    """
    secure = text.startswith("https://")
    place = listening_place(text.removeprefix("https://" if secure else "http://").removesuffix("/"))
    return None if place is None else ("https" if secure else "http", *place)


def written_place(host: str, port: int | None) -> str:
    """Return host and port as addresses hold them; without a port, the host alone."""
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_fingerprint(text: str) -> bool:
    """Return whether `text` is the fingerprint of a key, `sha256:` and 43 characters, or several of them."""
    return all(_FINGERPRINT.fullmatch(each) for each in split_fingerprints(text))


def split_fingerprints(text: str) -> tuple[str, ...]:
    """Return each fingerprint in a text that holds one, or several with `+` between them."""
    return tuple(text.split(BETWEEN_KEYS))


def _name(user: str, text: str) -> str:
    if not user:
        raise AddressInvalid(address=text, problem=Problem(N_("there is no name before the @")))
    if not _DELIMITERS.isdisjoint(user) or _BROKEN_PERCENT.search(user):
        raise AddressInvalid(address=text, problem=Problem(N_("its name is not percent-encoded correctly")))
    try:
        name = unquote(user, errors="strict")
        name.encode()
    except UnicodeError:
        raise AddressInvalid(address=text, problem=Problem(N_("its name is not UTF-8"))) from None
    return name


def _check_fingerprint(scheme: Scheme, fingerprint: str, text: str) -> None:
    if not is_fingerprint(fingerprint):
        problem = Problem(N_("what follows the # is not sha256: and 43 characters"))
        raise AddressInvalid(address=text, problem=problem)
    if scheme == "tcp":
        raise AddressInvalid(
            address=text, problem=Problem(N_("plain tcp:// has no key, so it takes no fingerprint"))
        )


def _host_and_port(place: str, text: str) -> tuple[str, str | None]:
    """Split `place` into host and port: an IP address in its short form, None for a missing port."""
    bracketed = _BRACKETED.fullmatch(place)
    if bracketed:
        return _ipv6(bracketed[1], text), bracketed[2]
    if place.count(":") > 1:
        return _ipv6(place, text), None
    host, colon, port = place.partition(":")
    if not host:
        raise AddressInvalid(address=text, problem=Problem(N_("the host is missing")))
    if not all(character in "-._" or unicodedata.category(character)[0] in "LMN" for character in host):
        raise AddressInvalid(
            address=text, problem=Problem(N_("its host has a character that no host name can have"))
        )
    return host.lower(), port if colon else None


def _ipv6(host: str, text: str) -> str:
    with contextlib.suppress(ValueError):
        address = ipaddress.IPv6Address(host)
        if address.scope_id is None or _ZONE.fullmatch(address.scope_id):
            return str(address)
    problem = Problem(N_("its IPv6 address is not valid (with a port, write [address]:port)"))
    raise AddressInvalid(address=text, problem=problem)


def _port(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text) and 1 <= (port := int(text)) <= 65535:
        return port
    raise PortInvalid(port=text, lowest=1)


def _quoted(name: str) -> str:
    """Percent-encode `name`: only the characters that an address, a shell or a terminal would misread."""
    return "".join(c if not c.isascii() and c.isprintable() else quote(c, safe="") for c in name)
