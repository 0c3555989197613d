"""Servers and workers on a PostgreSQL database, as processes."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from antiphon.data.folder import DataFolder
from support.moving import back, back_at_last, two_servers
from support.operator_commands import Operator
from support.postgres import Postgres
from support.processes import ServerProcess
from support.raw import RawClient
from support.serving import seed
from support.wire_client import Closed


def told_until_the_end(client: RawClient) -> None:
    while True:
        client.next()


def test_two_servers_relay_to_each_other_and_one_takes_up_what_the_other_leaves_when_it_is_killed(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (token,) = seed(tmp_path / "data", store=database)
    with two_servers(tmp_path, "--plain", "--store", database) as two:
        client, _ = back(two.home, token)
        assert client.ask("state") == "1"
        client.cut()
        client, welcome = back(two.other, token, 1)
        assert (welcome.received, welcome.missed, welcome.sent) == (1, 0, 1)
        assert client.ask("pid") == str(two.home.process.pid)
        two.home.kill()
        client.cut()
        client, welcome = back_at_last(two.other, token, 2)
        assert client.ask("pid") == str(two.other.process.pid)
        operator = Operator(tmp_path / "data", capsys)
        assert operator.run("accounts", "disable", "ann", "--store", database).code == 0
        with pytest.raises(Closed):
            told_until_the_end(client)
        assert (tmp_path / "data" / "accounts.db").exists() is False


def test_an_empty_database_is_set_up_once_and_has_one_key_ring_and_one_data_folder(
    tmp_path: Path, postgres: Postgres
) -> None:
    database = postgres.database("fresh")
    options = ("--plain", "--store", database, "--host", "127.0.0.1")

    def start(number: int) -> ServerProcess:
        return ServerProcess(tmp_path / "data", *options, "--log", str(tmp_path / f"{number}.log"))

    with ExitStack() as closing, ThreadPoolExecutor() as pool:
        for server in pool.map(start, range(3)):
            closing.enter_context(server)
    with ServerProcess(tmp_path / "data", *options, "--workers", "2") as server:
        server.logged(" worker-started ", 2)
        with pytest.raises(RuntimeError, match=r"secret\.key cannot be used: it is missing"):
            ServerProcess(tmp_path / "another", *options)
        assert not (tmp_path / "another" / "secret.key").exists()
        shutil.copy(tmp_path / "data" / "secret.key", tmp_path / "another" / "secret.key")
        with pytest.raises(RuntimeError, match=rf"Servers on \S+:{tmp_path}/data use the database"):
            ServerProcess(tmp_path / "another", *options)
    (tmp_path / "another" / "secret.key").unlink()
    DataFolder.open(tmp_path / "another").key_ring(os.urandom)
    with pytest.raises(RuntimeError, match=r"it is not the one that the database \S+ was begun with"):
        ServerProcess(tmp_path / "another", *options)
