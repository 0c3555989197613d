"""Relay addresses: any data folder, stale sockets, and what is removed at the end."""

import os
import socket
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.server.relay import address
from antiphon.wire.bodies import Resume
from support.desk import Desk
from support.joined import virtual_loop
from support.moving import back, until
from support.processes import ServerProcess
from support.serving import seed

LONG = "folder of somebody who likes long names, and who has many of them one below the other"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "with spaces  and 'quotes'",
        "Каталог данных ☃",
        "x" * 120,
        f"{LONG}/{LONG}/{LONG}",
        "день " * 25 + "☃",
    ],
)
def test_a_socket_is_made_and_reached_in_any_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    listener, path = address.listen(folder / "relay", "0123456789abcdef.sock")
    with listener:
        assert path == folder / "relay" / "0123456789abcdef.sock"
        assert mode(path.parent) == 0o700
        assert not address.is_refused(str(path))
        with socket.socket(socket.AF_UNIX) as near, address.reachable(str(path)) as short:
            assert len(os.fsencode(short)) <= address.PATH_MOST
            near.connect(short)
            address.check_owner(near)
            far, _ = listener.accept()
            with far:
                address.check_owner(far)
    assert address.is_refused(str(path)), "the file is there, and nobody listens"
    address.remove(path)
    assert not path.exists()
    assert address.is_refused(str(path))


def test_a_name_that_fits_leaves_no_descriptor(tmp_path: Path) -> None:
    folder = tmp_path / LONG / LONG
    folder.mkdir(parents=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError), address.reachable(str(folder / "missing" / "x")):
        pass
    for _ in range(10):
        with address.reachable(str(folder / "x")) as short:
            assert os.path.realpath(short) == str(folder / "x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_socket_that_is_in_the_way_does_not_keep_a_server_from_starting(tmp_path: Path) -> None:
    first, path = address.listen(tmp_path / "relay", "same.sock")
    first.close()
    second, elsewhere = address.listen(tmp_path / "relay", "same.sock")
    with second:
        assert elsewhere.parent != path.parent
        assert mode(elsewhere.parent) == 0o700
        assert not address.is_refused(str(elsewhere))
    address.remove(elsewhere)
    assert not elsewhere.parent.exists()


def test_a_full_backlog_is_no_refusal(tmp_path: Path) -> None:
    listener, path = address.listen(tmp_path / "relay", "x.sock")
    listener.listen(0)
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    with listener:
        for near in waiting:
            near.setblocking(False)
            try:
                near.connect(str(path))
            except BlockingIOError:
                break
        else:
            pytest.fail("the backlog is endless")
        assert not address.is_refused(str(path))
    for near in waiting:
        near.close()


def test_only_sockets_are_removed(tmp_path: Path) -> None:
    kept = tmp_path / "relay" / "x.sock"
    kept.parent.mkdir()
    kept.write_text("of somebody else")
    address.remove(kept)
    address.remove(tmp_path / "relay" / "missing.sock")
    assert kept.read_text() == "of somebody else"


def test_another_user_s_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = socket.socketpair()
    with near, far:
        address.check_owner(near)
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
        with pytest.raises(PermissionError):
            address.check_owner(near)


def test_a_socket_of_another_user_is_not_relayed_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (token,) = seed(tmp_path / "data")
    with (
        virtual_loop() as loop,
        loop.joined(tmp_path / "data", Desk()) as home,
        loop.joined(tmp_path / "data", Desk()) as other,
    ):
        with home.session(token) as client:
            client.ask("hello")
        with monkeypatch.context() as patch, other.client() as client:
            patch.setattr(os, "geteuid", lambda: 65534)
            client.hello()
            client.send(client.conversation.resume(token, Resume(received=1))[1])
            error = client.error()
        assert (error.code, error.wait) == ("try-later", 1)
        assert other.records("relay-failed")
        assert len(home.channels) == 1
        with other.session(token) as client:
            assert client.ask("hello") == "hello"


@pytest.mark.parametrize("name", [f"{LONG}/{LONG}/данные", "x" * 100])
def test_servers_relay_to_each_other_in_a_folder_with_a_long_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    (token,) = seed(folder)
    with ServerProcess(folder, "--plain") as home, ServerProcess(folder, "--plain") as other:
        with back(home, token)[0] as client:
            assert client.ask("one") == "one"
        client, welcome = back(other, token, 1)
        with client:
            assert welcome.received == 1
            assert client.ask("two") == "two"
        other.logged(" relayed ")
        assert len(list((folder / "relay").glob("*.sock"))) == 2
    assert not list((folder / "relay").iterdir())


def test_what_killed_processes_leave_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    seed(data)
    processes = [ServerProcess(data, "--plain", "echo") for _ in range(3)]
    dead, *alive = processes
    dead.kill()
    monkeypatch.setattr("antiphon.server.home.process.DEAD_SECONDS", 1.5)
    with virtual_loop() as loop, loop.joined(data, Desk()) as server:
        frozen, path = address.listen(data / "relay", "frozen.sock")  # it listens, but its counter does not move
        (row,) = [each for each in server.call(server.store.processes.all()) if each.id == server.home.id]
        server.call(server.store.processes.enter(replace(row, id="frozen", pid=0, relay_address=str(path))))
        rows = {each.id: each for each in server.call(server.store.processes.all())}
        assert len(rows) == 5
        assert len(list((data / "relay").iterdir())) == 5
        (killed,) = [each for each in rows.values() if each.pid == dead.process.pid]
        until(lambda: all(server.home.still_for(each) > 1.5 for each in (killed, rows["frozen"])))
        server.let_pass(61)
        left = server.call(server.store.processes.all())
        assert {each.id for each in left} == rows.keys() - {killed.id}
        assert len(list((data / "relay").iterdir())) == 4
        (record,) = server.records("process-dead")
        assert f'process="{killed.id}"' in record
        frozen.close()
        server.let_pass(61)
        assert len(server.call(server.store.processes.all())) == 3
    for process in alive:
        process.stop()
    assert not list((data / "relay").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full backlog refuses, too")
def test_sockets_of_killed_processes_that_nobody_else_reaches_are_swept_up(tmp_path: Path) -> None:
    folder = tmp_path / "relay"
    paths = {}
    for id in ("listens", "alive", "young", "killed"):
        listener, paths[id] = address.listen(folder, f"{id}.sock")
        if id != "listens":
            listener.close()
        else:
            listening = listener
    hour_ago = time.time() - 3600
    for id in ("listens", "alive", "killed"):
        os.utime(paths[id], (hour_ago, hour_ago))
    (folder / "no socket.sock").write_text("stays")
    with listening:
        address.sweep(folder, {"alive"})
    assert {path.stem for path in folder.iterdir()} == {"listens", "alive", "young", "no socket"}
