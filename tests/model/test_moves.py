"""A session that moves from one server of a folder to another and back while both live."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.client.aio.password_change import PasswordChange
from antiphon.errors import SignInRefused
from antiphon.identity.passwords import Password
from antiphon.wire.bodies import Welcome
from model.network import Network
from support.processes import PASSWORD, ServerProcess
from support.raw import RawClient
from support.serving import seed
from support.sessions import session_of


@pytest.fixture
def token(tmp_path: Path) -> bytes:
    return seed(tmp_path / "data")[0]


@pytest.fixture
def pair(tmp_path: Path, token: bytes) -> Iterator[list[ServerProcess]]:
    """Two servers of one data folder, A and B."""
    with ServerProcess(tmp_path / "data", "echo") as first, ServerProcess(tmp_path / "data", "echo") as second:
        yield [first, second]


async def test_asked_here_and_there_and_here_again_nothing_is_unknown(
    pair: list[ServerProcess], token: bytes
) -> None:
    here = 0
    network = Network(lambda: pair[here].address.port)
    address = replace(pair[0].address, host="127.0.0.1", port=await network.open())
    async with session_of(address, token) as session:
        for number in range(12):
            here = number % 2
            answers = [await session.begin(f"{number}-{place}") for place in range(3)]
            network.cut()
            assert [await each.next() for each in answers] == [f"{number}-{place}" for place in range(3)]
            assert await session.ask(f"{number}-last") == f"{number}-last"
    await network.close()


async def test_the_password_is_changed_and_a_wrong_one_refused_wherever_the_session_is(
    pair: list[ServerProcess], token: bytes
) -> None:
    here = 0
    network = Network(lambda: pair[here].address.port)
    address = replace(pair[0].address, host="127.0.0.1", port=await network.open())
    async with session_of(address, token) as session:
        for where in (0, 1, 0):
            here = where
            network.cut()
            assert await session.ask("here") == "here"
            connection = session.connection
            with pytest.raises(SignInRefused):
                await PasswordChange(connection, "ann").prove(Password("not the password"))
            await PasswordChange(connection, "ann").prove(Password(PASSWORD))
            assert session.connection is connection, "a refusal does not end the connection"
        change = PasswordChange(connection, "ann")
        await change.prove(Password(PASSWORD))
        await change.choose(Password("a staple of that battery"))
        assert await session.ask("still here") == "still here"
    await network.close()


def resumed(server: ServerProcess, token: bytes, received: int | None) -> tuple[RawClient, Welcome]:
    client = RawClient(server.address)
    client.hello()
    welcome = client.resume(token, received)
    assert isinstance(welcome, Welcome), welcome
    return client, welcome


def test_a_client_that_has_moved_is_sent_no_old_answer_again(pair: list[ServerProcess], token: bytes) -> None:
    client, _ = resumed(pair[0], token, None)  # both count from 0
    for received in range(6):
        assert client.ask(f"message {received}") == f"message {received}", "the next frame, and no other"
        client.cut()
        client, welcome = resumed(pair[(received + 1) % 2], token, received + 1)
        assert (welcome.received, welcome.sent) == (received + 1, received + 1)
        assert (welcome.missed, welcome.open) == (0, [])
    _, data = client.conversation.message("unheard")
    client.send(data)
    event = client.next()
    client.cut()
    client, welcome = resumed(pair[1], token, 6)
    assert (welcome.received, welcome.sent) == (7, 7)
    assert client.next() == event, "the one that it has not acknowledged"
    assert client.ask("and on") == "and on"
    client.leave()
