"""What a connection waits for, and how long: the store before the sign-in, and a slow reader at the end."""

import asyncio
from pathlib import Path

import pytest

from antiphon.server.connection.connection import Connection
from antiphon.server.connection.deadlines import LINGER_SECONDS
from antiphon.server.connection.state import State
from antiphon.server.connection.write_buffer import ENTRY_QUEUE_LIMIT, QUEUE_LIMIT
from antiphon.server.peer import Peer
from antiphon.store.contracts import Account, Accounts
from antiphon.wire.bodies import Identified, Identify, ServerBye
from antiphon.wire.frames import Frame, encode
from antiphon.wire.kinds import ENTRY_LIMIT, MESSAGE_LIMIT_MOST, Kind
from support.joined import joined
from support.serving import ATTACKER, seed


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


class Slow:
    """Accounts that are found only when it is time."""

    def __init__(self, accounts: Accounts) -> None:
        self._find = accounts.find
        self.time = asyncio.Event()

    async def find(self, key: str) -> Account | None:
        await self.time.wait()
        return await self._find(key)


def test_of_one_who_has_not_signed_in_little_is_read_while_the_store_is_asked(data: Path) -> None:
    frame = encode(Kind.IDENTIFY, 1, b'{"name":"ann"}'.ljust(ENTRY_LIMIT))
    count = 2 * ENTRY_QUEUE_LIMIT // len(frame)
    assert count * len(frame) < QUEUE_LIMIT
    with joined(data) as server, server.client(ATTACKER) as client:
        client.hello()
        slow = server.read(lambda _: Slow(server.store.accounts))
        server.store.accounts.find = slow.find
        client.send(frame * count)
        server.until(lambda: not client.untaken)
        client.send(frame)
        server.let_pass(1)
        assert client.untaken == len(frame), "the server takes no more"
        server.read(lambda _: slow.time.set())
        assert [client.body() for _ in range(count + 1)] == [Identified(name="ann", free=True)] * (count + 1)
        assert client.request(Kind.IDENTIFY, Identify(name="bob")) == Identified(name="bob", free=True)


def test_who_reads_late_still_gets_what_was_answered_before_the_end(data: Path) -> None:
    (token,) = seed(data)
    with (
        joined(data, plain=False, message_limit=MESSAGE_LIMIT_MOST) as server,
        server.session(token) as client,
    ):
        id, asked = client.conversation.message(bytes(MESSAGE_LIMIT_MOST))
        client.send(asked)
        server.until(lambda: server.connections[0].blocked)
        with server.session(token):
            server.until(lambda: any(each.state is State.CLOSING for each in server.connections))
            server.let_pass(2 * LINGER_SECONDS)
            answer = client.next()
            assert isinstance(answer, Frame)
            assert (answer.id, len(answer.payload)) == (id, MESSAGE_LIMIT_MOST)
            assert client.body() == ServerBye(reason="replaced")


class Closing(asyncio.Transport):
    """A transport that does not end, and from which the peer takes nothing more."""

    aborted = False

    def __init__(self, unsent: int) -> None:
        super().__init__()
        self.unsent = unsent

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take any."""

    def limit_reading(self, size: int) -> None:
        """Take any."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hand it on at once."""

    def close(self) -> None:
        """Begin to end."""

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("binding", [b"over TLS", None])
@pytest.mark.parametrize(("unsent", "patience"), [(1, 10.0), (0, LINGER_SECONDS)])
def test_what_waits_at_the_end_has_the_time_of_a_slow_reader(
    data: Path, binding: bytes | None, unsent: int, patience: float
) -> None:
    with joined(data) as server:
        assert server.settings.write_seconds == 10
        transport = Closing(unsent)

        async def close() -> None:
            connection = Connection(server.host, Peer("127.0.0.1:1", "127.0.0.1", binding), 0)
            connection.connection_made(transport)
            connection.close()

        server.call(close())
        server.let_pass(patience - 0.3)
        assert not transport.aborted
        server.let_pass(0.6)
        assert transport.aborted
        server.read(lambda _: [each.connection_lost(None) for each in server.connections])
