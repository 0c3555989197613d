"""The launcher of programs: what it ends, whichever process is killed, and whatever signals reach it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from antiphon.services import Program
from antiphon.services.launch import _own_group
from antiphon.wire.bodies import ServerBye
from support.processes import ServerProcess
from support.programs import asked, descendants, in_a_group, keeper_of, said, shell, until_gone
from support.serving import Serving, in_session, seed, serving

Served = Callable[..., AbstractContextManager[Serving]]


@pytest.fixture
def tokens(tmp_path: Path) -> list[bytes]:
    return seed(tmp_path / "data", sessions=2)


@pytest.fixture
def served(tmp_path: Path, tokens: list[bytes]) -> Served:
    """Serve a program; options that begin with `exec_` are the program's, the others the server's."""

    def serve(command: str, **options: Any) -> AbstractContextManager[Serving]:
        ours = {name: options.pop(name) for name in list(options) if name.startswith("exec_")}
        program = Program(command, **{"exec_wait": 60.0} | ours)
        return serving(tmp_path / "data", program, plain=True, **options)

    return serve


@pytest.mark.parametrize("killed", ["watcher", "keeper", "both"])
def test_of_a_launcher_that_is_killed_nothing_is_left_and_its_place_is_free(
    served: Served, tokens: list[bytes], killed: str
) -> None:
    """What a program has put into the background holds its output, and lives on in a session of its own."""
    script = "setsid sleep 1000 & setsid sleep 1000 >&- 2>&- & echo $PPID $$ $!; exec cat"
    with served(shell(script), exec_most=1) as server, server.session(tokens[0]) as client:
        ((_, pids),) = said(client, 1)
        watcher, program, behind = map(int, str(pids).split())
        keeper = keeper_of(int(str(watcher)))
        below = descendants(keeper)
        assert {watcher, program, behind} < set(below)
        if killed == "both" and not in_a_group(program):
            pytest.skip("without a control group nobody is left who could end it")
        for launcher in {"watcher": [watcher], "keeper": [keeper], "both": [watcher, keeper]}[killed]:
            os.kill(launcher, signal.SIGKILL)
        assert isinstance(client.body(), ServerBye)
        until_gone(*below)
        with server.session(tokens[1]) as next_one:
            ((_, pids),) = said(next_one, 1)
            assert len(str(pids).split()) == 3


def test_no_control_group_stays_behind(served: Served, tokens: list[bytes]) -> None:
    with served(shell("grep ^0: /proc/self/cgroup || echo 0::none; exec cat")) as server:
        with server.session(tokens[0]) as client:
            ((_, group),) = said(client, 1)
            client.leave()
        program = server.read(lambda running: running._host.handlers.service.opened.__self__)  # type: ignore[attr-defined]
        while program._places.started:
            time.sleep(0.01)
    name = str(group).rpartition("/")[2]
    assert not (name.startswith("antiphon-") and Path(_own_group(), name).exists())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_program_that_gets_the_servers_signal_is_not_taken_for_its_own_end(
    tmp_path: Path, tokens: list[bytes], number: int
) -> None:
    """A service manager signals all processes of a service: launchers go on, the session outlives its program."""
    with ServerProcess(tmp_path / "data", "--plain", f"exec:{shell('echo $PPID; exec cat')}") as server:
        with in_session(server.address, tokens[0]) as client:
            ((_, watcher),) = said(client, 1)
            keeper = keeper_of(int(str(watcher)))
            for pid in (*descendants(keeper), server.process.pid):
                os.kill(pid, number)
            assert client.body() == ServerBye(reason="drained")
            client.send(client.conversation.bye("drained"))
            client.closed()
        server.wait()
    with (
        ServerProcess(tmp_path / "data", "--plain", f"exec:{shell('echo ready; exec cat')}") as server,
        in_session(server.address, tokens[0]) as client,
    ):
        assert said(client, 1) == [(0, "ready")]


def test_a_question_whose_program_gets_the_servers_signal_fails(tmp_path: Path, tokens: list[bytes]) -> None:
    script = "echo $$; read line; exec sleep 1000"
    with ServerProcess(tmp_path / "data", "--plain", "--exec-wait", "20", f"exec:{shell(script)}") as server:
        with in_session(server.address, tokens[0]) as client:
            ((_, program),) = said(client, 1)
            id = asked(client, "go on")
            while b"sleep" not in Path(f"/proc/{program}/cmdline").read_bytes():
                time.sleep(0.01)
            for pid in (int(str(program)), server.process.pid):
                os.kill(pid, signal.SIGTERM)
            events = [client.body(), *said(client, 1)]
            assert events == [ServerBye(reason="drained"), (id, "service-failed")]
            client.send(client.conversation.bye("drained"))
            client.closed()
        server.wait()


def test_only_children_that_live_are_killed() -> None:
    """A program that forks without end leaves thousands that have ended: a pass over all would take too long."""
    source = """
import os, signal
from antiphon.services.launch import Children, ControlGroup, _children

class Counted(Children):
    most = 0

    def signal(self, number):
        self.most = max(self.most, len(_children()))
        return super().signal(number)

children = Counted(ControlGroup(os.getpid()))
for _ in range(300):
    if os.fork() == 0:
        os._exit(0)
for child in _children():
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
if os.fork() == 0:
    signal.pause()
children.kill()
print(children.most)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1\n"
