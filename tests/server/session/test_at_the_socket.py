"""Sessions where the socket is the point: a reset, a full buffer, TLS, and a real server that stops."""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.services import Session
from antiphon.wire.bodies import Error, ServerBye, Welcome
from antiphon.wire.kinds import KIB, TOKEN_SIZE
from support.desk import sent, told
from support.inside import connections
from support.processes import PASSWORD, ServerProcess
from support.raw import RawClient
from support.serving import Honest, Serving, in_session, seed, serving


class Gate:
    """Service that answers when the gate is opened."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.opened_gate = threading.Event()
        self.sessions: list[Session] = []

    def opened(self, session: Session) -> None:
        self.sessions.append(session)

    async def received(self, message: str) -> str:
        if message == "wait":
            self.begun.set()
            await asyncio.to_thread(self.opened_gate.wait)
        return message


def back(server: Serving, token: bytes, received: int) -> tuple[RawClient, Welcome]:
    client = server.client()
    client.hello()
    welcome = client.resume(token, received)
    assert isinstance(welcome, Welcome), welcome
    return client, welcome


@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_a_handler_goes_on_after_a_reset_and_a_new_connection_gets_its_answer(tmp_path: Path, plain: bool) -> None:
    (token,) = seed(tmp_path / "data")
    gate = Gate()
    with serving(tmp_path / "data", gate, plain=plain) as server:
        first, _ = back(server, token, 0)
        ids = sent(first, "wait", "next")
        assert gate.begun.wait(60)
        first.cut()
        while server.read(connections):
            pass  # each look is a step of the server
        gate.opened_gate.set()
        second, _ = back(server, token, 0)
        with second:
            assert told(second, 2) == [(ids[0], "wait"), (ids[1], "next")]


@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_a_connection_over_a_socket_is_replaced_by_the_next_one(tmp_path: Path, plain: bool) -> None:
    (token,) = seed(tmp_path / "data")
    with (
        serving(tmp_path / "data", plain=plain) as server,
        server.session(token) as first,
        server.session(token) as second,
    ):
        assert first.body() == ServerBye(reason="replaced")
        first.closed()
        assert second.ask("mine") == "mine"


@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_a_flood_over_a_socket_waits_for_its_reader_and_comes_whole(tmp_path: Path, plain: bool) -> None:
    (token,) = seed(tmp_path / "data")
    made = []

    async def flood(message: str) -> AsyncIterator[bytes]:
        for number in range(200):
            made.append(number)
            yield bytes([number]) * 64 * KIB

    with serving(tmp_path / "data", flood, plain=plain) as server, server.session(token) as client:
        (id,) = sent(client, "go")
        first = told(client, 1)
        assert len(made) < 200, "it has run on without anybody to take its answers"
        frames = first + told(client, 200)
        assert [payload[0] for _, payload in frames[:-1]] == list(range(200))  # type: ignore[index]
        assert frames[-1] == (id, "END")


def test_a_server_that_stops_keeps_what_the_next_one_sends_again(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        client, _ = back(server, token, 0)
        (_, second) = sent(client, "one", "two")
        assert len(told(client, 2)) == 2
        client.cut()
    with serving(tmp_path / "data", plain=True) as server:
        client, welcome = back(server, token, 1)
        with client:
            assert (welcome.received, welcome.missed) == (2, 0)
            assert told(client, 1) == [(second, "two")]


def test_a_person_who_signs_in_talks_to_the_service(tmp_path: Path) -> None:
    seed(tmp_path / "data", sessions=0)
    gate = Gate()
    with serving(tmp_path / "data", gate) as server, server.client() as client:
        client.sign_in("ann", PASSWORD)
        assert client.ask("hello") == "hello"
        (session,) = gate.sessions
        assert (session.name, session.address.partition(":")[0]) == ("ann", "127.0.0.1")
        assert session.account >= 1
        client.leave()


def test_a_session_outlives_kill_9_of_the_server(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with ServerProcess(tmp_path / "data") as process:
        with RawClient(process.address) as client:
            token = client.sign_in("ann", PASSWORD).token
        process.kill()
    assert token is not None
    with ServerProcess(tmp_path / "data") as process, in_session(process.address, token) as client:
        assert client.ask("still there") == "still there"
        process.kill()
    with ServerProcess(tmp_path / "data") as process:
        with in_session(process.address, token) as client:
            client.leave()
        process.kill()
    with ServerProcess(tmp_path / "data") as process, RawClient(process.address) as client:
        client.hello()
        assert isinstance(client.resume(token), Error)  # and what was left stays left


def test_an_honest_client_is_undisturbed_by_wrong_tokens_of_others(tmp_path: Path) -> None:
    tokens = seed(tmp_path / "data", sessions=4)
    with serving(tmp_path / "data", plain=True) as server, Honest(server.address, tokens.pop()):
        workers = [threading.Thread(target=guess, args=(server, tokens.pop())) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def guess(server: Serving, token: bytes) -> None:
    for _ in range(10):
        with server.session(token) as client:
            for _ in range(3):
                client.message_with(secrets.token_bytes(TOKEN_SIZE), "guess")
            client.closed()
