"""Hypothesis strategies for the bytes of a client: valid frames, invalid frames, and truncated ones."""

import struct
from typing import TypeVar

from hypothesis import strategies as st

from antiphon.wire.frames import HEADER_SIZE, Payload, encode, encode_message
from antiphon.wire.kinds import COUNT_SIZE, TOKEN_SIZE, Flag, Kind

TOKEN = bytes(range(1, 1 + TOKEN_SIZE))
LIMITS = [0, 1, 7, 100, 5000, 128 * 1024]
"""Limits of payloads in bytes; sizes are drawn around them."""
_BAD_UTF8 = [b"\xff", b"\x80", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]
_LENGTHS = [0, 7, 8, 23, 24, 25, 31, 32, 33, 2**15, 2**31 - 1, 2**31, 2**32 - 1]

_sizes = st.sampled_from(
    [*range(20), 23, 24, 31, 32, 33, *(limit + by for limit in LIMITS[3:] for by in (-1, 0, 1))]
)
_ids = st.sampled_from([0, 1, 2, 2**31, 2**32 - 1])
_words = st.text(max_size=20)


Drawn = TypeVar("Drawn")


def weighted(*choices: st.SearchStrategy[Drawn]) -> st.SearchStrategy[Drawn]:
    """Draw from one of the choices with equal probability; `one_of` would flatten nested choices first."""
    return st.integers(0, len(choices) - 1).flatmap(choices.__getitem__)


def _flipped(at: int, bit: int) -> bytes:
    return TOKEN[:at] + bytes([TOKEN[at] ^ 1 << bit]) + TOKEN[at + 1 :]


_tokens = weighted(
    st.just(TOKEN),
    st.just(TOKEN),
    st.builds(_flipped, st.integers(0, TOKEN_SIZE - 1), st.integers(0, 7)),
    st.sampled_from([TOKEN[1:], TOKEN[:8] + bytes(8), bytes(8) + TOKEN[8:], TOKEN[::-1]]),
)


def _bad_text(before: int, bad: bytes, behind: int) -> bytes:
    return encode(Kind.MESSAGE, 1, b"a" * before + bad + b"b" * behind, Flag.TEXT, TOKEN)


def _acknowledgement(count: int, id: int, flags: int, token: bytes, less: int) -> bytes:
    return encode(Kind.ACK, id, count.to_bytes(COUNT_SIZE, "big")[less:], flags, token)


def _lying(frame: bytes, length: int) -> bytes:
    return struct.pack("!I", length) + frame[4:]


payloads: st.SearchStrategy[Payload] = st.one_of(
    _words,
    st.binary(max_size=40),
    st.builds(lambda size: "x" * size, _sizes),
    st.builds(lambda size: b"x" * size, _sizes),
    st.builds(lambda size, last: "x" * size + last, _sizes, st.sampled_from("\x7fяあ🎵")),
)
_good = st.builds(lambda id, payload: encode_message(id, payload, 0, TOKEN), st.integers(1, 3), payloads)
_good_ack = st.builds(
    lambda count: _acknowledgement(count, 0, 0, TOKEN, 0), st.sampled_from([0, 1, 2**63, 2**64 - 1])
)
_odd = st.one_of(
    st.builds(encode_message, _ids, payloads, st.sampled_from([0, 1, 2, 3, 4, 128, 255]), _tokens),
    st.builds(_bad_text, st.integers(0, 24), st.sampled_from(_BAD_UTF8), st.integers(0, 24)),
    st.builds(
        _acknowledgement,
        st.integers(0, 2**64 - 1),
        st.integers(0, 1),
        st.integers(0, 3),
        _tokens,
        st.integers(0, 1),
    ),
    st.builds(_lying, st.one_of(_good, _good_ack), st.sampled_from(_LENGTHS) | st.integers(0, 60)),
    st.builds(
        encode, st.sampled_from([*Kind, 0, 0x11, 0x80, 0xFF]), _ids, st.binary(max_size=20), st.integers(0, 3)
    ),
    st.binary(max_size=HEADER_SIZE + TOKEN_SIZE + COUNT_SIZE + 4),
)
_changes = st.sampled_from([0, 0, 0, 1, 2])
_pieces: st.SearchStrategy[bytes] = weighted(_good, _good, _good_ack, _odd)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a stream: valid frames with some odd ones, sometimes altered or truncated."""
    pieces = draw(st.lists(_pieces, max_size=8))
    data = bytearray(b"".join(pieces))
    for _ in range(draw(_changes)):
        if data:
            at = draw(st.integers(0, len(data) - 1))
            data[at] ^= 1 << draw(st.integers(0, 7))
    is_cut = draw(st.booleans())
    if pieces and is_cut:
        last = len(pieces[-1])
        del data[len(data) - draw(st.integers(0, min(last, 60))) :]
    return bytes(data)


@st.composite
def ends(draw: st.DrawFn, data: bytes) -> list[int]:
    """Draw the offsets at which the reads of the stream end."""
    reads = draw(weighted(st.just([]), st.lists(st.integers(0, len(data)), max_size=3)))
    return [*sorted(reads), len(data)]
