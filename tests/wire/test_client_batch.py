"""The client's batch: both twins do the same with any bytes, and read what the frame reader reads.

`make fuzz` runs this over parts in C that are compiled with sanitizers.
"""

import struct
import sys
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire import frames
from antiphon.wire.client_batch import (
    Answer,
    encode_message,
    python_encode_message,
    python_read_answers,
    read_answers,
)
from antiphon.wire.conversation import ServerConversation
from antiphon.wire.frames import HEADER_SIZE, Frame, FrameReader, Payload, encode
from antiphon.wire.kinds import Flag, Kind, Phase, Side, limits
from support.leaks import assert_nothing_stays
from support.wire_strategies import LIMITS, TOKEN, payloads, weighted

SERVER = ServerConversation()
LIMIT = 100
ONE, TWO = SERVER.answer(1, "one"), SERVER.answer(2, b"two")
BAD_TEXT = encode(Kind.MESSAGE, 3, b"\xff", Flag.TEXT | Flag.LAST)
PLACES = [-(2**63), 1 - 2**63, -1, 2**63 - 2, 2**63 - 1]

Read = Callable[[bytes | bytearray, int, int, int], tuple[list[Answer], int]]
Encode = Callable[[int, Payload, bytes], bytes]


@pytest.fixture(params=[python_read_answers, read_answers], ids=["python", "native"])
def read(request: pytest.FixtureRequest) -> Read:
    """Return each twin; without a compiler, the one in Python twice."""
    found: Read = request.param
    return found


@pytest.fixture(params=[python_encode_message, encode_message], ids=["python", "native"])
def encoding(request: pytest.FixtureRequest) -> Encode:
    found: Encode = request.param
    return found


# --- reading ------------------------------------------------------------------------------------------------


def test_all_answers_are_read_at_once_from_where_they_begin(read: Read) -> None:
    data = b"xy" + ONE + TWO + SERVER.answer(2**32 - 1, "я")
    assert read(data, 2, len(data), LIMIT) == ([(1, "one"), (2, b"two"), (2**32 - 1, "я")], len(data))
    assert read(bytearray(data), 2, len(data), LIMIT) == read(data, 2, len(data), LIMIT)


@pytest.mark.parametrize(
    "next_frame",
    [
        pytest.param(SERVER.push("news"), id="no answer"),
        pytest.param(SERVER.part(3, "one of many"), id="an answer of many"),
        pytest.param(SERVER.end(3), id="an end"),
        pytest.param(encode(Kind.ERROR, 3, b"{}"), id="an error"),
        pytest.param(encode(Kind.HEARTBEAT, 0), id="a heartbeat"),
        pytest.param(encode(0x80, 3, b"optional"), id="an optional kind"),
        pytest.param(encode(0x7F, 3), id="an unknown kind"),
        pytest.param(BAD_TEXT, id="no UTF-8"),
        pytest.param(encode(Kind.MESSAGE, 3, b"x", 0x06), id="an unknown flag"),
        pytest.param(SERVER.answer(3, "x" * (LIMIT + 1)), id="too large"),
        pytest.param(struct.pack(">IBBHI", 8, Kind.MESSAGE, Flag.LAST, 1, 3), id="reserved bits"),
        pytest.param(struct.pack(">IBBHI", 7, Kind.MESSAGE, Flag.LAST, 0, 3), id="too short"),
        pytest.param(struct.pack(">IBBHI", 2**32 - 1, Kind.MESSAGE, Flag.LAST, 0, 3), id="a length that lies"),
        pytest.param(SERVER.answer(3, "half")[:-1], id="half a frame"),
        pytest.param(SERVER.answer(3, "")[:-1], id="half a header"),
    ],
)
def test_it_stops_before_anything_else(read: Read, next_frame: bytes) -> None:
    data = ONE + TWO + next_frame
    assert read(data, 0, len(data), LIMIT) == ([(1, "one"), (2, b"two")], len(ONE + TWO))


def test_it_stops_at_the_end_that_it_is_given(read: Read) -> None:
    assert read(ONE + TWO, 0, len(ONE + TWO) - 1, LIMIT) == ([(1, "one")], len(ONE))
    assert read(ONE, 0, 0, LIMIT) == ([], 0)


def test_the_limit_is_of_the_payload_and_an_empty_one_is_an_answer(read: Read) -> None:
    for payload in ("", "x" * LIMIT):
        frame = SERVER.answer(1, payload)
        assert read(frame, 0, len(frame), LIMIT) == ([(1, payload)], len(frame))


def exact(data: bytes) -> Any:
    """Return `data` in memory that ends where it ends; as bytes for the twin in Python, which needs them."""
    return data if read_answers is python_read_answers else memoryview(array("B", data) * 1)


_ids = st.sampled_from([0, 1, 2, 2**31, 2**32 - 1])
_good = st.builds(SERVER.answer, st.integers(1, 2**32 - 1), payloads)
_odd = st.one_of(
    st.builds(encode, st.sampled_from([*Kind, 0, 0x80, 0xFF]), _ids, st.binary(max_size=20), st.integers(0, 4)),
    st.builds(
        lambda frame, length: struct.pack(">I", length) + frame[4:],
        _good,
        st.sampled_from([0, 7, 8, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(0, 60),
    ),
    st.builds(lambda frame, cut: frame[:-cut], _good, st.integers(1, 30)),
    st.binary(max_size=HEADER_SIZE + 4),
    st.just(BAD_TEXT),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a server: answers with some odd frames, sometimes altered."""
    data = bytearray(b"".join(draw(st.lists(weighted(_good, _good, _good, _odd), max_size=8))))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@given(data=streams(), limit=st.sampled_from(LIMITS))
def test_both_twins_read_the_same_and_nothing_leaks(data: bytes, limit: int) -> None:
    expected = python_read_answers(data, 0, len(data), limit)
    assert read_answers(data, 0, len(data), limit) == expected
    assert_nothing_stays(lambda: read_answers(data, 0, len(data), limit), [data])


@given(data=streams(), limit=st.sampled_from(LIMITS))
def test_only_answers_that_the_frame_reader_returns_are_read(data: bytes, limit: int) -> None:
    answers, position = read_answers(exact(data), 0, len(data), limit)
    reader = FrameReader(limits(Side.SERVER, Phase.SESSION, limit))
    reader.feed(data)
    for answer in answers:
        frame = reader.next()
        assert isinstance(frame, Frame)
        assert frame.kind == Kind.MESSAGE
        assert frame.flags & Flag.LAST
        assert (frame.id, frame.payload) == answer
    assert reader.buffered == len(data) - position


@given(
    data=streams(),
    at=st.sampled_from(PLACES) | st.integers(-2, 40),
    end=st.sampled_from(PLACES) | st.integers(-2, 40),
    limit=st.sampled_from([*PLACES, 0, 100]),
)
def test_nothing_is_read_outside_the_bytes_at_any_positions(data: bytes, at: int, end: int, limit: int) -> None:
    with suppress(ValueError, struct.error):  # the latter from the twin in Python
        read_answers(exact(data), at, end, limit)


# --- encoding -----------------------------------------------------------------------------------------------


@given(id=_ids, message=payloads, token=st.sampled_from([b"", TOKEN]))
def test_both_twins_encode_as_the_frames_are(id: int, message: Payload, token: bytes) -> None:
    expected = frames.encode_message(id, message, token=token)
    assert encode_message(id, message, token) == python_encode_message(id, message, token) == expected
    assert_nothing_stays(lambda: encode_message(id, message, token), [message, token])


def test_half_a_surrogate_pair_is_not_encoded(encoding: Encode) -> None:
    with pytest.raises(UnicodeEncodeError):
        encoding(1, "half \ud800", TOKEN)


class Text(str):
    """A subclass of `str`."""

    __slots__ = ()


def test_a_subclass_is_encoded_as_what_it_is(encoding: Encode) -> None:
    assert encoding(1, Text("text"), TOKEN) == encoding(1, "text", TOKEN)


def test_the_text_keeps_no_second_copy(encoding: Encode) -> None:
    text = "я" * 1000
    before = sys.getsizeof(text)
    encoding(1, text, TOKEN)
    assert sys.getsizeof(text) == before


@pytest.mark.parametrize(
    "arguments", [(2**32, "x", b""), (-1, "x", b""), (1, 3, b""), (1, "x", "token"), ("1", "x", b"")]
)
def test_what_cannot_be_encoded_is_an_error(encoding: Any, arguments: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, OverflowError, struct.error)):
        encoding(*arguments)
