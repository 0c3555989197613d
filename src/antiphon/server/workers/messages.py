"""Messages between a supervisor and its workers."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from antiphon.server.control.live import ClosedSession, Live, LiveQuery
from antiphon.server.control.report import ProcessReport
from antiphon.server.topics.contract import Position
from antiphon.server.workers.count import share
from antiphon.settings import ProgramSettings, ServerSettings
from antiphon.topics import Subscriber

SocketAddress = tuple[str | int, ...]
"""The address of an IPv4 or IPv6 peer, as `accept` gives it."""
What = Literal["registrations", "failures", "invitations"]
"""What the supervisor counts: a field of `listen.limits.HourlyLimits`."""

# --- to a worker ----------------------------------------------------------------------------------------------


class Start(msgspec.Struct, tag=True, frozen=True):
    """The first message: what to serve."""

    service: str
    settings: ServerSettings
    program: ProgramSettings
    language: str
    as_json: bool
    """How to say where the server listens."""
    workers: int
    pid: int
    """Of the supervisor."""
    announces: bool
    """Whether this worker tells the data folder, the port file and the log where the server listens."""
    port: int
    moved_from: int | None
    hosts: tuple[str, ...]
    loopback: bool
    """Those of `listen.ports.Listening`."""
    reloads: bool = False
    """Whether the server is one with `--reload`: the worker tells what it imports, and shows faults."""

    def for_worker(self, number: int, *, announces: bool) -> Self:
        """Return what the worker `number`, from 0, is told: its part of what is set for the server."""
        program = replace(self.program, exec_most=share(self.program.exec_most, self.workers, number))
        rate = self.settings.drain_rate
        settings = self.settings if rate is None else replace(self.settings, drain_rate=rate / self.workers)
        return msgspec.structs.replace(self, settings=settings, program=program, announces=announces)


class Client(msgspec.Struct, tag=True, frozen=True):
    """A connection that was accepted; its socket comes with the message."""

    address: SocketAddress
    accepted_at: float


class Counted(msgspec.Struct, tag=True, frozen=True):
    """The answer to `Count`."""

    id: int
    wait: float


class Look(msgspec.Struct, tag=True, frozen=True):
    """Say which sessions are connected. It is answered by `Seen`."""

    id: int
    query: LiveQuery


class Stop(msgspec.Struct, tag=True, frozen=True):
    """Drain and end, as after the signal `number`."""

    number: int


# --- to the supervisor ----------------------------------------------------------------------------------------


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The worker cannot serve: the `AntiphonError` with `code`, in words."""

    code: str
    text: str
    advice: str
    sources: tuple[str, ...] = ()
    """Files of user code that it has come to, with `--reload`."""


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The worker serves; `text` says where the server listens."""

    text: str


class Imported(msgspec.Struct, tag=True, frozen=True):
    """The worker has imported these files of user code, beside those that it has told of. With `--reload` only."""

    sources: tuple[str, ...]


class Taken(msgspec.Struct, tag=True, frozen=True):
    """The worker has the socket of the first `Client` that it has not acknowledged yet."""


class Closed(msgspec.Struct, tag=True, frozen=True):
    """The socket of a connection is closed."""


class Released(msgspec.Struct, tag=True, frozen=True):
    """A connection from the IP `host` has given its place in the admission limits back."""

    host: str


class Count(msgspec.Struct, tag=True, frozen=True):
    """Count one of `what` from the IP `host`, if the limit admits it. It is answered by `Counted`."""

    id: int
    what: What
    host: str


class Forgive(msgspec.Struct, tag=True, frozen=True):
    """Take one of `what` from the IP `host` out of the count again."""

    what: What
    host: str


class Beat(msgspec.Struct, tag=True, frozen=True):
    """The event loop of the worker runs, and this is what it does."""

    report: ProcessReport
    closed: list[ClosedSession] | None = None
    """Sessions that have closed last, the newest first; None: the same as before."""


class Seen(msgspec.Struct, tag=True, frozen=True):
    """The answer to `Look`."""

    id: int
    live: Live


class Leaving(msgspec.Struct, tag=True, frozen=True):
    """The worker takes no more sockets: what it has not acknowledged belongs to others."""


# --- about topics; `topics.contract.Broker` says what each is ---------------------------------------------------


class Publish(msgspec.Struct, tag=True, frozen=True):
    """Publish a message, text or bytes. It is answered by `Answer`, as all with an `id`."""

    id: int
    topic: str
    message: Any


class Subscribe(msgspec.Struct, tag=True, frozen=True):
    """Subscribe a session."""

    id: int
    topic: str
    number: int
    subscriber: Subscriber


class Unsubscribe(msgspec.Struct, tag=True, frozen=True):
    """Subscribe a session no more."""

    topic: str
    number: int


class Read(msgspec.Struct, tag=True, frozen=True):
    """Read entries."""

    id: int
    topic: str
    after: Position


class Who(msgspec.Struct, tag=True, frozen=True):
    """Say who is subscribed to each of these topics."""

    id: int
    topics: list[str]


class Which(msgspec.Struct, tag=True, frozen=True):
    """Say which topics have subscribers."""

    id: int
    topic: str
    """What their names begin with."""


class Answer(msgspec.Struct, tag=True, frozen=True):
    """The answer to one of these, with what it asks for."""

    id: int
    epoch: int = 0
    first: int = 0
    last: int = 0
    entries: list[tuple[int, Any]] = []
    present: list[list[Subscriber]] = []
    """For each topic of a `Who`, in order."""
    topics: list[str] = []
    most: int = 0
    """Not 0: there are so many topics, and can be no more."""


class News(msgspec.Struct, tag=True, frozen=True):
    """A message was published; without it, it is to be read."""

    topic: str
    epoch: int
    offset: int
    message: Any


ToWorker = Start | Client | Counted | Look | Stop | Answer | News
AboutTopics = Publish | Subscribe | Unsubscribe | Read | Who | Which
ToSupervisor = (
    Failed | Ready | Imported | Taken | Closed | Released | Count | Forgive | Beat | Seen | Leaving | AboutTopics
)
Message = ToWorker | ToSupervisor

_encoder = msgspec.msgpack.Encoder(enc_hook=str)


def _from_text(kind: type[Any], text: Any) -> Any:
    if kind is Path:
        return Path(text)
    raise NotImplementedError(kind)


_decoder = msgspec.msgpack.Decoder(Message, dec_hook=_from_text)


def encode(message: Message) -> bytes:
    """Return a message in bytes."""
    return _encoder.encode(message)


def decode(data: bytes | bytearray | memoryview) -> Message:
    """Return the message that `data` holds.

    Raises:
        ValueError: it holds none.
    """
    decoded: Message = _decoder.decode(data)
    return decoded
