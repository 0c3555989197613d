"""The blocking connection where the server does not take what is sent."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon.client.blocking.connection import BlockingConnection
from antiphon.client.blocking.dial import dial
from antiphon.client.blocking.sign_in import BlockingSignIn
from antiphon.client.protocol.sign_in import at_once
from antiphon.client.trust import KnownServers
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
from antiphon.errors import AntiphonError, ConnectionLost, SessionReplaced, TimedOut
from antiphon.wire.bodies import Limits
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST
from support.fake_servers import Fake, Peer, fake

MUCH = bytes(MESSAGE_LIMIT_MOST)
"""More than two sockets hold."""


def let_in(peer: Peer) -> None:
    peer.hello(limits=Limits(message=MESSAGE_LIMIT_MOST, heartbeat=20, silence=40))
    peer.welcome(None, "")


def inside(there: Fake, seconds: float = 20) -> BlockingConnection:
    connection = dial(there.address, KnownServers(Path("nothing")), seconds).connection
    at_once(BlockingSignIn(connection).introduce("ann"))
    connection.seconds = seconds
    return connection


def why(connection: BlockingConnection, work: Callable[[], object]) -> type[AntiphonError]:
    """Return why a connection was closed by `work`."""
    work()
    assert connection.closed
    assert connection.reason is not None
    return type(connection.reason)


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_a_server_that_takes_nothing_is_given_up_in_time(tmp_path: Path, *, secure: bool) -> None:
    done = threading.Event()

    def play(peer: Peer) -> None:
        let_in(peer)
        assert done.wait(60)

    certificate = load_or_make(DataFolder.open(tmp_path), ["localhost"]) if secure else None
    with fake(play, certificate=certificate) as there:
        connection = inside(there, 0.5 if not secure else 2)
        assert why(connection, lambda: connection.send(MUCH)) is TimedOut
        done.set()
        connection.send(b"more")  # has no effect


def test_a_server_that_closes_while_it_is_sent_something_is_lost() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        peer.sock.recv(1)

    with fake(play) as there:
        connection = inside(there)
        assert why(connection, lambda: connection.send(MUCH)) is ConnectionLost


def test_a_server_that_says_goodbye_while_it_is_sent_something_is_heard() -> None:
    done = threading.Event()

    def play(peer: Peer) -> None:
        let_in(peer)
        peer.send(peer.conversation.bye("replaced"))
        assert done.wait(60)

    with fake(play) as there:
        connection = inside(there)
        assert why(connection, lambda: connection.send(MUCH)) is SessionReplaced
        done.set()


def test_frames_that_go_together_are_sent_at_the_end_of_the_block_whatever_ends_it() -> None:
    sent, looked = threading.Event(), threading.Event()

    def play(peer: Peer) -> None:
        let_in(peer)
        assert sent.wait(60)
        peer.sock.settimeout(0)
        with pytest.raises(BlockingIOError):
            peer.sock.recv(1)
        peer.sock.settimeout(60)
        looked.set()
        assert peer.sock.recv(65536) == b"ab"

    with fake(play) as there:
        connection = inside(there)
        with contextlib.suppress(ZeroDivisionError), connection.together():
            connection.send(b"a")
            connection.send(b"b")
            sent.set()
            assert looked.wait(60)
            raise ZeroDivisionError
        connection.abort()


def test_frames_that_go_together_over_a_slow_path_have_their_time_each() -> None:
    pause, frame = threading.Event(), bytes(32 * 1024)
    count = len(MUCH) // len(frame)

    def play(peer: Peer) -> None:
        let_in(peer)
        left = len(MUCH)
        while left and (data := peer.sock.recv(256 * 1024)):
            left -= len(data)
            pause.wait(0.05)
        assert not left

    with fake(play) as there:
        connection = inside(there, seconds=1.0)
        begun = time.monotonic()
        with connection.together():
            for _ in range(count):
                connection.send(frame)
        assert not connection.closed
        assert time.monotonic() - begun > 1.0, "the path was not slow"
        connection.abort()


def test_it_shows_no_secret() -> None:
    with fake(let_in) as there:
        connection = inside(there)
        assert repr(connection) == f"BlockingConnection('{connection.address}')"
        connection.abort()
        connection.abort()
