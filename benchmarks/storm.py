"""Storm of resumes: all connections of a server are cut at once, and all clients come back at once.

Each client resumes its session as soon as the limits for connections that have not signed in allow it, so none is
refused. Measured is everything from the cut on: the server lets go of the lost connections, and takes up the
sessions again. Before the cut they are silent: what they cost then is measured, too.
"""

import selectors
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from memory import LONG, files_for
from plan import Plan
from processes import Placement, RunningServer, antiphon, on_core
from rows import Row, Spread, Unit
from sessions import seed_sessions
from workloads import Shape
from workloads import antiphon as load

from antiphon.wire.frames import LENGTH_SIZE, split_frames
from antiphon.wire.kinds import Kind

SESSIONS, QUICK_SESSIONS = 10_000, 60
ROUNDS_MOST = 3
SOURCES = 2
"""Loopback addresses of the clients."""
TOGETHER = 30
"""Connections of one source that are not signed in; with those of the other fewer than `--entry-begin`."""
SECONDS = 120.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset, as a network that is cut looks to the server."""
IDLE_SECONDS, QUICK_IDLE_SECONDS = 20.0, 0.5
IDLE, CPU, WALL, PEAK = "storm/idle", "storm/cpu", "storm/seconds", "storm/memory"
PEAK_RESETS = "5"
"""What is written to `clear_refs` to measure the peak of the memory from now on."""


def names() -> list[str]:
    """Return the name of every row."""
    return [IDLE, CPU, WALL, PEAK]


def rows(plan: Plan) -> Iterator[Row]:
    """Measure the storm if any of its rows is wanted."""
    wanted = [name for name in names() if plan.wanted(name)]
    if not wanted:
        return
    data, count = plan.folder / "storm", files_for(plan.few(SESSIONS, QUICK_SESSIONS))
    tokens = seed_sessions(data, count)
    figures: dict[str, list[float]] = {name: [] for name in names()}
    with antiphon("echo", *LONG)(Placement(plan.server_core, data)) as running, on_core(plan.load_core):
        held = resumed(running.port, tokens)
        for _ in range(min(plan.rounds, ROUNDS_MOST)):
            running.rest()
            figures[IDLE].append(_idle(running, QUICK_IDLE_SECONDS if plan.quick else IDLE_SECONDS))
            _reset_peak(running)
            began, spent = time.perf_counter(), running.processor_seconds()
            for sock in held:
                sock.close()
            held = resumed(running.port, tokens)
            figures[WALL].append(time.perf_counter() - began)
            running.rest()
            figures[CPU].append((running.processor_seconds() - spent) / count * 1000)
            figures[PEAK].append(_peak_mib(running))
        for sock in held:
            sock.close()
    what = f"{count:,} sessions cut and resumed at once, plain TCP, SQLite"
    given: dict[str, tuple[str, Unit]] = {
        IDLE: (f"{count:,} signed-in idle sessions, plain TCP: processor time of the server", "% of a core"),
        CPU: (f"{what}: processor time of the server for each", "ms"),
        WALL: (f"{what}: until the last one is back", "s"),
        PEAK: (f"{what}: peak of the server's memory", "MiB"),
    }
    for name in wanted:
        title, unit = given[name]
        yield Row(name, title, "", unit, None, Spread(figures[name]))


class Client:
    """A client that resumes its session."""

    def __init__(self, port: int, source: int, prologue: bytes) -> None:
        """Connect from a source, and send the RESUME ahead."""
        self.source = source
        self.sock = socket.create_connection(("127.0.0.1", port), SECONDS, (f"127.0.0.{2 + source}", 0))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.sendall(prologue)
        self._received = b""

    def is_back(self) -> bool:
        """Read what the server has sent; return whether the session is resumed."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self._received += data
        frames = list(split_frames(self._received))
        whole = [
            frame for frame in frames if len(frame) == LENGTH_SIZE + int.from_bytes(frame[:LENGTH_SIZE], "big")
        ]
        if not data or any(frame[LENGTH_SIZE] not in (Kind.HELLO, Kind.WELCOME) for frame in whole):
            raise SystemExit("bench: the server has refused a client that came back.")
        return any(frame[LENGTH_SIZE] == Kind.WELCOME for frame in whole)


def resumed(port: int, tokens: list[bytes]) -> list[socket.socket]:
    """Resume all sessions, as many at once as are admitted; return their connections."""
    prologues = [load(Shape(1, 1, 64), [token]).prologues for token in tokens]
    held: list[socket.socket] = []
    under_way = [0] * SOURCES
    due = iter(prologues)
    with selectors.EpollSelector() as waiting:
        while len(held) < len(tokens):
            while min(under_way) < TOGETHER and (prologue := next(due, None)) is not None:
                client = Client(port, under_way.index(min(under_way)), prologue)
                waiting.register(client.sock, selectors.EVENT_READ, client)
                under_way[client.source] += 1
            ready = waiting.select(SECONDS)
            if not ready:
                raise SystemExit(
                    f"bench: after {SECONDS:g} s the server has not answered a client that came back."
                )
            for key, _ in ready:
                if key.data.is_back():
                    waiting.unregister(key.fileobj)
                    held.append(key.data.sock)
                    under_way[key.data.source] -= 1
    return held


def _idle(running: RunningServer, seconds: float) -> float:
    """Return which part of a core the server takes while its clients are silent, in percent."""
    began, spent = time.perf_counter(), running.processor_seconds()
    time.sleep(seconds)
    return (running.processor_seconds() - spent) / (time.perf_counter() - began) * 100


def _reset_peak(running: RunningServer) -> None:
    Path(f"/proc/{running.pid}/clear_refs").write_text(PEAK_RESETS, "ascii")


def _peak_mib(running: RunningServer) -> float:
    status = Path(f"/proc/{running.pid}/status").read_text("ascii")
    return next(int(each.split()[1]) / 1024 for each in status.splitlines() if each.startswith("VmHWM:"))
