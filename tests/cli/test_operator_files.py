"""Tests of the operator's commands on a store of files that a running server has open."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.wire.bodies import ServerBye
from support.file_edits import edit
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.raw import RawClient
from support.serving import in_session, seed


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return tmp_path / "мои люди"


@pytest.fixture
def server(tmp_path: Path, people: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", "--plain", ANTIPHON_STORE=f"files:{people}") as running:
        yield running


def told(server: ServerProcess, people: Path, *arguments: str, stdin: str = "") -> Any:
    done = run_antiphon(
        *arguments,
        "--data",
        server.folder,
        "--store",
        f"files:{people}",
        "--json",
        home=people.parent,
        stdin=stdin,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_server_and_commands_see_each_others_changes(server: ServerProcess, people: Path) -> None:
    assert told(server, people, "accounts", "add", "bob", "--password-file", "-", stdin=PASSWORD) == {
        "name": "bob"
    }
    with RawClient(server.address) as client:
        client.sign_in("bob", PASSWORD)
        assert told(server, people, "accounts", "rename", "bob", "Боб") == {
            "name": "Боб",
            "was": "bob",
            "sessions_ended": 1,
        }
        client.sock.settimeout(60)
        assert client.body() == ServerBye(reason="revoked", cause="renamed")
    with RawClient(server.address) as client:
        client.sign_in("ann", PASSWORD, new=True)
    assert [row["name"] for row in told(server, people, "accounts", "list")] == ["ann", "Боб"]
    server.logged('session-revoked name="bob".* reason="renamed"')


def test_what_a_command_disables_is_cut(tmp_path: Path, people: Path) -> None:
    (token,) = seed(tmp_path / "data", store=f"files:{people}")
    with (
        ServerProcess(tmp_path / "data", "--plain", "--store", f"files:{people}") as server,
        in_session(server.address, token) as client,
    ):
        assert told(server, people, "accounts", "disable", "ann")["sessions_ended"] == 1
        assert client.body() == ServerBye(reason="revoked", cause="disabled")
        assert "\nann,1,yes," in (people / "accounts.csv").read_text("utf-8")


def test_a_slip_of_the_pen_makes_no_folder(tmp_path: Path) -> None:
    done = run_antiphon(
        "accounts", "list", "--data", tmp_path / "data", "--store", f"files:{tmp_path}/poeple", home=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{tmp_path}/poeple cannot be used: no accounts are kept there. "
        "Fix that, or name another store with --store.\n"
    )
    assert not (tmp_path / "poeple").exists()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", [("serve", "--no-input"), ("accounts", "list")])
def test_another_store_is_refused_in_one_sentence(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run_antiphon(*command, "--store", "mysql://there", home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "--store: must be sqlite, files:DIR or postgresql://USER@HOST/DATABASE, not “mysql://there”\n"
    )


def test_the_file_of_options_names_a_store(tmp_path: Path, people: Path) -> None:
    config = tmp_path / "antiphon.toml"
    config.write_text(f'[serve]\nstore = "files:{people}"\n', "utf-8")
    with ServerProcess(tmp_path / "data", "--plain", "--config", str(config)):
        assert (people / "accounts.csv").exists()


def test_a_broken_row_is_one_sentence(tmp_path: Path, people: Path) -> None:
    seed(tmp_path / "data", store=f"files:{people}")
    file = people / "accounts.csv"
    file.write_text(file.read_text("utf-8").replace("ann,1,", "ann,one,"), "utf-8")
    for command in (("serve", "--no-input", "--port", "0"), ("accounts", "list")):
        done = run_antiphon(*command, "--data", tmp_path / "data", "--store", f"files:{people}", home=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"{file}, line 2: what stands under “number” cannot be read. "
            "Fix that line, or restore a backup of the file; until then the file is not changed.\n"
        )


def test_a_command_tells_of_a_name_that_a_spreadsheet_has_rewritten(tmp_path: Path, people: Path) -> None:
    store = f"files:{people}"
    seed(tmp_path / "data", "1e5", store=store)
    edit(people / "accounts.csv", lambda text: text.replace("'1e5,", "1E+05,"))
    words = ("accounts", "list", "--data", tmp_path / "data", "--store", store)
    where = f"{people / 'accounts.csv'}, line 2: "
    english = run_antiphon(*words, home=tmp_path)
    assert (english.returncode, english.stdout.split("\t")[0]) == (0, "1E+05")
    assert english.stderr == (
        f"{where}a spreadsheet has probably made “1E+05” of another name. "
        "Correct it; if it is right, put an apostrophe before it.\n"
    )
    russian = run_antiphon(*words, "--lang", "ru", home=tmp_path)
    assert "электронная таблица" in russian.stderr
    edit(people / "accounts.csv", lambda text: text.replace("1E+05,", "'1E+05,"))
    assert run_antiphon(*words, home=tmp_path).stderr == ""


def test_the_files_in_a_data_folder_are_found_without_store(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        ServerProcess(data, "--plain", ANTIPHON_STORE=f"files:{data}") as running,
        RawClient(running.address) as it,
    ):
        it.sign_in("ann", PASSWORD, new=True)
    assert (data / "store").read_text() == "files:.\n"
    data = data.rename(tmp_path / "moved")
    for command in (["accounts", "list"], ["sessions", "list"]):
        listed = run_antiphon(*command, "--data", data, "--json", home=tmp_path)
        assert [row["name"] for row in json.loads(listed.stdout)] == ["ann"], listed.stderr
    added = run_antiphon(
        "accounts", "add", "bob", "--data", data, "--password-file", "-", home=tmp_path, stdin=PASSWORD
    )
    assert added.returncode == 0, added.stderr
    assert "\nbob," in (data / "accounts.csv").read_text("utf-8")
    assert not (data / "accounts.db").exists()
    named = run_antiphon("accounts", "list", "--data", data, "--store", "sqlite", home=tmp_path)
    assert (named.returncode, named.stdout) == (2, "")
    assert named.stderr.startswith(f"{data} is used with --store files:{data}; this is about sqlite.\n")
