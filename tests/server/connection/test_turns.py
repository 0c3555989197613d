"""Turns: a connection with much to do lets the others have their turn, on every path."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from antiphon.server import turn_budget
from antiphon.server.turn_budget import ENTRY_READ_LIMIT, IDLE_FRAMES_MOST, SESSION_READ_LIMIT
from antiphon.services import Handler, Session
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame, encode
from antiphon.wire.kinds import Flag, Kind
from support.inside import connections
from support.raw import RawClient
from support.serving import seed, serving

MANY = 400
OPTIONAL = 0x99


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each turn end at the first look at the clock."""
    monkeypatch.setattr(turn_budget, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(turn_budget, "TURN_SECONDS_LEAST", 0.0)


class Order:
    """Messages in the order in which the handler got them; the first one makes somebody else's come."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def tell(self, message: str) -> str:
        if not self.told:
            self.meanwhile()
        self.told.append(message)
        if message == "wrong":
            raise ValueError(message)
        return message

    def plain(self, message: str) -> str:
        return self.tell(message)

    def seeing(self, message: str, session: Session) -> str:
        return self.tell(message)

    async def at_once(self, message: str) -> str:
        return self.tell(message)

    async def later(self, message: str) -> str:
        await asyncio.sleep(0)
        return self.tell(message)

    async def stream(self, message: str) -> AsyncIterator[str]:
        yield self.tell(message)


def outcomes(client: RawClient, many: int) -> dict[int, int]:
    """Read until so many messages are answered; return how often each kind of frame came, but END."""
    kinds: Counter[int] = Counter()
    while many:
        event = client.next()
        assert isinstance(event, Frame | Control)
        if event.kind != Kind.END:
            kinds[event.kind] += 1
        many -= not isinstance(event, Frame) or event.kind == Kind.END or bool(event.flags & Flag.LAST)
    return kinds


@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("said", ["right", "wrong"])
@pytest.mark.parametrize("path", ["plain", "seeing", "at_once", "later", "stream"])
@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_whoever_asks_amid_the_messages_of_another_does_not_wait_for_their_end(
    tmp_path: Path, path: str, said: str, plain: bool
) -> None:
    order = Order()
    handler: Handler = getattr(order, path)
    mine, theirs = seed(tmp_path / "data", sessions=2)
    with (
        serving(tmp_path / "data", handler, plain=plain) as server,
        server.session(mine) as honest,
        server.session(theirs) as greedy,
    ):
        id, question = honest.conversation.message("mine")
        asked = threading.Event()

        def ask() -> None:
            honest.send(question)
            asked.set()

        order.meanwhile = ask
        greedy.send(b"".join(greedy.conversation.message(said)[1] for _ in range(MANY)))
        assert asked.wait(60)
        assert honest.answer(id) == "mine"
        assert outcomes(greedy, MANY) == {Kind.ERROR if said == "wrong" else Kind.MESSAGE: MANY}
        assert order.told.index("mine") < MANY / 2
        assert order.told.count(said) == MANY
        assert server.read(lambda server: server._host.handlers.turns._waiting) == 0


@pytest.mark.usefixtures("short_turns")
def test_one_that_is_gone_amid_its_messages_counts_no_longer(tmp_path: Path) -> None:
    order = Order()
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", order.seeing, plain=True) as server, server.session(token) as client:
        order.meanwhile = server.server._host.abort
        client.send(b"".join(client.conversation.message("right")[1] for _ in range(MANY)))
        client.closed()
        assert server.read(lambda server: server._host.handlers.turns._waiting) == 0


@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("path", ["plain", "seeing", "later"])
def test_whoever_says_goodbye_behind_many_messages_gets_all_answers_first(tmp_path: Path, path: str) -> None:
    order = Order()
    (token,) = seed(tmp_path / "data")
    handler: Handler = getattr(order, path)
    with serving(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        client.send(
            b"".join(client.conversation.message("right")[1] for _ in range(MANY))
            + client.conversation.bye("left")
        )
        assert outcomes(client, MANY) == {Kind.MESSAGE: MANY}
        event = client.next()
        assert isinstance(event, Control)
        assert event.kind == Kind.BYE


# --- before sign-in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [OPTIONAL, Kind.HEARTBEAT])
@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_one_idle_frame_too_many_before_sign_in_ends_the_connection(
    tmp_path: Path, kind: int, plain: bool
) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=plain) as server, server.client() as client:
        client.hello()
        client.send(encode(kind, 0) * IDLE_FRAMES_MOST)
        assert client.authenticate("ann", "not the password of ann")  # answered: it is still open
        client.send(encode(kind, 0))
        error = client.error()
        assert error.code == "frame-unexpected"
        assert error.text == (
            "After 64 heartbeats or optional frames before sign-in, another one is not allowed now."
        )


@pytest.mark.parametrize("kind", [OPTIONAL, Kind.HEARTBEAT])
def test_in_a_session_idle_frames_are_not_counted(tmp_path: Path, kind: int) -> None:
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server, server.session(token) as client:
        client.send(encode(kind, 0) * (10 * IDLE_FRAMES_MOST))
        assert client.ask("hello") == "hello"


@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_little_is_read_at_once_before_sign_in_and_much_after_it(tmp_path: Path, plain: bool) -> None:
    def read_limits() -> list[int]:
        return server.read(lambda server: [limit_of(connection) for connection in connections(server)])

    def limit_of(connection: object) -> int:
        transport = connection._writer.transport  # type: ignore[attr-defined] # a test looks inside
        return int((transport if plain else transport._below)._endpoint.read_limit)

    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=plain) as server, server.client() as client:
        client.hello()
        assert read_limits() == [ENTRY_READ_LIMIT]
        client.resume(token)
        assert read_limits() == [SESSION_READ_LIMIT]
