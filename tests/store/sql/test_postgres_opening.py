"""Opening of a PostgreSQL database: what is made, upgraded and refused, each in one sentence."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from antiphon.errors import (
    AntiphonError,
    DatabaseOutdated,
    DatabaseUnreachable,
    DatabaseUnusable,
    SettingInvalid,
)
from antiphon.settings import ServerSettings
from antiphon.store.opening import open_store, upgrade, versions
from antiphon.store.sql import schema, upgrades
from antiphon.store.sql.postgres import opening, prepare
from support.operator_commands import Operator
from support.postgres import USER, Postgres
from support.serving import seed

VERSION = schema.SCHEMA_VERSION


@pytest.fixture
def empty(postgres: Postgres) -> str:
    """The name of a database without tables."""
    postgres.database("empty")
    return "empty"


@pytest.fixture
def operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(tmp_path / "data", capsys)


def tables(postgres: Postgres, database: str) -> list[str]:
    with postgres.root(database) as root:
        found = root.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        return sorted(name for (name,) in found)


async def test_of_many_that_open_an_empty_database_at_once_one_makes_the_tables(
    postgres: Postgres, empty: str
) -> None:
    dsn = postgres.dsn(empty)
    found = await asyncio.gather(*(asyncio.to_thread(prepare, dsn) for _ in range(6)))
    assert found.count(None) >= 1
    assert versions(dsn, Path()) == {dsn: VERSION}
    with postgres.root(empty) as root:
        assert root.execute("SELECT version FROM antiphon").fetchall() == [(VERSION,)]


async def test_a_schema_may_be_chosen_and_one_that_is_not_there_is_refused(postgres: Postgres, empty: str) -> None:
    dsn = postgres.dsn(empty, options="-csearch_path%3Dchat")
    with pytest.raises(DatabaseUnusable, match="its search_path names no schema that is there"):
        prepare(dsn)
    with postgres.root(empty) as root:
        root.execute(f"CREATE SCHEMA chat AUTHORIZATION {USER}".encode())
    prepare(dsn)
    assert tables(postgres, empty) == []
    store = await open_store(dsn, Path())
    assert await store.accounts.overviews() == []
    await store.close()


# --- versions -----------------------------------------------------------------------------------------------


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the program whose tables have a column more."""
    steps = upgrades.STEPS | {VERSION + 1: {"accounts": ("ALTER TABLE accounts ADD COLUMN motto TEXT",)}}
    monkeypatch.setattr(upgrades, "STEPS", steps)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", VERSION + 1)


async def test_older_tables_are_refused_with_the_command_that_upgrades_them(
    database: str, request: pytest.FixtureRequest, operator: Operator, postgres: Postgres, empty: str
) -> None:
    dsn = postgres.dsn(empty)
    prepare(dsn)
    request.getfixturevalue("later")
    with pytest.raises(DatabaseOutdated) as refused:
        await open_store(dsn, Path())
    assert (refused.value.exit_code, f"antiphon db upgrade --store '{dsn}'" in str(refused.value)) == (2, True)
    assert versions(dsn, Path()) == {dsn: VERSION}
    assert await asyncio.gather(*(upgrade(dsn, Path()) for _ in range(3))) == [()] * 3
    store = await open_store(dsn, Path())
    await store.close()
    with postgres.root(empty) as root:
        assert root.execute("SELECT motto FROM accounts").fetchall() == []


SHAPE = """
SELECT table_name, column_name, data_type, column_default, is_nullable, collation_name
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, column_name
"""
KEYS = """
SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
NEW_IN_6: dict[str, tuple[str, ...]] = {
    "topics": (),
    "entries": (),
    "subscribers": (),
    "processes": ("place", "node_address", "certificate", "keys"),
    "antiphon": ("sealing",),
    "accounts": ("administrator",),
}
"""Tables of version 6, or what it has added to a table."""


async def test_the_first_version_in_postgresql_becomes_the_present_one(postgres: Postgres, empty: str) -> None:
    dsn = postgres.dsn(empty)
    prepare(dsn)
    with postgres.root(empty) as root:

        def shape() -> list[list[Any]]:
            return [root.execute(asked.encode()).fetchall() for asked in (SHAPE, KEYS, INDEXES)]

        made = shape()
        for table, columns in NEW_IN_6.items():
            if not columns:
                root.execute(f"DROP TABLE {table} CASCADE".encode())
            for column in columns:
                root.execute(f"ALTER TABLE {table} DROP COLUMN {column}".encode())
        root.execute("UPDATE antiphon SET version = 5")
        assert shape() != made
        await upgrade(dsn, Path())
        assert shape() == made


async def test_an_upgrade_that_fails_changes_nothing(
    postgres: Postgres, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = postgres.dsn(empty)
    prepare(dsn)
    statements = ("ALTER TABLE accounts ADD COLUMN motto TEXT", "ALTER TABLE nowhere ADD COLUMN motto TEXT")
    monkeypatch.setattr(upgrades, "STEPS", upgrades.STEPS | {VERSION + 1: {"accounts": statements}})
    monkeypatch.setattr(schema, "SCHEMA_VERSION", VERSION + 1)
    with pytest.raises(DatabaseUnusable):
        await upgrade(dsn, Path())
    assert versions(dsn, Path()) == {dsn: VERSION}
    with postgres.root(empty) as root, pytest.raises(psycopg.errors.UndefinedColumn):
        root.execute("SELECT motto FROM accounts")


async def test_newer_tables_are_refused(postgres: Postgres, empty: str) -> None:
    dsn = postgres.dsn(empty)
    prepare(dsn)
    with postgres.root(empty) as root:
        root.execute("UPDATE antiphon SET version = version + 1")
    for upgrading in (False, True):
        with pytest.raises(DatabaseUnusable, match="its tables are of a newer version of this program"):
            prepare(dsn, upgrading=upgrading)


def test_the_command_tells_versions_and_upgrades(
    operator: Operator, postgres: Postgres, empty: str, tmp_path: Path
) -> None:
    dsn = postgres.dsn(empty)
    told = operator.run("db", "status", "--store", dsn)
    assert (told.code, told.err) == (0, f"{dsn}: no tables yet; a server makes them.\n")
    assert tables(postgres, empty) == []
    assert json.loads(operator.run("db", "upgrade", "--store", dsn, "--json").out)["upgraded"] == [dsn]
    told = operator.run("db", "upgrade", "--store", dsn)
    assert (told.code, told.err) == (0, f"The tables are of version {VERSION} already.\n")
    assert json.loads(operator.run("db", "status", "--store", dsn, "--json").out) == {
        "databases": {dsn: VERSION},
        "wanted": VERSION,
    }
    mistyped = operator.run("db", "upgrade")
    assert (mistyped.code, "no accounts are kept there" in mistyped.err) == (2, True)
    assert not operator.data.exists() or not (operator.data / "accounts.db").exists()
    seed(operator.data)
    operator.run("db", "upgrade")  # SQLite
    told = operator.run("db", "status")
    assert told.err.count(f"version {VERSION}; this program needs version {VERSION}") == 2


# --- bad input ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def answering(said: bytes | None) -> Iterator[int]:
    """Give a port of what is no PostgreSQL server: it answers with `said`, or keeps silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = listener.accept()[0]
                    held.append(connection)
                    if said is not None:
                        connection.recv(100)
                        connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()


def refusal(dsn: str) -> tuple[str, int]:
    """Return the sentence with which a database is refused, without its address, and the exit code."""
    with pytest.raises(AntiphonError) as refused:
        asyncio.run(open_store(dsn, Path()))
    return refused.value.text().partition(dsn)[2], refused.value.exit_code


def test_what_cannot_be_used_is_refused_in_one_sentence_and_nothing_is_made(
    postgres: Postgres, empty: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tcp = postgres.tcp(empty)
    told, code = refusal(tcp)
    assert told.startswith(" cannot be used: it asks for a password, and there is none for it in ~/.pgpass or")
    assert code == 2
    monkeypatch.setenv("PGPASSWORD", "wrong")
    assert refusal(tcp) == (" cannot be used: the server refuses the password of this user.", 2)
    monkeypatch.setenv("PGPASSWORD", "correct")
    assert refusal(postgres.tcp("nowhere")) == (" cannot be used: there is no such database.", 2)
    assert refusal(postgres.dsn(empty, user="nobody")) == (" cannot be used: there is no such user.", 2)
    assert refusal(postgres.tcp(empty, user="rejected")) == (
        " cannot be used: the server takes no such connection of this user; see its pg_hba.conf.",
        2,
    )
    assert refusal(postgres.tcp(empty, parameters="?sslmode=require")) == (
        " cannot be used: the server has no TLS, and sslmode asks for it.",
        2,
    )
    assert refusal("postgresql:///?service=nowhere") == (
        " cannot be used: there is no such service in pg_service.conf.",
        2,
    )
    read_only = postgres.dsn(empty, options="-cdefault_transaction_read_only%3Don")
    assert refusal(read_only) == (" cannot be used: it is read-only.", 2)
    with postgres.root(empty) as root:
        root.execute(f"ALTER DATABASE {empty} OWNER TO postgres".encode())
        root.execute("ALTER SCHEMA public OWNER TO postgres; GRANT USAGE ON SCHEMA public TO public")
    assert refusal(tcp) == (
        " cannot be used: this user may not make tables in it, or may not use ours.",
        2,
    )
    with postgres.root(empty) as root:
        root.execute(f"REVOKE CONNECT ON DATABASE {empty} FROM public".encode())
    assert refusal(tcp) == (
        " cannot be used: this user may not make tables in it, or may not use ours.",
        2,
    )
    assert tables(postgres, empty) == []


@pytest.mark.parametrize("table", ["bookmarks (place text)", "antiphon (place text)", "antiphon (version text)"])
def test_a_database_of_another_program_is_refused(postgres: Postgres, empty: str, table: str) -> None:
    dsn = postgres.dsn(empty)
    with psycopg.connect(dsn) as other:
        other.execute(f"CREATE TABLE {table}".encode())
    before = tables(postgres, empty)
    assert refusal(dsn) == (" cannot be used: it holds the tables of another program.", 2)
    assert tables(postgres, empty) == before


def test_what_is_no_postgresql_server_is_refused_in_time(postgres: Postgres) -> None:
    http = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with answering(http) as port:
        assert refusal(f"postgresql://ann@127.0.0.1:{port}/chat") == (
            " cannot be reached: what answers there is no PostgreSQL server.",
            3,
        )
    with answering(None) as port:
        began = time.monotonic()
        assert refusal(f"postgresql://ann@127.0.0.1:{port}/chat") == (
            " cannot be reached: nobody answers there in time.",
            3,
        )
        assert time.monotonic() - began < 30, "it is no time limit of the system"
    assert refusal(f"postgresql://ann@127.0.0.1:{port}/chat") == (" cannot be reached: nobody listens there.", 3)


@pytest.mark.parametrize(
    "store",
    [
        "postgresql://ann:secret@localhost/chat",
        "postgres://ann:sec/ret@localhost/chat",
        "postgresql://localhost/chat?user=ann&password=secret",
        "postgresql:///chat?pass%77ord=secret",
        "postgresql://ann@localhost/chat?sslpassword=secret",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_shown(store: str, operator: Operator) -> None:
    with pytest.raises(SettingInvalid, match="a password in an address can be read by others"):
        ServerSettings(store=store)
    for command in (("serve",), ("accounts", "list"), ("db", "status")):
        done = operator.run(*command, "--store", store)
        assert (done.code, done.out) == (2, "")
        assert "can be read by others" in done.err
        assert "sec" not in done.err
    assert not operator.data.exists()


def test_a_wrong_address_is_refused_in_one_sentence(operator: Operator) -> None:
    for store, code in (
        ("postgresql://ann@localhost:seven/chat", 3),
        ("postgresql://[::1/chat", 2),
        ("postgresql://h/d?nonsense=1", 2),
    ):
        done = operator.run("db", "status", "--store", store)
        assert (done.code, done.err.count("\n")) == (code, 1)


def test_a_password_comes_from_a_file_and_a_server_from_a_service(
    postgres: Postgres, empty: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passwords, services = tmp_path / "passwords", tmp_path / "services"
    passwords.write_text(f"127.0.0.1:{postgres.port}:*:{USER}:correct\n")
    passwords.chmod(0o600)
    services.write_text(f"[chat]\nhost=127.0.0.1\nport={postgres.port}\nuser={USER}\ndbname={empty}\n")
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    assert prepare("postgresql:///?service=chat") is None
    assert prepare(postgres.tcp(empty)) == VERSION


def test_nothing_imports_psycopg_unless_it_is_used(tmp_path: Path) -> None:
    code = """
import sys
import antiphon.server.server, antiphon.cli.serve, antiphon.cli.db
print("psycopg" in sys.modules)
sys.modules["psycopg"] = None
from antiphon.cli.main import main
sys.exit(main(["serve", "--data", sys.argv[1], "--store", "postgresql://ann@localhost/chat"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert "pip install 'antiphon[postgres]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_that_says_nothing_once_it_is_connected_is_given_up(
    postgres: Postgres, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "OPEN_SECONDS", 0.3)
    monkeypatch.setattr(opening, "_LOOK", "SELECT 0, 0 FROM pg_sleep(60)")
    with pytest.raises(DatabaseUnreachable, match="nobody answers there in time"):
        prepare(postgres.dsn(empty))
