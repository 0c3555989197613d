"""What a service manager passes and is told: the protocols of systemd, without a process of their own."""

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import SettingInvalid
from antiphon.server import manager as manager_module
from antiphon.server.listen import accept
from antiphon.server.listen.entrance import OwnPort
from antiphon.server.listen.ports import Listening, Passed, listening_on
from antiphon.server.manager import STATUS_SECONDS, ServiceManager
from antiphon.settings import ServerSettings
from support.auth import RecordingLog
from support.virtual_time import run_virtually


@pytest.fixture(params=["path", "abstract"])
def notified(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The value of NOTIFY_SOCKET, and the socket that it names."""
    name = (
        str(tmp_path / "notify") if request.param == "path" else f"@antiphon-test-{os.getpid()}-{time.time_ns()}"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0", 1))
        sock.setblocking(False)
        yield name, sock


def received(sock: socket.socket) -> list[str]:
    """Return what has been told since the last call."""
    told: list[str] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            told.append(sock.recv(4096).decode())
    return told


def test_the_manager_is_told_of_each_step_and_that_the_loop_runs(notified: tuple[str, socket.socket]) -> None:
    name, sock = notified

    async def main() -> None:
        status = "connections: 0"
        manager = ServiceManager.taken({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000"})
        manager.reloading()  # at SIGHUP before it serves
        assert received(sock) == []
        manager.ready(lambda: status)
        assert received(sock) == ["READY=1\nSTATUS=connections: 0"]
        await asyncio.sleep(1.6)
        assert received(sock) == ["WATCHDOG=1"]
        status = "connections: 1"
        await asyncio.sleep(1.5)
        assert received(sock) == ["WATCHDOG=1\nSTATUS=connections: 1"]
        before = time.monotonic_ns() // 1000
        manager.reloading()
        (told,) = received(sock)
        found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", told)
        assert found
        assert before <= int(found[1]) <= time.monotonic_ns() // 1000
        manager.reloaded()
        assert received(sock) == ["READY=1"]
        manager.reloading()
        received(sock)
        manager.stopping()
        manager.stopping()
        manager.reloaded()  # it was under way
        manager.reloading()
        assert received(sock) == ["STOPPING=1\nSTATUS=stopping"]
        await asyncio.sleep(1.5)
        assert received(sock) == ["WATCHDOG=1"], "while it drains"
        manager.close()
        await asyncio.sleep(5)
        assert received(sock) == []

    run_virtually(main())


def test_without_a_watchdog_only_a_status_that_has_changed_is_told(tmp_path: Path) -> None:
    async def main(sock: socket.socket) -> None:
        status = "one"
        manager = ServiceManager(str(tmp_path / "notify"))
        manager.ready(lambda: status)
        await asyncio.sleep(3 * STATUS_SECONDS)
        assert received(sock) == ["READY=1\nSTATUS=one"]
        status = "two"
        await asyncio.sleep(STATUS_SECONDS)
        assert received(sock) == ["STATUS=two"]
        manager.close()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        run_virtually(main(sock))


def test_what_a_busy_manager_does_not_take_is_told_later_and_an_absent_one_disturbs_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(tmp_path / "notify"))
            sock.setblocking(False)
            manager = ServiceManager(str(tmp_path / "notify"), watchdog_seconds=2)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
                other.setblocking(False)
                while True:
                    other.sendto(b"x", str(tmp_path / "notify"))
            manager.ready(lambda: "one")
            await asyncio.sleep(2.5)
            assert set(received(sock)) == {"x"}
            await asyncio.sleep(1)
            assert received(sock) == ["READY=1\nWATCHDOG=1"]
        manager.stopping()
        await asyncio.sleep(5)
        manager.close()

    run_virtually(main())


def test_its_variables_are_taken_out_of_the_environment_and_those_of_others_are_not_obeyed() -> None:
    other = str(os.getppid())
    environment = {
        "NOTIFY_SOCKET": "vsock:2:1234",
        "LISTEN_FDS": "1",
        "LISTEN_PID": other,
        "LISTEN_FDNAMES": "antiphon",
        "WATCHDOG_USEC": "1000000",
        "WATCHDOG_PID": other,
        "CREDENTIALS_DIRECTORY": "/run/credentials/antiphon.service",
        "HOME": "/",
    }
    manager = ServiceManager.taken(environment)
    assert sorted(environment) == ["CREDENTIALS_DIRECTORY", "HOME"]
    assert (manager.passed, manager._address, manager._watched) == ((), "", False)


def test_passed_descriptors_become_sockets_that_no_child_inherits(
    port: Callable[..., Passed], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = os.dup(port("127.0.0.1").sock.fileno())
    os.set_inheritable(number, True)
    monkeypatch.setattr(manager_module, "FIRST_DESCRIPTOR", number)
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "antiphon.socket"}
    ((name, sock),) = ServiceManager.taken(environment).passed
    with sock:
        assert (name, sock.fileno(), sock.family) == ("antiphon.socket", number, socket.AF_INET)
        assert not sock.get_inheritable()
        assert not sock.getblocking()


@pytest.fixture
def port() -> Iterator[Callable[..., Passed]]:
    """Make a socket such as a service manager passes."""
    with contextlib.ExitStack() as ends:

        def make(host: str, *, port: int = 0, both: bool = False, listens: bool = True) -> Passed:
            sock = ends.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
            if ":" in host:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
            sock.bind((host, port))
            sock.setblocking(False)
            if listens:
                sock.listen()
            return Passed("antiphon.socket", sock)

        yield make


def test_a_passed_socket_is_listened_on_and_none_beside_it(port: Callable[..., Passed]) -> None:
    one = port("127.0.0.1")
    number = one.sock.getsockname()[1]
    found = OwnPort(ServerSettings(), [one]).listen(ServerSettings(), 7862)
    assert found == Listening((one.sock,), number, None, ("127.0.0.1",), loopback=True)
    both = [one, port("::1", port=number)]
    assert listening_on(both).hosts == ("127.0.0.1", "::1")
    everywhere = listening_on([port("::", both=True)])
    assert not everywhere.loopback
    assert "::" not in everywhere.hosts


@pytest.mark.parametrize(("option", "value"), [("port", 7862), ("port", 0), ("host", "*")])
def test_an_option_that_says_where_to_listen_too_is_refused(
    port: Callable[..., Passed], option: str, value: Any
) -> None:
    settings = ServerSettings(**{option: value})
    with pytest.raises(SettingInvalid, match=f"--{option}: the system has passed the socket"):
        OwnPort(settings, [port("127.0.0.1")]).listen(settings, None)


def test_what_is_no_listening_tcp_socket_or_of_several_ports_is_refused(port: Callable[..., Passed]) -> None:
    with pytest.raises(SettingInvalid, match=r"passed “antiphon\.socket”, which is not a listening TCP socket"):
        listening_on([port("127.0.0.1", listens=False)])
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with datagrams, pytest.raises(SettingInvalid, match="not a listening TCP socket"):
        listening_on([Passed("", datagrams)])
    with pytest.raises(SettingInvalid, match="several ports"):
        listening_on([port("127.0.0.1"), port("127.0.0.1")])


async def test_at_a_socket_for_both_families_a_client_of_ipv4_has_its_own_address(
    port: Callable[..., Passed],
) -> None:
    sock = port("::", both=True).sock
    taken: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(client: socket.socket, address: tuple[object, ...], _: float) -> None:
        client.close()
        taken.set_result(str(address[0]))

    accepting = asyncio.ensure_future(accept.Acceptor(sock, take, RecordingLog()).run())
    with socket.create_connection(("127.0.0.1", sock.getsockname()[1])):
        assert await taken == "127.0.0.1"
    accepting.cancel()
