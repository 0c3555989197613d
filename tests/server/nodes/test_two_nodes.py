"""Two nodes as processes: two data folders with one key ring, one database, and clocks that are an hour apart."""

import json
import time
from pathlib import Path

import pytest

from antiphon.server.home.watch import DEAD_SECONDS
from support.moving import back, back_at_last, close_clients, refused
from support.nodes import node, ran
from support.operator_commands import Operator
from support.serving import seed

HOUR = 3600.0


def test_a_session_moves_between_nodes_by_relay_by_kill_and_by_drain_and_nothing_is_lost_or_doubled(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (token,) = seed(tmp_path / "one", store=database)
    with node(tmp_path, "one", database) as one, node(tmp_path, "two", database, off=HOUR) as two:
        client, _ = back(one, token)
        assert client.ask("first") == "first"
        client.cut()
        client, welcome = back(two, token, 1)
        assert (welcome.received, welcome.missed, welcome.sent) == (1, 0, 1)
        assert client.ask("pid") == str(one.process.pid)
        asked = [f"relayed {number}" for number in range(50)]
        for message in asked:
            assert client.ask(message) == message
        (listed,) = json.loads(
            Operator(tmp_path / "two", capsys).run("sessions", "list", "--json", "--store", database).out
        )
        assert (listed["home"], listed["relayed_by"]) == (str(one.process.pid), str(two.process.pid))
        assert listed["node"].endswith(f":{tmp_path / 'one'}")
        client.cut()
        one.logged(" broken-off .*")
        began = time.monotonic()
        one.kill()
        assert refused(two, token, 52).code == "try-later", "its counter has to stand still first"
        client, _ = back_at_last(two, token, 52)
        assert time.monotonic() - began > DEAD_SECONDS / 2, "it may have stood still before, on a busy machine"
        assert client.ask("after") == "after"
        client.cut()
        two.logged(" process-dead ")
        with node(tmp_path, "one", database) as again:
            assert two.stop() == 0
            client, welcome = back_at_last(again, token, 1)
            assert (welcome.received, welcome.missed, welcome.sent) == (1, 0, 1)
            assert client.ask("state") == "1", "its state was its home's"
            close_clients()
    asked += ["first", "after"]
    assert {message: ran(tmp_path)[message] for message in asked} == dict.fromkeys(asked, 1)
