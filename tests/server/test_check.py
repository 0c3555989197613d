"""The check of a start: every problem is told with its own sentence, and nothing is served or changed."""

import os
import re
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE
from antiphon.data.folder import KEY_RING_FILE, DataFolder
from antiphon.data.validity import EXPIRY_NOTICE
from antiphon.server.check import StartCheck
from antiphon.settings import ProgramSettings, ServerSettings
from support.certificate_authority import issue_certificate
from support.old_stores import make_old
from support.serving import seed, serving

ALL = ["service", "data folder", "log", "key ring", "certificate", "store", "port"]


def told(data: Path, service: str = "echo", **options: Any) -> dict[str, str]:
    """Return the sentence, or the code of the problem, of each thing that is checked."""
    defaults: dict[str, Any] = {"data": data, "port": 0, "host": "127.0.0.1"}
    settings = ServerSettings(**defaults | options)
    found = StartCheck(service, settings, ProgramSettings()).run()
    return {
        each.what: each.error.code if each.error else each.said.format(**each.fields).replace(f"{data}", "DATA")
        for each in found
    }


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return modes and contents below a folder."""
    return {
        str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def test_what_does_not_exist_is_said_to_be_made_and_is_not(tmp_path: Path) -> None:
    found = told(tmp_path / "data")
    assert list(found) == ALL
    assert found["service"] == "echo"
    assert found["data folder"] == "DATA does not exist; it is made at the start"
    assert found["certificate"] == f"DATA/{CERTIFICATE_FILE} does not exist; it is made at the start"
    assert found["port"] == "any free one"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("store", ["sqlite", "files"])
def test_what_is_there_is_found_and_stays_as_it_is(tmp_path: Path, store: str) -> None:
    data = tmp_path / "data"
    kept_in = store if store == "sqlite" else f"files:{tmp_path}/people"
    seed(data, store=kept_in)
    with serving(data, store=kept_in) as server:
        assert server.server.certificate is not None
        key = server.server.certificate.fingerprint
    before = content(tmp_path)
    found = told(data, store=kept_in)
    assert found["key ring"] == f"DATA/{KEY_RING_FILE}"
    assert found["certificate"].startswith(f"DATA/{CERTIFICATE_FILE}, valid until 20")
    assert found["certificate"].endswith(key)
    assert found["store"] == ("DATA/accounts.db" if store == "sqlite" else f"{tmp_path}/people/accounts.csv")
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("begins", "days", "words"),
    [
        (-9, EXPIRY_NOTICE.days - 1, r"valid until 20\S+ only, key \S+: renew the certificate"),
        (-9, -1, r"which has expired on 20\S+, key \S+: renew the certificate"),
        (1, 99, r"which is not valid before 20\S+, key \S+"),
    ],
)
def test_a_certificate_whose_dates_are_wrong_is_told_before_the_start(
    tmp_path: Path, begins: int, days: int, words: str
) -> None:
    issue_certificate(tmp_path / "data", begins=begins, days=days)
    assert re.fullmatch(f"DATA/{CERTIFICATE_FILE}, {words}", told(tmp_path / "data")["certificate"])


def test_a_store_of_an_older_version_is_said_to_be_upgraded_and_is_not(tmp_path: Path) -> None:
    DataFolder.open(tmp_path / "data").key_ring(os.urandom)
    make_old(tmp_path / "data", 4)
    with closing(sqlite3.connect(tmp_path / "data" / "accounts.db")) as accounts, accounts:
        accounts.execute("DELETE FROM credentials")  # no ring opens those of the dump
    before = content(tmp_path)
    assert told(tmp_path / "data")["store"].startswith("DATA/accounts.db is of an older version; ")
    assert content(tmp_path) == before


def test_beside_a_server_that_runs_what_it_writes_is_read_whole(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        found = told(data, port=server.server.port)
        assert found["store"] == "DATA/accounts.db"
        assert found["port"].startswith(f"{server.server.port} is taken; ")
        seed(data)  # SQLite has not written it into its main file yet
        DataFolder.open(tmp_path / "other").key_ring(os.urandom)
        (tmp_path / "other" / KEY_RING_FILE).rename(data / KEY_RING_FILE)
        assert told(data)["store"] == "key-ring-unusable"


def test_a_store_of_files_that_a_server_has_is_taken(tmp_path: Path) -> None:
    kept_in = f"files:{tmp_path}/people"
    with serving(tmp_path / "data", store=kept_in):
        assert told(tmp_path / "data", store=kept_in)["store"] == "store-taken"


def break_ring(data: Path) -> None:
    (data / KEY_RING_FILE).unlink()


def give_ring_to_all(data: Path) -> None:
    (data / KEY_RING_FILE).chmod(0o644)


def break_certificate(data: Path) -> None:
    (data / KEY_FILE).write_bytes(b"no key")


def break_store(data: Path) -> None:
    (data / "accounts.db").write_bytes(b"no database of ours" * 1000)


def take_the_folder_away(data: Path) -> None:
    data.chmod(0o777)


def make_the_log_a_folder(data: Path) -> None:
    (data / "server.log").mkdir()


@pytest.mark.parametrize(
    ("harm", "what", "code"),
    [
        (break_ring, "key ring", "key-ring-unusable"),
        (give_ring_to_all, "key ring", "folder-unsafe"),
        (break_certificate, "certificate", "certificate-unusable"),
        (break_store, "store", "folder-unusable"),
        (take_the_folder_away, "data folder", "folder-unsafe"),
        (make_the_log_a_folder, "log", "folder-unusable"),
    ],
)
def test_a_problem_is_told_of_the_thing_that_has_it(tmp_path: Path, harm: Any, what: str, code: str) -> None:
    data = tmp_path / "data"
    seed(data)
    with serving(data, log=tmp_path / "log"):
        pass
    harm(data)
    before = content(data)
    found = told(data)
    assert list(found) == ALL
    assert found[what] == code
    assert content(data) == before


def test_a_problem_names_the_file_and_not_its_copy(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    break_ring(tmp_path / "data")
    settings = ServerSettings(data=tmp_path / "data", port=0)
    (error,) = (each.error for each in StartCheck("echo", settings, ProgramSettings()).run() if each.error)
    assert str(tmp_path / "data" / KEY_RING_FILE) in str(error)


def test_what_the_service_and_the_port_lack_is_told_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = told(tmp_path / "data", "no_such_module:answer", port=port, strict_port=True)
        assert (found["service"], found["port"]) == ("service-not-loaded", "port-taken")
    assert told(tmp_path / "data", plain=True, host="*")["port"] == "exposure-refused"


def test_of_a_database_it_tells_whether_a_server_could_use_it_and_makes_nothing(
    tmp_path: Path, database: str
) -> None:
    data = tmp_path / "data"
    assert told(data, store=database)["store"] == database
    with serving(data, store=database):
        pass
    assert told(data, store=database)["store"] == database
    assert told(tmp_path / "other", store=database)["key ring"] == "key-ring-elsewhere"
    seed(tmp_path / "third")
    assert told(tmp_path / "third", store=database)["store"] == "key-ring-elsewhere"
    assert told(data, store="postgresql://127.0.0.1:9/none")["key ring"] == f"DATA/{KEY_RING_FILE}"
    assert told(data, store="postgresql://127.0.0.1:9/none")["store"] == "database-unreachable"


def test_keys_that_were_given_are_looked_at_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, given = tmp_path / "data", tmp_path / "given"
    seed(data)
    given.mkdir(mode=0o700)
    (data / KEY_RING_FILE).rename(given / KEY_RING_FILE)
    assert told(data)["key ring"] == "key-ring-unusable"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    assert told(data)["key ring"] == str(given / KEY_RING_FILE)


def test_a_status_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        assert told(tmp_path / "data", status=place)["status"] == "setting-invalid"
        node = {"store": "postgresql://127.0.0.1:9/none", "relay_address": place}
        assert told(tmp_path / "data", **node)["relays"] == "relay-ports-taken"
    assert told(tmp_path / "data", **node)["relays"] == f"{place} is free"
    assert told(tmp_path / "data", status=place)["status"] == f"{place} is free"
