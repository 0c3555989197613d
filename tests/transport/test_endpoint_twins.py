"""Both twins do the same whatever the peer and the callbacks do; no byte is lost, nothing leaks.

`make fuzz` runs this over parts in C that are compiled with sanitizers.
"""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from antiphon.transport.endpoint import PythonSocketEndpoint, SocketEndpoint
from support.leaks import assert_nothing_stays
from support.wire_strategies import weighted

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: closing sends a reset."""
LARGE = 2**18
FULL = b"f" * 4096

Step = tuple[str, Any]
_sizes = st.sampled_from([0, 1, 2, 7, 8, 9, 100, 4096, 70_000, LARGE])
_data = st.one_of(
    st.binary(max_size=20),
    _sizes.map(lambda size: b"x" * size),
    _sizes.map(lambda size: bytearray(b"y" * size)),
    st.binary(max_size=20).map(lambda data: memoryview(b"ab" + data)[1:]),
)
_payloads = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=20),
    _sizes.map(lambda size: "x" * size),
    _sizes.map(lambda size: "я" * size),
    _sizes.map(lambda size: b"z" * size),
    st.sampled_from(["\ud800", 3, None]),
)
_writes: st.SearchStrategy[Step] = st.one_of(
    st.tuples(
        st.just("write"), st.one_of(_data, _data, _data, st.sampled_from(["text", None, memoryview(b"abcd")[::2]]))
    ),
    st.tuples(st.just("framed"), st.tuples(st.binary(max_size=12), _payloads)),
    st.tuples(st.just("send"), _data),
)
_within: st.SearchStrategy[Step] = st.one_of(
    _writes,
    st.tuples(st.just("hold"), st.booleans()),
    st.tuples(st.just("call"), st.none()),
    st.tuples(st.just("raise"), st.sampled_from([ValueError, BlockingIOError, KeyboardInterrupt])),
    st.tuples(st.just("another"), st.none()),
    st.tuples(st.just("fill"), st.none()),
    st.tuples(st.just("reset"), st.none()),
    st.tuples(st.just("finish near"), st.none()),
    st.tuples(st.just("forget"), st.none()),
)
_calls: st.SearchStrategy[Step] = st.just(("call", None))
_speaks: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("speak"), st.binary(min_size=1, max_size=30)),
    st.tuples(st.just("speak"), st.sampled_from([1, 7, 8, 9, 1000, 5000]).map(lambda size: b"s" * size)),
)
_others: st.SearchStrategy[Step] = st.one_of(
    st.tuples(
        st.sampled_from(["drain", "finish", "reset", "close", "finish near", "fill", "another", "forget"]),
        st.none(),
    ),
    st.tuples(st.just("hold"), st.booleans()),
)
_steps = weighted(_calls, _calls, _speaks, _writes, _others)


@dataclass(frozen=True)
class Plan:
    """Plan of a run, which can be repeated with each twin."""

    steps: list[Step]
    within: list[Step]
    """What each call of `received`, `ended` and `unsent` does, in turn."""
    buffer: int
    over_tcp: bool = False


plans = st.builds(
    Plan,
    st.lists(_steps, min_size=1, max_size=15),
    st.lists(st.just(("nothing", None)) | _within, min_size=1, max_size=5),
    st.sampled_from([1, 8, 4096, 65536]),
)


def connected(*, over_tcp: bool) -> tuple[socket.socket, socket.socket]:
    if not over_tcp:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    return near, far


@dataclass
class World:
    """An endpoint, its peer, and the calls of the endpoint."""

    plan: Plan
    near: socket.socket
    far: socket.socket
    done: list[object] = field(default_factory=list)
    spoken: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)
    """Bytes of the peer that were handed over."""
    taken: bytearray = field(default_factory=bytearray)
    arrived: bytearray = field(default_factory=bytearray)
    """Bytes that the peer has read."""
    writing: list[list[bytes]] = field(default_factory=list)
    """The bytes of each write in progress, until the endpoint reports on it."""
    calls: int = 0
    depth: int = 0
    endpoint: Any = None
    broken: AssertionError | None = None
    deaf: bool = False
    """There was no receiver for a time, so that bytes may be lost."""

    def received(self, buffer: bytearray, size: int) -> None:
        assert 0 < size <= len(buffer)
        self.heard += buffer[:size]
        self.tell("received", size)

    def ended(self, error: Exception | None) -> None:
        if isinstance(error, AssertionError):
            self.broken = error  # of a nested step
        self.writing[-1].clear()
        self.tell("ended", type(error), getattr(error, "errno", None))

    def unsent(self, data: Any, sent: int) -> None:
        whole = self.writing[-1].pop()
        assert bytes(data) == whole
        assert not sent or 0 < sent < len(whole)
        self.taken += whole[:sent]
        self.tell("rest", len(whole), bool(sent))

    def tell(self, *what: object) -> None:
        """Note a call, and do a step of the plan within it."""
        self.done.append(what)
        self.calls += 1
        if self.depth < 2:
            self.depth += 1
            try:
                self.step(*self.plan.within[self.calls % len(self.plan.within)])
            finally:
                self.depth -= 1

    def called(self, call: Callable[..., object], *arguments: Any, whole: bytes = b"") -> None:
        """Call the endpoint; what it does not report as unsent was taken by the socket."""
        self.writing.append([whole])
        try:
            call(*arguments)
            self.taken += b"".join(self.writing[-1])
        finally:
            self.writing.pop()

    def step(self, what: str, value: Any) -> None:
        endpoint = self.endpoint
        if what == "call":
            self.called(endpoint)
        elif what == "raise":
            raise value
        elif what == "another":
            endpoint.received = partial(World.received, self)
        elif what == "forget":
            self.deaf = True
            del endpoint.received
        elif what == "hold":
            endpoint.queueing = value
        elif what == "write":
            self.called(endpoint.write, value, whole=bytes_of(value))
        elif what == "framed":
            self.called(endpoint.write_framed, *value, whole=b"".join(map(bytes_of, value)))
        elif what == "send":
            self.taken += value[: endpoint.send(value)]
        elif what == "finish near":
            self.near.shutdown(socket.SHUT_WR)
        elif what == "fill":
            self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            while sent := endpoint.send(FULL):
                self.taken += FULL[:sent]
        elif self.far.fileno() >= 0:
            self.step_of_peer(what, value)

    def step_of_peer(self, what: str, value: Any) -> None:
        if what == "speak":
            self.spoken += value[: self.far.send(value)]
        elif what == "drain":
            self.arrived += self.far.recv(LARGE)
        elif what == "finish":
            self.far.shutdown(socket.SHUT_WR)
        elif what == "close":
            self.far.close()
        elif what == "reset":
            self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.far.close()

    def end(self) -> None:
        """Break reference cycles; check that all bytes taken have arrived, if the peer is there."""
        self.endpoint = None
        if self.broken is not None:
            raise self.broken
        if self.far.fileno() >= 0:
            with suppress(OSError):  # the plan has done it
                self.near.shutdown(socket.SHUT_WR)
            self.far.settimeout(60)
            while data := self.far.recv(LARGE):
                self.arrived += data
            assert self.arrived == self.taken
        assert self.deaf or self.spoken.startswith(self.heard)


def bytes_of(value: Any) -> bytes:
    """Return the bytes that are written; none for an invalid value."""
    try:
        return value.encode() if isinstance(value, str) else bytes(memoryview(value))
    except (TypeError, UnicodeEncodeError):
        return b""


def run(twin: type, plan: Plan) -> list[object]:
    near, far = connected(over_tcp=plan.over_tcp)
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        world = World(plan, near, far)
        world.endpoint = twin(near, bytearray(plan.buffer), world.received, world.ended, world.unsent)
        for step in plan.steps:
            try:
                world.step(*step)
            except (OSError, TypeError, ValueError, BufferError, AttributeError, KeyboardInterrupt) as error:
                world.done.append(type(error))
        world.end()
    return world.done


@given(plan=plans)
def test_both_twins_do_the_same_and_nothing_leaks(plan: Plan) -> None:
    assert run(SocketEndpoint, plan) == run(PythonSocketEndpoint, plan)
    assert_nothing_stays(lambda: run(SocketEndpoint, plan), [None, plan.steps])


@given(plan=plans)
def test_over_tcp_no_byte_is_lost_and_nothing_leaks(plan: Plan) -> None:
    """TCP does not always take the same number of bytes, so the twins are not compared."""
    plan = replace(plan, over_tcp=True)
    for twin in dict.fromkeys([PythonSocketEndpoint, SocketEndpoint]):
        run(twin, plan)
    assert_nothing_stays(lambda: run(SocketEndpoint, plan), [None, plan.steps])
