"""Record layer: both twins do the same."""

import contextlib
import gc
import importlib.util
import ssl
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from antiphon.transport.endpoint import PythonRecordLayer, RecordLayer
from support.leaks import assert_no_block_stays
from support.raw import tls_context

RECORD = 2**14
SIZE = 3 * RECORD
"""Bytes of the receive buffer."""
TWINS: list[type] = list(dict.fromkeys([PythonRecordLayer, RecordLayer]))
"""Only the Python twin if no compiler was found."""


class Owner:
    """Both ends of TLS in memory; notes what the record layer of the server calls."""

    def __init__(self, twin: type, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.heard, self.said = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.client = tls_context().wrap_bio(self.heard, self.said)
        for _ in range(2):
            for side, out, into in (
                (self.client, self.said, self.incoming),
                (self.tls, self.outgoing, self.heard),
            ):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                into.write(out.read())
        self.buffer = bytearray(SIZE)
        self.told: list[object] = []
        self.records = twin(
            self.tls, self.incoming, self.outgoing, self.received, self.leave, self.send, self.failed
        )

    def received(self, buffer: bytearray, size: int) -> None:
        assert buffer is self.buffer
        self.told.append(bytes(buffer[:size]))

    def leave(self, buffer: bytearray, size: int, problem: BaseException | None) -> None:
        assert buffer is self.buffer
        self.told.append((bytes(buffer[:size]), problem if problem is None else type(problem)))

    def send(self, data: bytes) -> None:
        self.told.append(data)

    def failed(self, error: OSError) -> None:
        self.told.append(error)

    def sealed(self, *said: bytes) -> bytes:
        """Return the client's records, one for each argument."""
        for data in said:
            assert self.client.write(data) == len(data)
        return self.said.read()

    def goodbye(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.client.unwrap()
        return self.said.read()

    def take(self, data: bytes) -> None:
        """Receive bytes of the client."""
        self.buffer[: len(data)] = data
        self.records(self.buffer, len(data))

    def opened(self, sent: bytes) -> bytes:
        """Return what the client decrypts."""
        self.heard.write(sent)
        told = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while True:
                told += self.client.read(RECORD)
        return told


@pytest.fixture(params=TWINS)
def owner(request: pytest.FixtureRequest, context: ssl.SSLContext) -> Owner:
    return Owner(request.param, context)


def test_the_twin_in_c_is_used_if_it_was_built() -> None:
    built = importlib.util.find_spec("antiphon.transport._endpoint") is not None
    assert ([PythonRecordLayer] != TWINS) == built


@pytest.mark.parametrize("size", [1, 100, RECORD])
def test_a_record_is_decrypted_in_its_own_buffer(owner: Owner, size: int) -> None:
    owner.take(owner.sealed(b"x" * size))
    assert owner.told == [b"x" * size]


def test_several_records_are_handed_over_in_one_call(owner: Owner) -> None:
    owner.take(owner.sealed(b"a" * RECORD, b"b", b"c" * RECORD))
    assert owner.told == [b"a" * RECORD + b"b" + b"c" * RECORD]


def test_half_a_record_is_left_and_completed_later(owner: Owner) -> None:
    sealed = owner.sealed(b"one", b"two", b"three")
    owner.take(sealed[:-1])
    owner.take(sealed[-1:])
    assert owner.told == [(b"onetwo", ssl.SSLWantReadError), b"three"]


def test_a_close_notify_is_left_with_the_bytes_before_it(owner: Owner) -> None:
    owner.take(owner.sealed(b"last") + owner.goodbye())
    assert owner.told == [(b"last", None)]


def test_bytes_that_are_no_record_are_left_with_the_error(owner: Owner) -> None:
    owner.take(owner.sealed(b"good") + b"GET / HTTP/1.1\r\n\r\n")
    assert owner.told == [(b"good", ssl.SSLError)]


def test_a_record_that_does_not_fit_the_buffer_is_left(owner: Owner) -> None:
    sealed = owner.sealed(b"0123456789")
    owner.take(sealed[:-4])
    owner.buffer = bytearray(sealed[-4:])
    owner.records(owner.buffer, 4)
    assert owner.told == [(b"", ssl.SSLWantReadError), (b"0123", None)]
    assert owner.tls.read(100) == b"456789"


class Odd:
    """TLS that calls a function before each read and write."""

    def __init__(self, tls: Any, does: Callable[[], object]) -> None:
        self.tls, self.does = tls, does

    def read(self, size: int, buffer: bytearray) -> int:
        self.does()
        return int(self.tls.read(size, buffer))

    def write(self, data: bytes | memoryview) -> int:
        self.does()
        return int(self.tls.write(data[:2]))


def test_bytes_of_tls_itself_are_left(owner: Owner) -> None:
    owner.records.tls = Odd(owner.tls, partial(owner.tls.write, b"by itself"))
    owner.take(owner.sealed(b"hello"))
    assert owner.told == [(b"hello", None)]
    assert owner.opened(owner.outgoing.read()) == b"by itself"


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_any_exception_of_tls_is_left(owner: Owner, fault: type[BaseException]) -> None:
    def boom() -> None:
        raise fault

    owner.records.tls = Odd(owner.tls, boom)
    owner.take(owner.sealed(b"hello"))
    assert owner.told == [(b"", fault)]


def test_an_exception_of_the_receiver_leaves_the_call(owner: Owner) -> None:
    def boom(buffer: bytearray, size: int) -> None:
        raise ValueError("why")

    owner.records.received = boom
    with pytest.raises(ValueError, match="why"):
        owner.take(owner.sealed(b"hello"))
    assert owner.told == []


def test_the_receiver_may_be_replaced_while_it_is_called(owner: Owner) -> None:
    def once(buffer: bytearray, size: int) -> None:
        owner.records.received = owner.received
        owner.told.append(called() is not None)

    receiver = partial(once)
    called = weakref.ref(receiver)
    owner.records.received = receiver
    del receiver
    owner.take(owner.sealed(b"one"))
    owner.take(owner.sealed(b"two"))
    assert owner.told == [True, b"two"]


@pytest.mark.parametrize("what", ["received", "tls"])
def test_a_deleted_attribute_is_reported(owner: Owner, what: str) -> None:
    sealed = owner.sealed(b"one")
    delattr(owner.records, what)
    with pytest.raises(AttributeError):
        owner.take(sealed)
    with pytest.raises(AttributeError) if what == "tls" else contextlib.nullcontext():
        owner.records.write(b"two")
    assert len(owner.told) == (what == "received")


def test_it_may_be_closed_while_the_receiver_is_called(owner: Owner) -> None:
    def end(buffer: bytearray, size: int) -> None:
        owner.records.closed = True
        owner.records.tls = None

    owner.records.received = end
    owner.take(owner.sealed(b"one"))
    owner.take(owner.sealed(b"two"))
    owner.records.write(b"three")
    assert owner.told == []


@pytest.mark.parametrize("size", [1, 100, RECORD, RECORD + 1, 3 * RECORD])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_written_bytes_are_sent_at_once_in_one_piece(owner: Owner, kind: Any, size: int) -> None:
    owner.records.write(kind(b"x" * size))
    (sent,) = owner.told
    assert isinstance(sent, bytes)
    assert owner.opened(sent) == b"x" * size


def test_tls_may_take_a_part_of_the_bytes(owner: Owner) -> None:
    owner.records.tls = Odd(owner.tls, int)
    owner.records.write(b"hello")
    (sent,) = owner.told
    assert isinstance(sent, bytes)
    assert sent.count(b"\x17\x03\x03") == 3
    assert owner.opened(sent) == b"hello"


def test_no_bytes_make_no_record(owner: Owner) -> None:
    owner.records.write(b"")
    assert owner.told == []


def test_while_closed_nothing_is_written_or_read(owner: Owner) -> None:
    sealed = owner.sealed(b"one")
    owner.records.closed = True
    owner.records.write(b"hello")
    owner.take(sealed)
    assert owner.told == []
    assert owner.incoming.pending == owner.outgoing.pending == 0


def test_an_error_of_tls_in_writing_is_reported(owner: Owner) -> None:
    owner.take(owner.goodbye())
    with contextlib.suppress(ssl.SSLError):
        owner.tls.unwrap()
    owner.told.clear()
    owner.records.write(b"hello")
    (error,) = owner.told
    assert isinstance(error, ssl.SSLError)


@pytest.mark.parametrize("fault", [MemoryError, KeyboardInterrupt])
def test_after_another_exception_nothing_stays_in_the_shared_buffer(
    owner: Owner, fault: type[BaseException]
) -> None:
    def boom() -> None:
        if owner.outgoing.pending:
            raise fault

    owner.records.tls = Odd(owner.tls, boom)
    with pytest.raises(fault):
        owner.records.write(b"hello")
    assert owner.told == []
    assert owner.outgoing.pending == 0


def test_only_bytes_can_be_written(owner: Owner) -> None:
    for wrong in ("text", 5, None):
        with pytest.raises(TypeError):
            owner.records.write(wrong or object())
    assert owner.told == []
    assert owner.outgoing.pending == 0


@pytest.mark.skipif(len(TWINS) == 1, reason="no compiler was found")
@pytest.mark.parametrize(
    "wrong", [(), (bytearray(8),), (bytes(8), 8), (bytearray(8), 9), (bytearray(8), -1), (bytearray(8), "8")]
)
def test_other_arguments_are_refused(context: ssl.SSLContext, wrong: tuple[Any, ...]) -> None:
    owner = Owner(RecordLayer, context)
    with pytest.raises((TypeError, ValueError)):
        owner.records(*wrong)
    assert owner.told == []
    assert owner.incoming.pending == 0


def test_nothing_leaks(owner: Owner) -> None:
    def there_and_back() -> None:
        once = owner.sealed(b"x" * 1000, b"y" * 1000)
        owner.take(once[:-1])
        owner.take(once[-1:])
        owner.records.write(b"x" * 1000)
        owner.opened(owner.told[-1])  # type: ignore[arg-type]
        owner.records.tls = Odd(owner.tls, 5)  # type: ignore[arg-type]  # cannot be called
        owner.take(owner.sealed())
        with contextlib.suppress(TypeError):
            owner.records.write(b"x")
        owner.records.tls = owner.tls
        owner.told.clear()

    assert_no_block_stays(there_and_back)


def test_it_is_freed_with_its_owner(owner: Owner, context: ssl.SSLContext) -> None:
    once = Owner(type(owner.records), context)
    left = weakref.ref(once)
    del once
    gc.collect()
    assert left() is None
