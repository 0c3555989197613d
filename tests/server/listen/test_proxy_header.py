"""Headers of the PROXY protocol: what they name, where they end, and what is none."""

import pytest

from antiphon.server.listen.proxy_header import READ_SIZE, V1_MOST, V2_MOST, HeaderRefused, ProxyHeader
from support.proxy_headers import (
    CLIENT,
    LOCAL,
    PORT,
    PROXY,
    SIGNATURE,
    TCP4,
    TCP6,
    TLVS,
    UNSPECIFIED,
    header,
    v1,
    v2,
)

AFTER = b"\x16\x03\x01"
LONGEST_V1 = f"PROXY UNKNOWN {'f' * 91}\r\n".encode()
HEADERS = [
    (v1(), (CLIENT, PORT)),
    (v1("2001:db8::7", 0), ("2001:db8::7", 0)),
    (v1("::ffff:203.0.113.7"), (CLIENT, PORT)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (LONGEST_V1, None),
    (v2(), (CLIENT, PORT)),
    (v2("2001:db8::7"), ("2001:db8::7", PORT)),
    (v2("::ffff:203.0.113.7", 65535), (CLIENT, 65535)),
    (v2(tlvs=TLVS), (CLIENT, PORT)),
    (v2(tlvs=b"\x04" + (V2_MOST - 15).to_bytes(2) + bytes(V2_MOST - 15)), (CLIENT, PORT)),
    (header(LOCAL, UNSPECIFIED), None),
    (header(LOCAL, TCP4, bytes(12)), None),
    (header(LOCAL, 0x31, b"of no use"), None),
    (header(LOCAL, 0xFF, b"of no use"), None),
    (header(PROXY, UNSPECIFIED, TLVS), None),
]


def read(*pieces: bytes) -> tuple[ProxyHeader, int]:
    """Return a header after these pieces, and how many bytes of them it has taken."""
    found, taken, left = ProxyHeader(), 0, b""
    for piece in pieces:
        left += piece
        while left and not found.complete:
            count = found.take(left)
            assert 0 < count <= len(left)
            taken, left = taken + count, left[count:]
    return found, taken


@pytest.mark.parametrize(("data", "client"), HEADERS)
def test_a_header_names_its_client_and_ends_where_it_ends_however_it_is_split(
    data: bytes, client: tuple[str, int] | None
) -> None:
    for at in range(len(data)) if len(data) < 200 else (1, 15, 16, 17, len(data) - 1):
        for pieces in ((data[:at], data[at:] + AFTER), (data[:at], data[at:])):
            found, taken = read(*pieces)
            assert (found.complete, found.client, taken) == (True, client, len(data)), at
    found, taken = read(*(bytes([byte]) for byte in data + AFTER))
    assert (found.complete, found.client, taken) == (True, client, len(data))


@pytest.mark.parametrize("data", [data for data, _ in HEADERS])
def test_a_second_header_is_not_taken(data: bytes) -> None:
    assert read(data + data)[1] == len(data)


def test_the_longest_headers_are_as_long_as_may_be() -> None:
    assert len(LONGEST_V1) == V1_MOST
    assert max(len(data) for data, _ in HEADERS) == READ_SIZE


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x16\x03\x01\x02\x00", "no header"),
        (b"GET / HTTP/1.1\r\n", "no header"),
        (b"PROXX", "no header"),
        (b"proxy TCP4", "no header"),
        (b"\r\n\r\n\r", "no header"),
        (SIGNATURE[:11] + b"\0", "no header"),
        (b"PROXY\tTCP4", "no header"),
        (f"PROXY UNKNOWN {'f' * 92}\r\n".encode(), "header too long"),
        (b"PROXY " + b"\r" * 200, "header too long"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n" + b"x" * 80, "header too long"),
        (b"PROXY \r\n", "broken header"),
        (b"PROXY UNKNOWNX\r\n", "broken header"),
        (b"PROXY UNKNOWN \x00\r\n", "broken header"),
        (b"PROXY UNKNOWN \xff\r\n", "broken header"),
        (b"PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n", "broken header"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n", "broken header"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n", "broken header"),
        (b"PROXY TCP4  203.0.113.7 192.0.2.1 1 2\r\n", "broken header"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 \r\n", "broken header"),
        (b"PROXY TCP4 203.0.113.256 192.0.2.1 1 2\r\n", "broken header"),
        (b"PROXY TCP4 203.0.113.07 192.0.2.1 1 2\r\n", "broken header"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n", "broken header"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n", "broken header"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 99999\r\n", "broken header"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 2\r\n", "broken header"),
        (b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "broken header"),
        (b"PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n", "broken header"),
        (b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", "broken header"),
        (header(0x11, TCP4, bytes(12)), "broken header"),
        (header(0x22, TCP4, bytes(12)), "broken header"),
        (header(PROXY, 0x41, bytes(12)), "broken header"),
        (header(PROXY, 0x13, bytes(12)), "broken header"),
        (header(PROXY, TCP4, bytes(11)), "broken header"),
        (header(PROXY, TCP6, bytes(35)), "broken header"),
        (header(PROXY, 0x12, bytes(12)), "not TCP"),
        (header(PROXY, 0x31, bytes(216)), "not TCP"),
        (header(PROXY, TCP4, length=V2_MOST + 1), "header too long"),
        (header(LOCAL, UNSPECIFIED, length=65535), "header too long"),
    ],
)
def test_what_is_no_header_is_refused_from_its_first_bytes_on(data: bytes, fault: str) -> None:
    for pieces in ((data,), tuple(bytes([byte]) for byte in data)):
        with pytest.raises(HeaderRefused) as caught:
            read(*pieces)
        assert caught.value.fault == fault
