"""Sign-ins that meet a worker which stops: those that ask nobody are tried once more, with the one after it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon import blocking, connect
from antiphon.errors import ServerStopping
from support.fake_servers import Peer, fake
from support.processes import run_antiphon

Name = Callable[[str, Path], str]


def asyncio_name(address: str, home: Path) -> str:
    async def name() -> str:
        async with connect(address, known_servers=home / "known") as session:
            return session.info.greeting

    return asyncio.run(name())


def blocking_name(address: str, home: Path) -> str:
    with blocking.connect(address, known_servers=home / "known") as session:
        return session.info.greeting


def piped_name(address: str, home: Path) -> str:
    result = run_antiphon("connect", address, home=home)
    if result.returncode == ServerStopping.exit_code and str(ServerStopping()) in result.stderr:
        raise ServerStopping
    assert result.returncode == 0, result.stderr
    return result.stderr


def stopping(peer: Peer) -> None:
    peer.hello(access="anyone")
    peer.control()
    peer.send(peer.conversation.error(0, ServerStopping()))


@pytest.mark.parametrize("name", [asyncio_name, blocking_name, piped_name])
def test_another_worker_lets_it_in(name: Name, tmp_path: Path) -> None:
    def play(peer: Peer) -> None:
        if peer is there.peers[0]:
            stopping(peer)
            return
        peer.hello(access="anyone")
        peer.welcome(None, greeting="let in by the next one")
        peer.control()
        peer.send(peer.conversation.bye("left"))

    with fake(play) as there:
        assert "let in by the next one" in name(str(there.address), tmp_path)
    assert len(there.peers) == 2


@pytest.mark.parametrize("name", [asyncio_name, blocking_name, piped_name])
def test_one_that_stops_for_good_is_told_of_as_such(name: Name, tmp_path: Path) -> None:
    with fake(stopping) as there, pytest.raises(ServerStopping):
        name(str(there.address), tmp_path)
    assert len(there.peers) == 2
