"""The client's end of a connection against servers that are honest, tired, or hostile."""

import asyncio
import struct
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon.client.aio import connection as connection_module
from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.dial import dial
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers
from antiphon.errors import (
    AntiphonError,
    ConnectionLost,
    NotAntiphon,
    PeerSilent,
    ProtocolError,
    ServerStopping,
    SessionClosed,
    SessionEnded,
    SessionReplaced,
)
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS
from antiphon.wire.bodies import Authenticate, Bye, Challenge, Identified, Limits, Scram
from antiphon.wire.client_batch import Answer
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame, Payload, encode
from antiphon.wire.kinds import Kind
from support.fake_servers import Fake, Peer, faked, welcome
from support.hostile_servers import EARLY, HOSTILE

SECRET = Password("correct horse battery")


async def connected(there: Fake, tmp_path: Path) -> ClientConnection:
    """Return a connection to a fake, whose HELLO has come."""
    return (await dial(there.address, KnownServers(tmp_path / "known"), 10)).connection


async def resumed(there: Fake, tmp_path: Path) -> ClientConnection:
    """Return a connection with an open session."""
    connection = await connected(there, tmp_path)
    await SignIn(connection).resume(bytes(16))
    return connection


def open_session(peer: Peer, **fields: object) -> None:
    """Greet, and take up whatever session is asked for."""
    peer.hello(**fields)
    peer.welcome(None, "")


# --- an honest conversation ---------------------------------------------------------------------------------


async def test_heartbeats_are_sent_while_nothing_else_is(tmp_path: Path) -> None:
    def count(peer: Peer) -> None:
        peer.hello(limits=Limits(message=1024, heartbeat=0.1, silence=40.0))
        for _ in range(3):
            event = peer.next()
            assert isinstance(event, Frame)
            assert event.kind == Kind.HEARTBEAT
        peer.send(encode(Kind.BYE, 0))

    async with faked(count) as there:
        connection = await connected(there, tmp_path)
        assert isinstance(await connection.closed, ConnectionLost)


async def test_a_heartbeat_of_zero_does_not_spin(tmp_path: Path) -> None:
    def wait(peer: Peer) -> None:
        peer.hello(limits=Limits(message=1024, heartbeat=0.0, silence=0.5))
        assert len(peer.rest()) <= 12 * 12

    async with faked(wait) as there:
        connection = await connected(there, tmp_path)
        assert isinstance(await connection.closed, PeerSilent)


async def test_a_server_that_is_silent_is_given_up(tmp_path: Path) -> None:
    def fall_silent(peer: Peer) -> None:
        open_session(peer, limits=Limits(message=1024, heartbeat=0.1, silence=0.3))
        peer.rest()

    async with faked(fall_silent) as there:
        connection = await resumed(there, tmp_path)
        assert "Nothing was received for 0.3 seconds" in str(await connection.closed)


async def test_a_server_that_sends_heartbeats_is_not_silent(tmp_path: Path) -> None:
    def beat(peer: Peer) -> None:
        open_session(peer, limits=Limits(message=1024, heartbeat=0.1, silence=0.3))
        event, beats = peer.next(), 0
        while isinstance(event, Frame) and event.kind == Kind.HEARTBEAT and beats < 10:
            peer.send(peer.conversation.heartbeat())  # one for each: ten last for a second
            event, beats = peer.next(), beats + 1
        assert beats == 10
        peer.sock.close()

    async with faked(beat) as there:
        connection = await resumed(there, tmp_path)
        assert isinstance(await connection.closed, ConnectionLost)


@pytest.mark.parametrize(
    ("reason", "error"), [("replaced", SessionReplaced), ("expired", SessionEnded), ("closed", SessionClosed)]
)
async def test_a_goodbye_says_why_the_session_is_over(
    tmp_path: Path, reason: str, error: type[AntiphonError]
) -> None:
    def end(peer: Peer) -> None:
        open_session(peer)
        peer.send(peer.conversation.bye(reason))

    async with faked(end) as there:
        connection = await resumed(there, tmp_path)
        assert isinstance(await connection.closed, error)


async def test_a_server_that_stops_is_said_goodbye_to(tmp_path: Path) -> None:
    def drain(peer: Peer) -> None:
        open_session(peer)
        peer.send(peer.conversation.bye("drained"))
        goodbye = peer.next()
        assert isinstance(goodbye, Control)
        assert goodbye.body == Bye(reason="drained")

    async with faked(drain) as there:
        connection = await resumed(there, tmp_path)
        assert isinstance(await connection.closed, ServerStopping)
        assert not connection.open


async def test_what_comes_right_behind_the_welcome_is_kept_for_the_session(tmp_path: Path) -> None:
    def push_at_once(peer: Peer) -> None:
        peer.hello()
        control = peer.control()
        greeted = peer.conversation.welcome(control.id, welcome(None, "", None), bytes(16))
        peer.send(greeted + peer.conversation.push("early"))
        peer.rest()

    class Listener:
        def __init__(self) -> None:
            self.heard: asyncio.Future[tuple[int, Payload]] = asyncio.get_running_loop().create_future()

        def message(self, id: int, payload: Payload, *, last: bool) -> None:
            self.heard.set_result((id, payload))

        def answers(self, answers: list[Answer]) -> None:
            pass

        def end(self, id: int, error: AntiphonError | None) -> None:
            pass

        def acknowledgement(self) -> bytes:
            return b""

    async with faked(push_at_once) as there:
        connection = await resumed(there, tmp_path)
        listener = Listener()
        connection.attach(listener)
        assert await listener.heard == (0, "early")
        connection.abort()


# --- before the sign-in -------------------------------------------------------------------------------------


HUGE = struct.pack(">IBBHI", 0xFFFFFFFF, Kind.HELLO, 0, 0, 0)


@pytest.mark.parametrize("first", [HUGE, EARLY, b"SSH-2.0-OpenSSH_9.9\r\n", encode(Kind.HELLO, 0, b"{}")])
async def test_what_is_no_hello_is_refused_at_once_and_nothing_is_sent(tmp_path: Path, first: bytes) -> None:
    def play(peer: Peer) -> None:
        peer.send(first)
        assert peer.rest() == b""

    async with faked(play) as there:
        with pytest.raises(NotAntiphon):
            await connected(there, tmp_path)
        assert len(there.peers) == 1


# --- hostile servers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("play", "error"), HOSTILE)
async def test_a_hostile_server_is_refused_and_gets_nothing_more(
    tmp_path: Path, play: Callable[[Peer], None], error: type[AntiphonError]
) -> None:
    def play_and_listen(peer: Peer) -> None:
        play(peer)
        assert peer.rest() == b""

    async with faked(play_and_listen) as there:
        connection = await connected(there, tmp_path)
        with pytest.raises(error):
            await SignIn(connection).authenticate("ann", SECRET)
        connection.abort()


@pytest.mark.parametrize(
    "scram",
    [
        Scram(salt_length=2**31, iterations=600_000),
        Scram(salt_length=0, iterations=600_000),
        Scram(salt_length=32, iterations=10_000_000),
        Scram(salt_length=32, iterations=1),
    ],
)
async def test_no_verifier_is_made_with_absurd_parameters(tmp_path: Path, scram: Scram) -> None:
    def ask(peer: Peer) -> None:
        peer.hello(scram=scram)
        assert peer.rest() == b""

    async with faked(ask) as there:
        connection = await connected(there, tmp_path)
        with pytest.raises(ProtocolError):
            await SignIn(connection).register("ann", SECRET)
        connection.abort()


async def test_a_server_that_vanishes_ends_every_wait(tmp_path: Path) -> None:
    def vanish(peer: Peer) -> None:
        peer.hello()
        peer.control()

    async with faked(vanish) as there:
        connection = await connected(there, tmp_path)
        with pytest.raises(ConnectionLost):
            await SignIn(connection).identify("ann")
        with pytest.raises(ConnectionLost):
            await connection.request(Kind.IDENTIFY, Identified(name="ann", free=None))
        await asyncio.wait_for(connection.leave(), 60)


async def test_a_server_that_lets_our_goodbye_wait_is_left_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "FAREWELL_SECONDS", 0.1)

    def ignore(peer: Peer) -> None:
        open_session(peer)
        assert isinstance(peer.next(), Control)
        peer.rest()

    async with faked(ignore) as there:
        connection = await resumed(there, tmp_path)
        await connection.leave()
        assert isinstance(await connection.closed, ConnectionLost)


async def test_no_proof_is_given_of_a_password_that_was_hashed_too_little(tmp_path: Path) -> None:
    def ask_for_little(peer: Peer) -> None:
        peer.hello()
        first = peer.control().body
        assert isinstance(first, Authenticate)
        nonce = first.data.decode().rpartition("r=")[2]
        challenge = f"r={nonce}more,s={b64encode(bytes(32)).decode()},i={ITERATIONS - 1}"
        peer.send(peer.conversation.reply(Kind.CHALLENGE, 1, Challenge(data=challenge.encode())))
        assert peer.next() is None

    async with faked(ask_for_little) as there:
        connection = await connected(there, tmp_path)
        with pytest.raises(ProtocolError):
            await SignIn(connection).authenticate("ann", SECRET)
        connection.abort()
