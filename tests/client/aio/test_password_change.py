"""The client's change of password: with an honest server, and with one that lies."""

import asyncio
from pathlib import Path

import pytest

from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.dial import dial
from antiphon.client.aio.password_change import PasswordChange
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers
from antiphon.errors import AntiphonError, ProtocolError, ServerUnproven, SignInRefused
from antiphon.identity.passwords import Password
from antiphon.wire.bodies import Challenge, ChangePassword, PasswordAnswer
from antiphon.wire.kinds import Kind
from support.fake_servers import Fake, Peer, faked
from support.processes import PASSWORD
from support.serving import Serving, seed, serving
from support.sessions import session_of

OLD, NEW = Password(PASSWORD), Password("a staple of that battery")


async def session(there: Serving | Fake, token: bytes, tmp_path: Path) -> ClientConnection:
    connection = (await dial(there.address, KnownServers(tmp_path / "known"), 10)).connection
    await SignIn(connection).resume(token)
    return connection


def test_the_old_password_is_proved_and_the_new_one_kept(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")

    async def change_it(server: Serving) -> None:
        async with session_of(server.address, token) as open_session:
            connection = open_session.connection
            change = PasswordChange(connection, "ann")
            await change.prove(OLD)
            await change.choose(NEW)
            assert await open_session.ask("still here") == "still here"
            with pytest.raises(SignInRefused):
                await PasswordChange(connection, "ann").prove(OLD)
            await PasswordChange(connection, "ann").prove(NEW)

    with serving(tmp_path / "data", plain=True) as server:
        asyncio.run(change_it(server))


def short_challenge(peer: Peer) -> None:
    """Ask for so few rounds that the proof would be cheap to guess from."""
    control = peer.control()
    assert isinstance(control.body, ChangePassword)
    assert control.body.data is not None
    data = control.body.data.rpartition(b"r=")[2] + b"x" * 24
    challenge = b"r=" + data + b",s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096"
    peer.send(peer.conversation.reply(Kind.PASSWORD, control.id, PasswordAnswer(data=challenge)))


def false_signature(peer: Peer) -> None:
    control = peer.control()
    assert isinstance(control.body, ChangePassword)
    assert control.body.data is not None
    data = control.body.data.rpartition(b"r=")[2] + b"x" * 24
    challenge = b"r=" + data + b",s=c2FsdHNhbHRzYWx0c2FsdA==,i=600000"
    peer.send(peer.conversation.reply(Kind.PASSWORD, control.id, PasswordAnswer(data=challenge)))
    peer.reply(Kind.PASSWORD, PasswordAnswer(data=b"v=" + b"A" * 43 + b"="))


def nothing(peer: Peer) -> None:
    peer.reply(Kind.PASSWORD, PasswordAnswer(data=None))


def another_kind(peer: Peer) -> None:
    peer.reply(Kind.CHALLENGE, Challenge(data=b""))


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (short_challenge, ProtocolError),
        (false_signature, ServerUnproven),
        (nothing, ProtocolError),
        (another_kind, AntiphonError),
    ],
)
async def test_a_server_that_lies_is_not_believed_and_gets_no_new_password(
    tmp_path: Path, lie: object, error: type[AntiphonError]
) -> None:
    def play(peer: Peer) -> None:
        peer.hello()
        peer.welcome(None, "")
        assert callable(lie)
        lie(peer)
        assert peer.rest() == b""

    async with faked(play) as there:
        connection = await session(there, bytes(16), tmp_path)
        with pytest.raises(error):
            await PasswordChange(connection, "ann").prove(OLD)
        connection.abort()
