"""Socket endpoint: both twins do the same."""

import gc
import importlib.util
import socket
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest

from antiphon.transport.endpoint import PythonSocketEndpoint, SocketEndpoint
from support.leaks import assert_no_block_stays

TWINS: list[type] = list(dict.fromkeys([PythonSocketEndpoint, SocketEndpoint]))
"""Only the Python twin if no compiler was found."""


@dataclass
class Owner:
    """Notes what an endpoint calls."""

    twin: type
    near: socket.socket
    far: socket.socket
    told: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.endpoint = self.twin(self.near, bytearray(8), self.received, self.ended, self.unsent)

    def received(self, buffer: bytearray, size: int) -> None:
        self.told.append(bytes(buffer[:size]))

    def ended(self, error: Exception | None) -> None:
        self.told.append(error)

    def unsent(self, data: bytes, sent: int) -> None:
        self.told.append((data, sent))


@pytest.fixture(params=TWINS)
def owner(request: pytest.FixtureRequest) -> Iterator[Owner]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.settimeout(60)
        yield Owner(request.param, near, far)


def test_the_twin_in_c_is_used_if_it_was_built() -> None:
    built = importlib.util.find_spec("antiphon.transport._endpoint") is not None
    assert ([PythonSocketEndpoint] != TWINS) == built


def test_the_python_twin_is_used_if_the_c_part_was_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "antiphon.transport._endpoint", None)
    again = importlib.util.find_spec("antiphon.transport.endpoint")
    assert again is not None
    assert again.loader is not None
    module = importlib.util.module_from_spec(again)
    again.loader.exec_module(module)
    assert module.SocketEndpoint is module.PythonSocketEndpoint


def test_received_bytes_come_in_pieces_of_the_buffer(owner: Owner) -> None:
    owner.far.sendall(b"0123456789")
    owner.endpoint()
    owner.endpoint()
    assert owner.told == [b"01234567", b"89"]


def test_a_limit_makes_the_pieces_smaller_but_never_larger_than_the_buffer(owner: Owner) -> None:
    owner.far.sendall(b"0123456789abcdefghijklmnopqrst")
    for limit in (3, 100, 0):
        owner.endpoint.read_limit = limit
        owner.endpoint()
    assert owner.told == [b"012", b"3456789a", b"bcdefghi"]


def test_without_received_bytes_nothing_is_called(owner: Owner) -> None:
    owner.endpoint()
    assert owner.told == []


def test_the_end_is_reported(owner: Owner) -> None:
    owner.far.close()
    owner.endpoint()
    assert owner.told == [None]


def test_an_error_of_the_socket_is_reported(owner: Owner) -> None:
    owner.endpoint.write(b"never read")
    owner.far.close()  # with unread bytes: a reset
    owner.endpoint()
    (error,) = owner.told
    assert isinstance(error, ConnectionResetError)


@pytest.mark.parametrize("fault", [ValueError, BlockingIOError])
def test_an_exception_of_the_receiver_is_reported(owner: Owner, fault: type[Exception]) -> None:
    def boom(buffer: bytearray, size: int) -> None:
        raise fault("why")

    owner.endpoint.received = boom
    owner.far.sendall(b"x")
    owner.endpoint()
    (error,) = owner.told
    assert isinstance(error, fault)
    assert error.__traceback__ is not None


def test_keyboard_interrupt_leaves_the_call(owner: Owner) -> None:
    def stop(buffer: bytearray, size: int) -> None:
        raise KeyboardInterrupt

    owner.endpoint.received = stop
    owner.far.sendall(b"x")
    with pytest.raises(KeyboardInterrupt):
        owner.endpoint()
    assert owner.told == []


def test_the_receiver_may_be_replaced_while_it_is_called(owner: Owner) -> None:
    def once(buffer: bytearray, size: int) -> None:
        owner.endpoint.received = owner.received

    owner.endpoint.received = once
    del once
    for piece in (b"one", b"two"):
        owner.far.sendall(piece)
        owner.endpoint()
    assert owner.told == [b"two"]


def test_a_deleted_receiver_is_reported(owner: Owner) -> None:
    del owner.endpoint.received
    owner.far.sendall(b"one")
    owner.endpoint()
    (error,) = owner.told
    assert isinstance(error, AttributeError)


@pytest.mark.parametrize("twin", TWINS[1:])
def test_the_twin_in_c_cannot_be_made_without_arguments(twin: Any) -> None:
    with pytest.raises(TypeError):
        twin.__new__(twin)


def test_the_receiver_is_kept_alive_while_it_is_called(owner: Owner) -> None:
    def once(buffer: bytearray, size: int) -> None:
        owner.endpoint.received = owner.received
        owner.told.append(called() is not None)

    receiver = partial(once)
    called = weakref.ref(receiver)
    owner.endpoint.received = receiver
    del receiver
    owner.far.sendall(b"one")
    owner.endpoint()
    assert owner.told == [True]


def test_nothing_leaks(owner: Owner) -> None:
    near, far = owner.near, owner.far

    def boom(buffer: bytearray, size: int) -> None:
        raise ValueError

    def there_and_back() -> None:
        endpoint = owner.twin(near, bytearray(2**12), lambda *_: None, lambda _: None, lambda *_: None)
        for failing in (False, True):
            if failing:
                endpoint.received = boom
            far.sendall(bytes(1000))
            endpoint()
        endpoint.write(bytes(1000))
        endpoint.send(bytes(1000))
        endpoint.write_framed(bytes(500), "x" * 500)
        far.recv(3000)
        endpoint.queueing = True
        endpoint.write(bytes(1000))
        endpoint.write_framed(bytes(500), "x" * 500)

    assert_no_block_stays(there_and_back)


def test_it_is_freed_with_its_owner(owner: Owner) -> None:
    once = Owner(owner.twin, owner.near, owner.far)
    left = weakref.ref(once)
    del once
    gc.collect()
    assert left() is None


def test_written_bytes_may_change_afterwards(owner: Owner) -> None:
    data = bytearray(b"hello")
    owner.endpoint.write(data)
    owner.endpoint.send(data)
    data += b"!"
    assert owner.far.recv(100) == b"hellohello"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_written_bytes_are_sent_at_once(owner: Owner, kind: Any) -> None:
    owner.endpoint.write(kind(b"hello"))
    assert owner.far.recv(100) == b"hello"
    assert owner.endpoint.send(kind(b"again")) == 5
    assert owner.far.recv(100) == b"again"
    assert owner.told == []


def test_bytes_that_the_socket_does_not_take_are_left_to_the_owner(owner: Owner) -> None:
    data = bytes(2**22)
    owner.endpoint.write(data)
    ((left, sent),) = cast("list[tuple[bytes, int]]", owner.told)
    assert left is data
    assert 0 < sent < len(data)
    owner.endpoint.write(b"more")
    assert owner.told[1] == (b"more", 0)
    assert owner.endpoint.send(b"more") == 0


def test_while_queueing_everything_is_left_to_the_owner(owner: Owner) -> None:
    owner.endpoint.queueing = True
    owner.endpoint.write(b"hello")
    owner.endpoint.queueing = False
    owner.endpoint.write(b"and")
    assert owner.far.recv(100) == b"and"
    assert owner.told == [(b"hello", 0)]


def test_writing_to_a_closed_peer_is_reported_or_raised(owner: Owner) -> None:
    owner.far.close()
    owner.endpoint.write(b"hello")
    (error,) = owner.told
    assert isinstance(error, BrokenPipeError)
    with pytest.raises(BrokenPipeError):
        owner.endpoint.send(b"hello")


@pytest.mark.parametrize("payload", ["т" * 3, b"bytes", ""])
def test_a_header_and_its_payload_are_sent_in_one_piece(owner: Owner, payload: str | bytes) -> None:
    owner.endpoint.write_framed(b"header ", payload)
    assert owner.far.recv(100) == b"header " + (payload.encode() if isinstance(payload, str) else payload)
    assert owner.told == []


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("payload", ["x" * 2**22, b"x" * 2**22], ids=["text", "bytes"])
def test_unsent_bytes_of_header_and_payload_are_left_in_one_piece(owner: Owner, payload: Any, held: bool) -> None:
    owner.endpoint.queueing = held
    owner.endpoint.write_framed(b"header", payload)
    owner.endpoint.write_framed(b"and", "more")
    (first, sent), second = cast("list[tuple[bytes, int]]", owner.told)
    assert first == b"header" + b"x" * 2**22
    assert 0 <= sent < len(first)
    assert (sent == 0) == held
    assert second == (b"andmore", 0)


def test_writing_a_header_and_payload_to_a_closed_peer_is_reported(owner: Owner) -> None:
    owner.far.close()
    owner.endpoint.write_framed(b"hello", "there")
    (error,) = owner.told
    assert isinstance(error, BrokenPipeError)


@pytest.mark.parametrize("parts", [(b"one",), ("text", b"x"), (b"x", None), (b"x", 1)])
def test_header_and_payload_of_other_types_are_refused(owner: Owner, parts: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        owner.endpoint.write_framed(*parts)
    assert owner.told == []


def test_text_that_utf8_cannot_encode_is_not_sent(owner: Owner) -> None:
    with pytest.raises(UnicodeEncodeError):
        owner.endpoint.write_framed(b"header", "half \ud800")
    assert owner.told == []


def test_only_bytes_can_be_written(owner: Owner) -> None:
    for write in (owner.endpoint.write, owner.endpoint.send):
        with pytest.raises(TypeError):
            write("text")


@pytest.mark.skipif(len(TWINS) == 1, reason="no compiler was found")
def test_a_read_only_buffer_is_refused() -> None:
    near, far = socket.socketpair()
    with near, far, pytest.raises(TypeError):
        SocketEndpoint(near, b"fixed", print, print, print)  # type: ignore[arg-type]
