"""Attacks that are measured: floods from processes of their own, and the waits of an honest client meanwhile."""

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from antiphon.address import Address
from antiphon.wire.bodies import Resume, Welcome
from antiphon.wire.conversation import ClientConversation
from antiphon.wire.frames import Frame, Payload
from antiphon.wire.kinds import Flag, Kind
from support import flooder
from support.processes import PASSWORD, PipedProcess, ServerProcess, clean_environment
from support.raw import RawClient
from support.serving import in_session
from support.wire_client import Closed

LONG = bool(os.environ.get("ABUSE_LONG"))
"""Whether attacks go on for as long as `make abuse` wants it."""
WORST_WAIT = 0.1
"""Seconds that an honest client waits at the most, whatever others do (issue 14): the server's processor time, as
what other processes do is not the server's."""
PACE_SECONDS = 0.05
"""Between two questions of the honest client."""
NEWCOMER_SECONDS = 2.0
"""In which somebody who comes while an attack goes on is in: the server's processor time too."""
ROUNDS = 5 if LONG else 3
"""How often an attack is repeated until one round is good: a busy machine spoils some, a stalling server all."""
ROUND_SECONDS = 10.0 if LONG else 1.0
HONEST_SECONDS = 30.0
"""What the honest client waits for an answer before it gives up; the wait counts."""
SOURCES = tuple(f"127.0.0.{last}" for last in range(20, 27))
"""Seven sources of attacks, none of which is the honest client's."""


@dataclass(frozen=True, kw_only=True)
class Flood:
    """What one process of attackers does."""

    address: Address
    pieces: Sequence[bytes]
    """What the connections write again and again, in turns."""
    prologues: Sequence[bytes] = (b"",)
    """What the connections write first, in turns."""
    connections: int = 1
    sources: Sequence[str] = SOURCES[:1]
    seconds: float = ROUND_SECONDS
    times: int = 0
    """How often a connection writes its piece; 0: until the time is over."""
    again: bool = False
    """Whether what the server closes is opened again."""
    reads: bool = True
    holds: bool = False
    """Whether connections stay open when the time is over or nothing moves any more, until the block ends."""

    def order(self) -> str:
        """Return what `flooder` reads."""
        return json.dumps(
            {
                "host": {"localhost": "127.0.0.1"}.get(self.address.host, self.address.host),
                "port": self.address.port,
                "tls": self.address.scheme == "tls",
                "pieces": [piece.hex() for piece in self.pieces],
                "prologues": [prologue.hex() for prologue in self.prologues],
                "connections": self.connections,
                "sources": list(self.sources),
                "seconds": self.seconds,
                "times": self.times,
                "again": self.again,
                "reads": self.reads,
                "holds": self.holds,
            }
        )


class Flooding:
    """A flood that goes on."""

    def __init__(self, process: PipedProcess) -> None:
        self._process = process
        self.told: dict[str, Any] = {}
        """How many connections were `opened` and how many bytes `sent` and `received`, once it is over."""

    def end(self) -> None:
        """Wait until it is over."""
        self._process.stdin.write(b"\n")
        self.told = json.loads(self._process.stdout.readline())

    def held(self) -> None:
        """Wait until everything is written and only held."""
        assert self._process.stdout.readline() == "held\n"


@contextlib.contextmanager
def flooding(flood: Flood, home: Path) -> Iterator[Flooding]:
    """Flood from another process; the block begins with the flood and ends after it."""
    with PipedProcess(Path(flooder.__file__), environment=clean_environment(home)) as process:
        process.stdin.write(f"{flood.order()}\n".encode())
        said = process.stdout.readline()
        assert said == "open\n", process.stderr.read()
        process.stdin.write(b"\n")
        running = Flooding(process)
        yield running
        running.end()


def resuming(token: bytes) -> bytes:
    """Return the RESUME that opens the session of `token`; messages may follow at once."""
    return ClientConversation().resume(token, Resume())[1]


def processor_seconds(pid: int) -> float:
    """Return the seconds that a process has used of the processors, all its threads together."""
    return time.clock_gettime(~pid << 3 | 2)  # see clock_getcpuclockid(3): 2 stands for the scheduler's account


class Paced:
    """An honest client that says something every 50 ms.

    `waits` are the seconds of processor time that the server used before it answered.
    """

    def __init__(
        self, server: ServerProcess, token: bytes, question: str = "1", answers: Sequence[str] = ("1", "2")
    ) -> None:
        self._client = in_session(server.address, token, timeout=HONEST_SECONDS)
        self._now = partial(processor_seconds, server.process.pid)
        self._question, self._answers = question, answers
        self.waits: list[float] = []
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ask()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        try:
            if self._error is not None:
                raise AssertionError(f"the honest client was disturbed: {self._error!r}") from self._error
        finally:
            self._client.sock.close()

    def _run(self) -> None:
        try:
            while not self._stop.wait(PACE_SECONDS):
                asked_at = self._now()
                answer = self._ask()
                self.waits.append(self._now() - asked_at)
                assert answer in self._answers, answer
        except TimeoutError:
            self.waits.append(HONEST_SECONDS)
        except BaseException as error:  # noqa: BLE001 - shown in the test's thread
            self._error = error

    def _ask(self) -> Payload | None:
        """Return the first of the answers to the question, once the last has come."""
        id, data = self._client.conversation.message(self._question)
        self._client.send(data)
        first: Payload | None = None
        while True:
            event = self._client.next()
            assert isinstance(event, Frame), event
            if event.id == id:
                first = event.payload if first is None and event.kind == Kind.MESSAGE else first
                if event.kind == Kind.END or event.flags & Flag.LAST:
                    return first

    @property
    def worst(self) -> float:
        """The longest wait."""
        return max(self.waits)


def worst_wait(server: ServerProcess, token: bytes, flood: Flood, home: Path) -> float:
    """Return the honest client's worst wait in the best of some rounds of `flood`.

    A round that is good ends the attack: what a busy machine adds, it does not add to all of them.
    """
    worst = []
    for _ in range(ROUNDS):
        try:
            with Paced(server, token) as honest, flooding(flood, home):
                pass
        except TimeoutError:  # the round before has stalled the server for so long
            worst.append(HONEST_SECONDS)
            break
        worst.append(honest.worst)
        if honest.worst < WORST_WAIT:
            break
    tell("worst wait", seconds=[round(one, 3) for one in worst])
    return min(worst)


def newcomer(server: ServerProcess, name: str, source: str = "127.0.0.9", within: float = 60.0) -> float:
    """Return after how much processor time of the server `name` is in, who tries again where it is dropped."""
    began, used = time.monotonic(), processor_seconds(server.process.pid)
    while True:
        try:
            with RawClient(server.address, timeout=within, source=source) as client:
                welcome = client.sign_in(name, PASSWORD)
                assert isinstance(welcome, Welcome)
                return processor_seconds(server.process.pid) - used
        except (Closed, OSError):
            assert time.monotonic() - began < within, "the newcomer did not get in"
            time.sleep(secrets.randbelow(100) / 1000)


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until `condition()` holds."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it never came to hold"
        time.sleep(PACE_SECONDS)


def tell(what: str, **figures: object) -> None:
    """Append a figure to the file that `ABUSE_FIGURES` names, if any."""
    if path := os.environ.get("ABUSE_FIGURES"):
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"test": test, "what": what, **figures}) + "\n")
