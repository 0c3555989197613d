"""PROXY protocol, versions 1 and 2: the header in which a balancer names the client of a connection.

The specification is HAProxy's, `proxy-protocol.txt`. This module does no I/O.
"""

import ipaddress
import re
import struct
from typing import Literal

Address = tuple[str, int]
"""Host and port of a client."""

Fault = Literal["no header", "broken header", "header too long", "not TCP"]
"""What is wrong with a header."""

V1_MOST = 107
"""Bytes of the longest header of version 1, its line end included (section 2.1)."""
V2_FIXED = 16
"""Bytes of version 2 that every header has: signature, version and command, family, length."""
V2_MOST = 2048
"""Bytes after these: 216 for the longest addresses, the rest for TLVs, which nobody reads here."""
READ_SIZE = V2_FIXED + V2_MOST
"""Bytes that the longest header has."""

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_END = b"\r\n"
_LINE = re.compile(r"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})")
_UNKNOWN = re.compile(r"PROXY UNKNOWN( [ -~]*)?")
_REST = struct.Struct("!BBH")
_LOCAL, _PROXY = 0x20, 0x21
"""Version 2, and the command."""
_SIZES = {0x00: 0, 0x11: 4, 0x21: 16}
"""Bytes of an address, by address family and transport: UNSPEC, TCP over IPv4, TCP over IPv6."""
_FAMILIES = frozenset({0x00, 0x10, 0x20, 0x30})
_TRANSPORTS = range(3)


class HeaderRefused(Exception):
    """The bytes are no header that counts; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        """Refuse because of `fault`."""
        super().__init__(fault)
        self.fault: Fault = fault


class ProxyHeader:
    """One header, as its bytes come in."""

    def __init__(self) -> None:
        """Begin before the first byte."""
        self._read = bytearray()
        self.complete = False
        self.client: Address | None = None
        """The client, once the header is complete. None if it names none: LOCAL, UNKNOWN or UNSPEC."""

    @property
    def empty(self) -> bool:
        """Whether no byte has come."""
        return not self._read

    def take(self, data: bytes) -> int:
        """Take what belongs to the header from `data`, which is not empty; return how many bytes that are.

        Precondition: the header is not complete.

        Raises:
            HeaderRefused: it is none, or none that counts.
        """
        before = len(self._read)
        seen = bytes(self._read) + data
        if seen.startswith(_V1[: len(seen)]):
            end = self._take_v1(seen)
        elif seen.startswith(_V2[: len(seen)]):
            end = self._take_v2(seen)
        else:
            raise HeaderRefused("no header")
        self._read += seen[before:end]
        return end - before

    def _take_v1(self, seen: bytes) -> int:
        """Return where the header ends, or the bytes end that are surely of it."""
        found = seen.find(_END, 0, V1_MOST)
        if found < 0:
            if len(seen) >= V1_MOST:
                raise HeaderRefused("header too long")
            return len(seen)
        try:
            line = seen[:found].decode("ascii")
        except UnicodeDecodeError:
            raise HeaderRefused("broken header") from None
        if not _UNKNOWN.fullmatch(line):
            self.client = _client_of(line)
        self.complete = True
        return found + len(_END)

    def _take_v2(self, seen: bytes) -> int:
        """Return where the header ends, or the bytes end that are surely of it."""
        if len(seen) < V2_FIXED:
            return len(seen)
        command: int
        family: int
        length: int
        command, family, length = _REST.unpack_from(seen, len(_V2))
        if command not in (_LOCAL, _PROXY):
            raise HeaderRefused("broken header")
        size = _address_size(family) if command == _PROXY else 0
        if length > V2_MOST:
            raise HeaderRefused("header too long")
        if size and length < 2 * size + 4:
            raise HeaderRefused("broken header")
        end = V2_FIXED + length
        if len(seen) < end:
            return len(seen)
        if size:
            (port,) = struct.unpack_from("!H", seen, V2_FIXED + 2 * size)
            self.client = _host(ipaddress.ip_address(seen[V2_FIXED : V2_FIXED + size])), port
        self.complete = True
        return end


def _address_size(family: int) -> int:
    """Return the bytes of an address in version 2; 0 if the header names none."""
    if family & 0xF0 not in _FAMILIES or family & 0x0F not in _TRANSPORTS:
        raise HeaderRefused("broken header")
    if family not in _SIZES:
        raise HeaderRefused("not TCP")
    return _SIZES[family]


def _client_of(line: str) -> Address:
    """Return the client that a line of version 1 names."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise HeaderRefused("broken header")
    family, client, server, *ports = found.groups()
    kind = ipaddress.IPv4Address if family == "4" else ipaddress.IPv6Address
    try:
        host, _ = kind(client), kind(server)
    except ValueError:
        raise HeaderRefused("broken header") from None
    if any(int(port) > 65535 for port in ports):
        raise HeaderRefused("broken header")
    return _host(host), int(ports[0])


def _host(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address as `accept` would give it: an IPv4 address that is mapped into IPv6 as itself."""
    return str(getattr(address, "ipv4_mapped", None) or address)
