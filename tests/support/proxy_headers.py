"""Headers of the PROXY protocol, as balancers send them."""

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPECIFIED, TCP4, TCP6 = 0x00, 0x11, 0x21
CLIENT, PORT = "203.0.113.7", 40_001
"""The client that the headers of these tests name."""
TLVS = b"\x03\x00\x04\xde\xad\xbe\xef" + b"\x05\x00\x0212" + b"\x20\x00\x05\x01\x00\x00\x00\x00"


def v1(client: str = CLIENT, port: int = PORT) -> bytes:
    """Return a header of version 1 that names `client`."""
    family, server = ("6", "2001:db8::1") if ":" in client else ("4", "192.0.2.1")
    return f"PROXY TCP{family} {client} {server} {port} 7862\r\n".encode()


def v2(client: str = CLIENT, port: int = PORT, tlvs: bytes = b"") -> bytes:
    """Return a header of version 2 that names `client`, with `tlvs` behind the addresses."""
    family, server = (TCP6, "2001:db8::1") if ":" in client else (TCP4, "192.0.2.1")
    addresses = b"".join(ipaddress.ip_address(each).packed for each in (client, server))
    return header(PROXY, family, addresses + struct.pack("!HH", port, 7862) + tlvs)


def header(command: int, family: int, rest: bytes = b"", length: int | None = None) -> bytes:
    """Return a header of version 2 with these fields; `length` says another length than that of `rest`."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest) if length is None else length) + rest
