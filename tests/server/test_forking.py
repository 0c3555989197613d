"""What a service forks has none of the server's signal handlers, descriptors and sockets (promise 28)."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from antiphon.wire.bodies import ServerBye
from support.moving import back, back_at_last
from support.processes import ServerProcess
from support.raw import RawClient
from support.serving import in_session, seed
from support.wire_client import Closed

POOL = """
import asyncio, multiprocessing

def square(number):
    return number * number

def calculate(text):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return str(pool.map(square, range(int(text))))

async def pooled(message: str) -> str:
    return await asyncio.to_thread(calculate, message)

def pooled_in_the_loop(message: str) -> str:
    return calculate(message)
"""

CHILD = """
import os, signal, time

def forked(message: str) -> str:
    child = os.fork()
    if child:
        return str(child)
    try:
        while message == "wait":
            time.sleep(60)
        told = [signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.set_wakeup_fd(-1)]
        with open(message, "w") as file:
            file.write(repr(told))
    finally:
        os._exit(0)
"""


@pytest.mark.parametrize("handler", ["pooled", "pooled_in_the_loop"])
def test_a_pool_of_processes_does_not_end_the_server(tmp_path: Path, handler: str) -> None:
    (tmp_path / "service.py").write_text(POOL)
    (token,) = seed(tmp_path / "data")
    with ServerProcess(tmp_path / "data", f"{tmp_path}/service.py:{handler}", "--plain") as server:
        with in_session(server.address, token) as client:
            for count in range(3, 8):  # the pool is ended by SIGTERM each time
                assert client.ask(str(count)) == str([number * number for number in range(count)])
            assert " stopping " not in server.log
        assert server.stop() == 0


@pytest.fixture
def forking(tmp_path: Path) -> tuple[ServerProcess, RawClient]:
    (tmp_path / "service.py").write_text(CHILD)
    (token,) = seed(tmp_path / "data")
    server = ServerProcess(tmp_path / "data", f"{tmp_path}/service.py:forked", "--plain")
    return server, in_session(server.address, token)


def test_a_child_has_default_handlers_and_no_wake_up_descriptor(
    forking: tuple[ServerProcess, RawClient], tmp_path: Path
) -> None:
    server, client = forking
    with server, client:
        told = tmp_path / "told"
        client.ask(str(told))
        ends = time.monotonic() + 60
        while not told.is_file() or not told.read_text():
            assert time.monotonic() < ends
            time.sleep(0.01)
        assert told.read_text() == "[True, -1]"


def test_a_signal_to_a_child_ends_the_child_alone(forking: tuple[ServerProcess, RawClient]) -> None:
    server, client = forking
    with server, client:
        child = int(str(client.ask("wait")))
        os.kill(child, signal.SIGTERM)
        ends = time.monotonic() + 60
        while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < ends
            time.sleep(0.01)
        second = int(str(client.ask("wait")))
        os.kill(second, signal.SIGKILL)


def test_a_child_holds_neither_the_port_nor_connections(forking: tuple[ServerProcess, RawClient]) -> None:
    server, client = forking
    child = int(str(client.ask("wait")))
    try:
        server.signal(signal.SIGTERM)
        assert client.body() == ServerBye(reason="drained")
        client.send(client.conversation.bye("drained"))
        with pytest.raises(Closed):  # the end comes, though the child lives
            client.next()
        assert server.wait() == 0
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", server.start["port"]))
            other.listen()
    finally:
        os.kill(child, signal.SIGKILL)
        server.kill()
        client.sock.close()


def test_a_child_of_a_home_holds_neither_its_relay_socket_nor_a_link(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(CHILD)
    service = f"{tmp_path}/service.py:forked"
    (token,) = seed(tmp_path / "data")
    home = ServerProcess(tmp_path / "data", "--plain", service)
    with ServerProcess(tmp_path / "data", "--plain", service) as other:
        with back(home, token)[0] as first:
            first.ask("wait")
        client, _ = back(other, token, 1)
        child = int(str(client.ask("wait")))
        try:
            home.kill()
            client.closed()
            client, welcome = back_at_last(other, token, 2)  # nobody listens: it is dead at once
            assert welcome.received is None
            client.close()
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_child_of_a_relaying_process_holds_no_link(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(CHILD)
    service = f"{tmp_path}/service.py:forked"
    relayed, own = seed(tmp_path / "data", sessions=2)
    other = ServerProcess(tmp_path / "data", "--plain", service)
    with ServerProcess(tmp_path / "data", "--plain", "--log", str(tmp_path / "home.log"), service) as home:
        with back(home, relayed)[0] as first:
            first.ask(str(tmp_path / "told"))
        home.logged(" broken-off ")
        client, _ = back(other, relayed, 1)
        with client, back(other, own)[0] as forking:
            child = int(str(forking.ask("wait")))
            try:
                other.kill()
                home.logged(" broken-off ", 2)
            finally:
                os.kill(child, signal.SIGKILL)
