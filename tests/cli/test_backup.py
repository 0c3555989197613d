"""`antiphon backup` and `restore`: what they say, and a server that starts on what was restored."""

import json
import threading
from pathlib import Path

import pytest

from antiphon import streams
from antiphon.blocking import connect
from antiphon.cli import backup as backup_module
from antiphon.wire.bodies import Error
from support.key_rings import enrol, lost
from support.operator_commands import Operator
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.raw import RawClient
from support.serving import seed
from support.terminal import Terminal


@pytest.fixture
def operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    enrol(tmp_path / "data", ["ann", "bea"])
    return Operator(tmp_path / "data", capsys)


@pytest.fixture
def new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    """Run commands on a folder that is not there yet."""
    return Operator(tmp_path / "a new one", capsys)


def test_it_says_where_the_keys_are_and_what_to_start(tmp_path: Path, operator: Operator, new: Operator) -> None:
    file = tmp_path / "backup.tar"
    done = operator.run("backup", file)
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        "Backed up: 2 accounts.",
        f"The keys are in {file}.keys. Keep it in another place: anyone who has both can guess passwords.",
    ]
    done = new.run("restore", file)
    assert (done.code, done.out) == (0, "")
    first, second = done.err.splitlines()
    assert first.startswith("Restored: 2 accounts, as they were on 20")
    assert second == f"Start the server: antiphon serve --data '{new.data}'"
    assert lost(new.data) == []
    (saved,) = [line for line in operator.log() if line.startswith("backed-up ")]
    assert f' path="{file}" keys="{file}.keys" count=2' in saved
    (brought,) = new.log()
    assert brought.startswith('restored by="')


def test_programs_get_json(tmp_path: Path, operator: Operator, new: Operator) -> None:
    file, keys = tmp_path / "backup.tar", tmp_path / "elsewhere.keys"
    record = json.loads(operator.run("backup", file, "--keys", keys, "--json").out)
    assert {**record, "made_at": ""} == {
        "path": str(file), "keys": str(keys), "store": "sqlite", "count": 2, "made_at": "",
    }  # fmt: skip
    done = json.loads(new.run("restore", file, "--keys", keys, "--json").out)
    assert done == {**record, "data": str(new.data)}


def test_who_does_not_say_where_the_keys_go_or_are_is_told(
    tmp_path: Path, operator: Operator, new: Operator
) -> None:
    done = operator.run("backup", "-")
    assert (done.code, done.err[:32]) == (2, "Say where the keys go: --keys FI")
    assert operator.run("backup", "b", "--keys", "k", "--without-keys").code == 2
    assert operator.run("backup", "b", "--keys", "b").err == "Keys and accounts go into two files.\n"
    file = tmp_path / "backup.tar"
    done = new.run("restore", file)
    assert (done.code, done.err) == (2, f"{file} cannot be used: there is no such file. Name another file.\n")
    done = operator.run("backup", file, "--without-keys")
    assert done.err.splitlines()[1].startswith("The keys are not in it; without them nobody can sign in")
    done = new.run("restore", file)
    assert (done.code, done.err[:31]) == (2, "The file with the keys is missi")
    assert operator.run("backup", file).code == 2  # it is there
    assert not Path(f"{file}.keys").exists()
    done = new.run("restore", tmp_path / "none.tar", "--keys", file)
    assert (done.code, "none.tar cannot be used: there is no such file." in done.err) == (2, True)
    assert not new.data.exists()


def test_a_postgresql_database_has_tools_of_its_own(tmp_path: Path, operator: Operator) -> None:
    file, database = tmp_path / "backup.tar", ("--store", "postgresql://nowhere.test/antiphon")
    done = operator.run("backup", file, *database)
    assert (done.code, "is backed up by its own tools (pg_dump)" in done.err) == (2, True)
    assert not file.exists()


def test_people_move_into_a_postgresql_database(
    tmp_path: Path, operator: Operator, new: Operator, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, another = tmp_path / "backup.tar", Operator(tmp_path / "another", capsys)
    operator.run("backup", file)
    done = new.run("restore", file, "--store", database)
    assert (done.code, done.err.splitlines()[1]) == (0, f"The accounts are in {database}.")
    assert new.run("accounts", "list").out.splitlines()[0].startswith("ann\t"), "the folder notes the database"
    done = another.run("restore", file, "--store", database)
    told = f"Nothing can be restored into {database}: it has accounts, or a server has used it."
    assert (done.code, done.err) == (2, f"{told} Name a folder or a database that is new or empty.\n")
    assert not another.data.exists()


def test_a_restore_that_cannot_be_logged_does_not_run(tmp_path: Path, operator: Operator, new: Operator) -> None:
    file, log = tmp_path / "backup.tar", tmp_path / "logs" / "restore.log"
    assert operator.run("backup", file).code == 0
    done = new.run("restore", file, "--log", log)
    assert (done.code, done.err.startswith(f"{log} cannot be used: ")) == (2, True), done.err
    assert not new.data.exists()
    log.parent.mkdir()
    assert new.run("restore", file, "--log", log).code == 0
    assert " restored by=" in log.read_text()


def test_on_a_terminal_it_shows_how_far_it_is(
    tmp_path: Path, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(streams.Output, "isatty", lambda _self: True)
    shown = operator.run("backup", tmp_path / "backup.tar").err
    assert "\r100 % done\n" in shown
    assert "done" not in operator.run("backup", tmp_path / "another.tar", "--json").err


def test_on_a_terminal_it_asks_for_the_keys(tmp_path: Path, operator: Operator, new: Operator) -> None:
    file, keys = tmp_path / "backup.tar", tmp_path / "safe.keys"
    operator.run("backup", file, "--keys", keys)
    with Terminal("restore", str(file), "--data", str(new.data), home=tmp_path) as terminal:
        terminal.answer("The file with the keys:", f"{tmp_path}/none")
        terminal.shows("none cannot be used: there is no such file")
        terminal.answer("The file with the keys:", str(keys))
        terminal.shows("Restored: 2 accounts")
        assert terminal.ends() == 0
    assert lost(new.data) == []


def test_people_sign_in_to_a_server_that_was_restored_from_one_that_ran(tmp_path: Path) -> None:
    data, new = tmp_path / "data", tmp_path / "new"
    (token,) = seed(data)
    first, enough = threading.Event(), threading.Event()
    registered: list[str] = []

    def register(address: str) -> None:
        while not enough.is_set():
            name = f"person{len(registered)}"
            connect(address, name=name, password=PASSWORD, register=True).close()
            registered.append(name)
            first.set()

    with ServerProcess(data, "--registrations-source", "999") as server:
        fingerprint = server.address.fingerprint
        registering = threading.Thread(target=register, args=[str(server.address)])
        registering.start()
        assert first.wait(60)
        before = registered[-1]
        saved = run_antiphon("backup", "-", "--keys", tmp_path / "keys", "--data", data, home=tmp_path)
        enough.set()
        registering.join()
    assert saved.returncode == 0, saved.stderr
    archive = saved.stdout.encode("utf-8", "surrogateescape")
    options = ("--keys", tmp_path / "keys", "--data", new)
    brought = run_antiphon("restore", "-", *options, home=tmp_path, stdin=archive)
    assert brought.returncode == 0, brought.stderr
    with ServerProcess(new, "--registration", "open") as server:
        assert server.address.fingerprint == fingerprint
        with RawClient(server.address) as client:
            client.hello()
            assert isinstance(client.resume(token), Error)
        with connect(str(server.address), name=before, password=PASSWORD) as session:
            assert session.ask("there?") == "there?"
