"""`antiphon status`, `reload` and `drain` with real servers."""

import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.blocking import connect
from antiphon.errors import SignInRefused
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.serving import seed
from support.workers import WorkersProcess


def act(server: ServerProcess, *words: str) -> subprocess.CompletedProcess[str]:
    return run_antiphon(*words, "--data", server.folder, home=server.folder.parent)


def report(server: ServerProcess) -> dict[str, Any]:
    done = act(server, "status", "--json")
    assert done.stderr == ""
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if told["problems"] else 0)
    return told


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("status") / "a folder"
    seed(folder)
    with ServerProcess(folder, "--plain", "--registration", "open") as running:
        yield running


def test_it_tells_who_is_there_what_was_said_and_who_was_refused(server: ServerProcess) -> None:
    address = str(server.address)
    with pytest.raises(SignInRefused):
        connect(address, name="ann", password="a wrong password, I fear")
    with connect(address, name="bea", password=PASSWORD, register=True) as session:
        assert list(session.ask_many(["x"] * 100)) == ["x"] * 100
        told = report(server)
    assert (told["pid"], told["connections"], told["sessions"]) == (server.process.pid, 1, 1)
    assert told["messages"] == 100
    assert told["signed_in"] == 1
    assert told["refused"] == {"sign-in-refused": 1}
    assert (told["problems"], told["addresses"], told["log"]) == ([], [address], str(server.start["log"]))
    until(lambda: report(server)["sessions"] == 0)
    assert report(server)["messages"] == 100


def test_a_process_that_is_no_server_is_told_as_that(server: ServerProcess) -> None:
    done = act(server, "drain", "--pid", "1")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"Process 1 is no server with the data folder {server.folder}.")


def test_it_tells_people_too_in_both_languages(server: ServerProcess) -> None:
    done = act(server, "status")
    assert done.returncode == 0
    assert "all is well" in done.stdout
    assert str(server.address) in done.stdout
    russian = act(server, "status", "--lang", "ru")
    assert "в порядке" in russian.stdout
    assert "authenticate, регистрация open" in russian.stdout
    assert re.search(r" [\d.]+ мс$", russian.stdout, re.MULTILINE), "the lag"


def test_the_socket_is_for_this_user_and_nothing_is_left_of_one_that_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = ServerProcess(folder, "--plain")
    assert stat.S_IMODE((folder / "control").stat().st_mode) == 0o700
    first.kill()
    done = act(first, "status")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"No server runs with the data folder {folder}.")
    with ServerProcess(folder, "--plain") as second:
        assert report(second)["pid"] == second.process.pid
    assert act(second, "drain").returncode == 3


def test_a_store_that_takes_nothing_makes_it_unwell_until_it_does(server: ServerProcess) -> None:
    with sqlite3.connect(server.folder / "sessions.db", isolation_level=None) as database:
        database.execute("BEGIN IMMEDIATE")
        until(lambda: report(server)["problems"] == ["store-away"])
        server.logged(r' error store-failed code="try-later" exception=".*database is locked')
        database.execute("ROLLBACK")
    until(lambda: not report(server)["problems"])
    server.logged(" info store-answers")


def test_a_reload_that_fails_is_told_with_its_reason_and_the_server_goes_on(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        assert act(server, "reload").returncode == 0
        certificate = server.folder / "certificate.pem"
        before = certificate.read_bytes()
        certificate.write_text("garbage")
        done = act(server, "reload")
        assert done.returncode == 1
        assert f"The server of process {server.process.pid} goes on with what it had: " in done.stderr
        certificate.write_bytes(before)
        assert act(server, "reload", "--json").stdout == json.dumps({"pid": server.process.pid}) + "\n"
        done = act(server, "drain")
        assert (done.returncode, server.wait()) == (0, 0)


def test_a_server_that_is_stopped_is_told_to_be_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.cli.control.ANSWER_SECONDS", 0.3)
    from antiphon.cli.control import ControlOptions, running
    from antiphon.errors import ServerSilent

    with ServerProcess(tmp_path / "data", "--plain") as server:
        server.signal(signal.SIGSTOP)
        (found,) = running(ControlOptions(data=server.folder))
        with pytest.raises(ServerSilent):
            found.ask("status")
        server.signal(signal.SIGCONT)
        monkeypatch.setattr("antiphon.cli.control.ANSWER_SECONDS", 60)
        assert found.ask("status").report


SECOND_WAITS = """
import pathlib, time
here = pathlib.Path(__file__).parent
try:
    (here / "first").touch(exist_ok=False)
except FileExistsError:
    while not (here / "go").exists():
        time.sleep(0.01)

def answer(message: str) -> str:
    return message
"""


def test_while_further_workers_start_all_is_well(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SECOND_WAITS)
    service = f"{tmp_path / 'shop.py'}:answer"
    with ServerProcess(tmp_path / "data", service, "--workers", "2", "--plain") as server:
        done = act(server, "status")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[0].endswith(": it starts, 1 of 2 workers serve.")
        (tmp_path / "go").touch()
        until(lambda: not report(server)["starting"])
        assert len(report(server)["workers"]) == 2


def test_of_workers_it_tells_each_and_waits_for_none(tmp_path: Path) -> None:
    with WorkersProcess(tmp_path / "data") as server:
        with connect(str(server.address), name="ann") as session:
            answers = {int(str(session.ask("who?"))) for _ in range(3)}
            until(lambda: report(server)["messages"] == 3)
            told = report(server)
            assert (told["pid"], told["workers_wanted"]) == (server.pid, 2)
            assert sorted(worker["pid"] for worker in told["workers"]) == server.workers
            (busy,) = (worker for worker in told["workers"] if worker["connections"])
            assert {busy["pid"]} == answers
        idle = next(pid for pid in server.workers if pid not in answers)
        os.kill(idle, signal.SIGSTOP)
        until(lambda: report(server)["problems"] == ["worker-silent"])
        os.kill(idle, signal.SIGKILL)
        until(lambda: not report(server)["problems"])
        old = server.workers
        assert act(server, "reload").returncode == 0
        assert not set(old) & {worker["pid"] for worker in report(server)["workers"]}
        until(lambda: not set(old) & set(server.workers))
        assert report(server)["messages"] == 3
        assert act(server, "drain").returncode == 0
        assert server.wait() == 0
