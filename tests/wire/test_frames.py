"""Frames: each case whole, byte by byte and with trailing bytes; then what is refused, and when."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import (
    FrameInvalid,
    FrameTooLarge,
    FrameUnexpected,
    MessageTooLarge,
    NotText,
    ProtocolError,
    TokenRefused,
)
from antiphon.wire.frames import (
    HEADER,
    HEADER_SIZE,
    SKIPPED,
    Frame,
    FrameReader,
    Refused,
    encode,
    encode_message,
)
from antiphon.wire.kinds import ENTRY_LIMIT, MESSAGE_LIMIT, Allowed, Flag, Kind, Phase, Side, limits
from support.leaks import assert_keeps_less, assert_takes_less

TOKEN = bytes(range(16))
OTHER = bytes(reversed(TOKEN))
TEXT = int(Flag.TEXT)
LAST = int(Flag.LAST)

ENTRY = limits(Side.CLIENT, Phase.SIGN_IN)
SESSION = limits(Side.CLIENT, Phase.SESSION)
ANSWERS = limits(Side.SERVER, Phase.SESSION)


def entry_reader() -> FrameReader:
    return FrameReader(ENTRY)


def session_reader(token: bytes = TOKEN) -> FrameReader:
    reader = FrameReader(ENTRY)
    reader.admit(SESSION, token)
    return reader


def answer_reader() -> FrameReader:
    return FrameReader(ANSWERS)


def header(length: int, kind: int, flags: int = 0, reserved: int = 0, id: int = 1) -> bytes:
    return HEADER.pack(length, kind, flags, reserved, id)


def events(reader: FrameReader, *pieces: bytes) -> list[object]:
    """Return all events, refusals as (id, class), so that lists can be compared."""
    found: list[object] = []
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next()) is not None:
            found.append((event.id, type(event.error)) if isinstance(event, Refused) else event)
    return found


# --- what goes out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (encode(Kind.HEARTBEAT, 0), "00000008 21 00 0000 00000000"),
        (encode(Kind.BYE, 0, b"{}"), "0000000a 22 00 0000 00000000 7b7d"),
        (encode(Kind.RESUME, 1, b"{}", token=TOKEN), f"0000001a 06 00 0000 00000001 {TOKEN.hex()} 7b7d"),
        (encode_message(7, "да", LAST), "0000000c 10 03 0000 00000007 d0b4d0b0"),
        (encode_message(7, "", token=TOKEN), f"00000018 10 01 0000 00000007 {TOKEN.hex()}"),
        (encode_message(0xFFFFFFFF, b"\x00\xff"), "0000000a 10 00 0000 ffffffff 00ff"),
    ],
)
def test_a_frame_is_encoded_as_the_protocol_describes(frame: bytes, expected: str) -> None:
    assert frame.hex() == expected.replace(" ", "")


# --- what comes in: whole, byte by byte, with trailing bytes ------------------------------------------------

CASES = [
    pytest.param(entry_reader, encode(Kind.IDENTIFY, 1, b"{}"), Frame(Kind.IDENTIFY, 0, 1, b"{}"), id="control"),
    pytest.param(entry_reader, encode(Kind.HEARTBEAT, 0), Frame(Kind.HEARTBEAT, 0, 0, b""), id="empty"),
    pytest.param(
        entry_reader,
        encode(Kind.RESUME, 2, b"{}", token=TOKEN),
        Frame(Kind.RESUME, 0, 2, b"{}", TOKEN),
        id="token nobody has compared yet",
    ),
    pytest.param(
        session_reader,
        encode_message(3, "Привет 👋", token=TOKEN),
        Frame(Kind.MESSAGE, TEXT, 3, "Привет 👋"),
        id="text",
    ),
    pytest.param(
        session_reader, encode_message(4, "", token=TOKEN), Frame(Kind.MESSAGE, TEXT, 4, ""), id="empty text"
    ),
    pytest.param(
        session_reader,
        encode_message(5, b"\xff\x00", token=TOKEN),
        Frame(Kind.MESSAGE, 0, 5, b"\xff\x00"),
        id="bytes that are not UTF-8",
    ),
    pytest.param(
        answer_reader, encode_message(6, "x", LAST), Frame(Kind.MESSAGE, TEXT | LAST, 6, "x"), id="last answer"
    ),
    pytest.param(
        session_reader, encode_message(7, b"x", token=OTHER), (7, TokenRefused), id="another session's token"
    ),
    pytest.param(
        session_reader, encode(Kind.MESSAGE, 8, b"\xff", TEXT, TOKEN), (8, NotText), id="text that is not UTF-8"
    ),
]


@pytest.mark.parametrize(("reader", "data", "expected"), CASES)
def test_a_whole_frame_is_returned(reader: Callable[[], FrameReader], data: bytes, expected: object) -> None:
    assert events(reader(), data) == [expected]


@pytest.mark.parametrize(("reader", "data", "expected"), CASES)
def test_a_frame_byte_by_byte_is_returned_with_its_last_byte(
    reader: Callable[[], FrameReader], data: bytes, expected: object
) -> None:
    reading = reader()
    assert events(reading, *(data[at : at + 1] for at in range(len(data) - 1))) == []
    assert events(reading, data[-1:]) == [expected]


@pytest.mark.parametrize(("reader", "data", "expected"), CASES)
@pytest.mark.parametrize("tail", [1, 4, 11])
def test_trailing_bytes_wait_for_the_rest_of_their_frame(
    reader: Callable[[], FrameReader], data: bytes, expected: object, tail: int
) -> None:
    reading = reader()
    following = data[:tail]
    assert events(reading, data + following) == [expected]
    assert reading.buffered == len(following)
    assert events(reading, data[tail:]) == [expected]
    assert reading.buffered == 0


MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 2**32 - 1), st.text(max_size=40), st.sampled_from([TOKEN, OTHER])),
        st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=40), st.sampled_from([TOKEN, OTHER])),
    ),
    max_size=8,
)


@given(messages=MESSAGES, extra=st.integers(0x80, 0xFF), cuts=st.lists(st.integers(0, 600)))
def test_any_split_of_any_frames_gives_the_same_events(
    messages: list[tuple[int, str | bytes, bytes]], extra: int, cuts: list[int]
) -> None:
    stream = b""
    expected: list[object] = []
    for id, message, token in messages:
        stream += encode_message(id, message, token=token) + encode(extra, id, b"passed over", 0xFF)
        flags = TEXT if isinstance(message, str) else 0
        expected.append(Frame(Kind.MESSAGE, flags, id, message) if token == TOKEN else (id, TokenRefused))
        expected.append(SKIPPED)
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert events(session_reader(), *pieces) == expected


@given(st.lists(st.binary(max_size=64)))
def test_random_bytes_give_events_or_a_protocol_error_and_nothing_else(pieces: list[bytes]) -> None:
    reader = session_reader()
    try:
        for event in events(reader, *pieces):
            assert isinstance(event, Frame | tuple)
    except ProtocolError:
        pass


# --- limits, known from the header alone --------------------------------------------------------------------


def test_a_message_may_have_the_size_of_the_limit() -> None:
    text = "a" * MESSAGE_LIMIT
    assert events(session_reader(), encode_message(1, text, token=TOKEN)) == [Frame(Kind.MESSAGE, TEXT, 1, text)]


def test_a_message_one_over_the_limit_is_refused_from_its_header() -> None:
    with pytest.raises(MessageTooLarge) as caught:
        events(session_reader(), header(8 + 16 + MESSAGE_LIMIT + 1, Kind.MESSAGE))
    assert caught.value.fields == {"size": MESSAGE_LIMIT + 1, "limit": MESSAGE_LIMIT}
    assert "--message-limit" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "token", "limit"),
    [(Kind.IDENTIFY, b"", ENTRY_LIMIT), (Kind.RESUME, TOKEN, 256), (Kind.BYE, b"", 256), (Kind.HEARTBEAT, b"", 0)],
)
def test_before_sign_in_a_byte_above_the_limit_is_refused_from_the_header(
    kind: Kind, token: bytes, limit: int
) -> None:
    payload = b"x" * limit
    assert events(entry_reader(), encode(kind, 1, payload, token=token)) == [Frame(kind, 0, 1, payload, token)]
    with pytest.raises(FrameTooLarge) as caught:
        events(entry_reader(), header(8 + len(token) + limit + 1, kind))
    assert caught.value.fields == {"size": limit + 1, "kind": kind.name, "limit": limit}


@pytest.mark.parametrize("kind", [Kind.MESSAGE, Kind.HEARTBEAT, 0x80])
def test_a_header_that_claims_4_gib_is_refused_and_takes_no_memory(kind: int) -> None:
    claim = header(0xFFFFFFFF, kind)

    def read() -> None:
        with pytest.raises(FrameTooLarge):
            events(session_reader(), claim)

    assert_takes_less(read, 64 * 1024)


def test_a_header_with_the_limit_takes_no_memory_before_the_payload() -> None:
    promise = header(8 + 16 + MESSAGE_LIMIT, Kind.MESSAGE)

    def read() -> None:
        assert events(session_reader(), promise) == []

    assert_takes_less(read, 64 * 1024)


def test_an_idle_reader_keeps_no_memory() -> None:
    data = encode_message(1, "a" * MESSAGE_LIMIT, token=TOKEN)

    def read() -> FrameReader:
        reader = session_reader()
        assert len(events(reader, data[:100], data[100:])) == 1
        return reader

    assert_keeps_less(read, 64 * 1024)


# --- headers that cannot be ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.MESSAGE, Kind.BYE, 0x80])
@pytest.mark.parametrize("reserved", [1, 0x8000])
def test_reserved_bits_that_are_not_zero_end_the_connection(kind: int, reserved: int) -> None:
    with pytest.raises(FrameInvalid, match="reserved"):
        events(session_reader(), header(24, kind, reserved=reserved))


@pytest.mark.parametrize("length", range(8))
@pytest.mark.parametrize("kind", [*Kind, 0x00, 0x7F, 0x80, 0xFF])
def test_a_length_under_8_ends_the_connection_whatever_follows(length: int, kind: int) -> None:
    for reader in (entry_reader(), session_reader(), answer_reader()):
        with pytest.raises(FrameInvalid, match="too short"):
            events(reader, header(length, kind))


@pytest.mark.parametrize("length", range(8))
@pytest.mark.parametrize("more", range(HEADER_SIZE - 4))
def test_a_length_under_8_ends_it_before_the_header_is_whole(length: int, more: int) -> None:
    for reader in (entry_reader(), session_reader(), answer_reader()):
        with pytest.raises(FrameInvalid, match="too short"):
            events(reader, header(length, 0)[: 4 + more])


def test_a_length_that_is_not_whole_says_nothing() -> None:
    reader = session_reader()
    assert events(reader, encode_message(1, "a", token=TOKEN), b"\0\0\0") == [Frame(Kind.MESSAGE, TEXT, 1, "a")]
    with pytest.raises(FrameInvalid, match="of length 7"):
        events(reader, b"\7")


def test_a_message_too_short_for_its_token_ends_the_connection() -> None:
    with pytest.raises(FrameInvalid, match="too short"):
        events(session_reader(), header(8 + 15, Kind.MESSAGE))


@pytest.mark.parametrize("kind", [0x00, 0x08, 0x16, 0x7F])
def test_an_unknown_kind_ends_the_connection(kind: int) -> None:
    with pytest.raises(FrameInvalid, match=f"kind 0x{kind:02x} is unknown"):
        events(session_reader(), header(8, kind))


@pytest.mark.parametrize(
    ("kind", "flags"),
    [(Kind.MESSAGE, 0x04), (Kind.MESSAGE, 0x80), (Kind.BYE, TEXT), (Kind.BYE, LAST), (Kind.HEARTBEAT, 0x40)],
)
def test_an_unknown_flag_ends_the_connection(kind: Kind, flags: int) -> None:
    with pytest.raises(FrameInvalid, match="flags"):
        events(session_reader(), header(24 if kind is Kind.MESSAGE else 8, kind, flags))


@pytest.mark.parametrize(
    "kind", [Kind.MESSAGE, Kind.HELLO, Kind.WELCOME, Kind.CANCEL, Kind.ACK, Kind.PASSWORD, Kind.END_OTHERS]
)
def test_a_kind_that_is_not_allowed_before_sign_in_ends_the_connection(kind: Kind) -> None:
    with pytest.raises(FrameUnexpected, match=kind.name):
        events(entry_reader(), header(24, kind))


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00"]
)
def test_http_and_tls_are_not_taken_for_frames(first: bytes) -> None:
    with pytest.raises(ProtocolError):
        events(entry_reader(), first)


# --- kinds that may be ignored ------------------------------------------------------------------------------


def test_ten_thousand_optional_kinds_in_a_row_are_skipped() -> None:
    reader = session_reader()
    message = encode_message(1, "after all that", token=TOKEN)
    assert events(reader, encode(0x80, 1, b"x", 0xFF) * 10_000 + message) == [
        *[SKIPPED] * 10_000,
        Frame(Kind.MESSAGE, TEXT, 1, "after all that"),
    ]


@pytest.mark.parametrize(("allowed", "limit"), [(ENTRY, ENTRY_LIMIT), (SESSION, MESSAGE_LIMIT)])
def test_an_optional_kind_may_be_as_large_as_the_largest_allowed_kind(
    allowed: dict[int, Allowed], limit: int
) -> None:
    reader = FrameReader(allowed)
    assert events(reader, encode(0xFF, 1, bytes(limit))) == [SKIPPED]
    assert reader.buffered == 0
    with pytest.raises(FrameTooLarge):
        events(reader, header(8 + limit + 1, 0xFF))


# --- tokens -------------------------------------------------------------------------------------------------


@given(st.binary(min_size=16, max_size=16).filter(lambda token: token != TOKEN))
def test_a_wrong_token_is_refused_and_the_next_right_one_passes(wrong: bytes) -> None:
    stream = encode_message(1, "a", token=wrong) + encode_message(2, "b", token=TOKEN)
    assert events(session_reader(), stream) == [(1, TokenRefused), Frame(Kind.MESSAGE, TEXT, 2, "b")]


@pytest.mark.parametrize("kind", [Kind.MESSAGE, Kind.CANCEL, Kind.ACK, Kind.PASSWORD, Kind.END_OTHERS])
def test_a_refusal_tells_the_kind_of_its_frame(kind: Kind) -> None:
    reader = session_reader()
    reader.feed(encode(kind, 5, token=OTHER))
    refused = reader.next()
    assert isinstance(refused, Refused)
    assert (refused.kind, refused.id, type(refused.error)) == (kind, 5, TokenRefused)


def test_the_token_is_compared_before_the_message_is_read() -> None:
    bad_text_of_a_stranger = encode(Kind.MESSAGE, 1, b"\xff", TEXT, OTHER)
    assert events(session_reader(), bad_text_of_a_stranger) == [(1, TokenRefused)]


def test_a_new_token_counts_from_the_next_frame_on() -> None:
    reader = session_reader()
    assert events(reader, encode_message(1, b"a", token=TOKEN)) == [Frame(Kind.MESSAGE, 0, 1, b"a")]
    reader.admit(SESSION, OTHER)
    assert events(reader, encode_message(2, b"b", token=TOKEN)) == [(2, TokenRefused)]


def test_neither_token_nor_payload_shows_in_a_repr() -> None:
    shown = repr(Frame(Kind.RESUME, 0, 1, b"private words", TOKEN))
    assert "private" not in shown
    assert repr(TOKEN) not in shown
    assert shown == "Frame(kind=0x06, flags=0, id=1, 13 long)"


def test_bytes_are_counted_while_a_frame_is_not_whole() -> None:
    reader = session_reader()
    assert events(reader, encode_message(1, b"abc", token=TOKEN)[:-1]) == []
    assert reader.buffered == HEADER_SIZE + 16 + 2
