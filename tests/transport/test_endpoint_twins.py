"""Whatever a peer does and those who are called do: the twins do the same, no byte is lost, nothing stays behind.

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

from antiphon.transport.endpoint import Endpoint, PythonEndpoint
from support.leaks import assert_nothing_stays
from support.wire_strategies import weighted

RESET = struct.pack("ii", 1, 0)
"""Linger for no time."""
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
    """What is done: the same for each twin, as often as wanted."""

    steps: list[Step]
    within: list[Step]
    """What is done at each call of `received`, in turn, and of `ended` and `rest`."""
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
    """An endpoint, its peer, and what it tells."""

    plan: Plan
    near: socket.socket
    far: socket.socket
    done: list[object] = field(default_factory=list)
    spoken: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)
    """What was handed over of what the peer has spoken."""
    taken: bytearray = field(default_factory=bytearray)
    arrived: bytearray = field(default_factory=bytearray)
    """What the peer has read of what the socket was said to have taken."""
    writing: list[list[bytes]] = field(default_factory=list)
    """Of each write that is under way, what is written: until something is told of it."""
    calls: int = 0
    depth: int = 0
    endpoint: Any = None
    broken: AssertionError | None = None
    deaf: bool = False
    """At some time nobody was there to receive, so that bytes may be lost."""

    def received(self, buffer: bytearray, size: int) -> None:
        assert 0 < size <= len(buffer)
        self.heard += buffer[:size]
        self.tell("received", size)

    def ended(self, error: Exception | None) -> None:
        if isinstance(error, AssertionError):
            self.broken = error  # ours, raised within the call
        self.writing[-1].clear()
        self.tell("ended", type(error), getattr(error, "errno", None))

    def rest(self, data: Any, sent: int) -> None:
        whole = self.writing[-1].pop()
        assert bytes(data) == whole
        assert not sent or 0 < sent < len(whole)
        self.taken += whole[:sent]
        self.tell("rest", len(whole), bool(sent))

    def tell(self, *what: object) -> None:
        """Note it, and do something before the call comes back."""
        self.done.append(what)
        self.calls += 1
        if self.depth < 2:
            self.depth += 1
            try:
                self.step(*self.plan.within[self.calls % len(self.plan.within)])
            finally:
                self.depth -= 1

    def called(self, call: Callable[..., object], *arguments: Any, whole: bytes = b"") -> None:
        """Call the endpoint; what is written is taken by the socket where nothing else is told."""
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
            endpoint.held = value
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
        """Let go of all that holds one another; see that what was taken has arrived, where the peer lives."""
        self.endpoint = None
        if self.broken is not None:
            raise self.broken
        if self.far.fileno() >= 0:
            with suppress(OSError):  # it has been done
                self.near.shutdown(socket.SHUT_WR)
            self.far.settimeout(10)
            while data := self.far.recv(LARGE):
                self.arrived += data
            assert self.arrived == self.taken
        assert self.deaf or self.spoken.startswith(self.heard)


def bytes_of(value: Any) -> bytes:
    """Return what is written; nothing for what cannot be."""
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
        world.endpoint = twin(near, bytearray(plan.buffer), world.received, world.ended, world.rest)
        for step in plan.steps:
            try:
                world.step(*step)
            except (OSError, TypeError, ValueError, BufferError, AttributeError, KeyboardInterrupt) as error:
                world.done.append(type(error))
        world.end()
    return world.done


@given(plan=plans)
def test_the_twins_do_the_same_and_nothing_stays(plan: Plan) -> None:
    assert run(Endpoint, plan) == run(PythonEndpoint, plan)
    assert_nothing_stays(lambda: run(Endpoint, plan), [None, plan.steps])


@given(plan=plans)
def test_over_tcp_no_byte_is_lost_and_nothing_stays(plan: Plan) -> None:
    """How much TCP takes at a time is not always the same, so the twins are not."""
    plan = replace(plan, over_tcp=True)
    for twin in dict.fromkeys([PythonEndpoint, Endpoint]):
        run(twin, plan)
    assert_nothing_stays(lambda: run(Endpoint, plan), [None, plan.steps])
