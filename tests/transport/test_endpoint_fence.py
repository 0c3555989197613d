"""Socket endpoint behind a fence: both twins read nothing after a time in which the process has not run."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from antiphon.transport.endpoint import FROZEN_SECONDS
from transport.test_endpoint import TWINS

RAN_AT, CLOSED = 0, 1


@dataclass
class Fenced:
    """An endpoint behind a fence, which answers `answer` when it is asked."""

    twin: type
    near: socket.socket
    far: socket.socket
    answer: bool = True
    asked: int = 0
    told: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        shared = bytearray(16)
        self.state = memoryview(shared).cast("d")
        self.endpoint = self.twin(
            self.near, bytearray(8), self.received, self.told.append, lambda *_: None, shared, self.fenced
        )

    def received(self, buffer: bytearray, size: int) -> None:
        self.told.append(bytes(buffer[:size]))

    def fenced(self) -> bool:
        self.asked += 1
        return self.answer


@pytest.fixture(params=TWINS)
def behind(request: pytest.FixtureRequest) -> Iterator[Fenced]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.sendall(b"hello")
        yield Fenced(request.param, near, far)


def test_without_a_home_the_fence_is_not_asked(behind: Fenced) -> None:
    behind.endpoint()
    assert (behind.told, behind.asked) == ([b"hello"], 0)


def test_while_the_process_runs_the_fence_is_not_asked_and_the_look_is_noted(behind: Fenced) -> None:
    behind.state[RAN_AT] = time.monotonic() - FROZEN_SECONDS / 2
    behind.endpoint()
    assert (behind.told, behind.asked) == ([b"hello"], 0)
    assert abs(behind.state[RAN_AT] - time.monotonic()) < FROZEN_SECONDS / 4


def test_after_a_gap_nothing_is_read_if_the_fence_is_closed(behind: Fenced) -> None:
    behind.state[RAN_AT] = time.monotonic() - FROZEN_SECONDS - 0.1
    behind.endpoint()
    assert (behind.told, behind.asked) == ([], 1)
    assert behind.near.recv(8) == b"hello"


def test_after_a_gap_it_is_read_if_the_fence_is_open_after_all(behind: Fenced) -> None:
    behind.state[RAN_AT] = time.monotonic() - FROZEN_SECONDS - 0.1
    behind.answer = False
    behind.endpoint()
    assert (behind.told, behind.asked) == ([b"hello"], 1)


def test_while_the_fence_is_closed_nothing_is_read_however_short_the_gap(behind: Fenced) -> None:
    behind.state[RAN_AT] = time.monotonic()
    behind.state[CLOSED] = 1
    behind.endpoint()
    assert (behind.told, behind.asked) == ([], 1)


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("rest", [(bytearray(16),), (bytearray(8), bool)])
def test_a_fence_is_two_doubles_and_comes_with_a_function(twin: type, rest: tuple[object, ...]) -> None:
    near, far = socket.socketpair()
    with near, far, pytest.raises(TypeError):
        twin(near, bytearray(8), print, print, print, *rest)
