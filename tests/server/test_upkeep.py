"""Upkeep: looks at everything again and again, and no fault ends it."""

from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import TryLater
from antiphon.server.session.manager import HELD_EVERY
from antiphon.server.upkeep import TICK_SECONDS
from support.joined import HOME, joined
from support.serving import seed


def test_a_session_that_is_held_is_noted_every_minute(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data", age=100)
    with joined(tmp_path / "data") as server, server.session(token) as client:

        def seen() -> Any:
            (record,) = server.call(server.store.sessions.all())
            return record.seen_at

        at_first = seen()
        client.idle(HELD_EVERY - 1)
        assert seen() == at_first
        client.idle(2)
        after_a_minute = seen()
        assert after_a_minute > at_first
        client.idle(HELD_EVERY)
        assert (seen() - after_a_minute).total_seconds() == pytest.approx(HELD_EVERY, abs=1)


def test_a_store_that_is_away_is_logged_and_asked_again(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data") as server, server.session(token) as client:
        asked = []

        async def away(*_: object) -> None:
            asked.append(server.now)
            raise TryLater

        server.store.sessions.held = away
        client.idle(2 * HELD_EVERY + 1)
        assert len(asked) == 2
        assert len(server.records("store-failed")) == 2
        assert client.ask("undisturbed") == "undisturbed"


def test_a_fault_of_one_look_does_not_end_the_next(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data") as server, server.session(token) as client:
        looks = []
        take = server.host.limits.take_dropped

        def broken() -> int:
            looks.append(server.now)
            if len(looks) < 3:
                raise LookupError("a fault")
            return take()

        server.host.limits.take_dropped = broken  # type: ignore[method-assign]
        client.idle(1)
        assert len(looks) >= 3
        assert looks[1] - looks[0] == pytest.approx(TICK_SECONDS)
        assert len(server.records("fault")) == 2


def test_a_connection_at_fault_is_aborted_and_the_others_are_looked_at(tmp_path: Path) -> None:
    tokens = seed(tmp_path / "data", sessions=2)
    with joined(tmp_path / "data") as server:
        client = server.session(tokens[0])

        class Broken:
            aborted = False
            admitted = True
            rests_until = 0.0

            def tick(self, now: float) -> None:
                raise LookupError("a fault")

            def count_bytes(self) -> None:
                """Have none."""

            def drain(self) -> None:
                """Say nothing."""

            def abort(self) -> None:
                self.aborted = True
                server.host.connections.discard(self)

        broken = Broken()
        server.host.connections.add(broken)
        server.let_pass(1)
        assert broken.aborted
        assert len(server.records("fault")) == 1
        assert client.error().code == "peer-silent"


def test_connections_that_the_limits_have_dropped_are_counted_in_the_log(tmp_path: Path) -> None:
    with joined(tmp_path / "data", entry_source=2) as server:
        clients = [server.client() for _ in range(2)]
        assert [server.host.limits.admit(HOME) for _ in range(3)] == [False] * 3
        server.let_pass(1)
        (record,) = server.records("dropped")
        assert record.endswith("count=3")
        for client in clients:
            client.close()


def test_a_key_ring_that_got_lost_is_told_to_the_log(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data") as server, server.session(token) as client:
        (tmp_path / "data" / "secret.key").unlink()
        client.idle(HELD_EVERY + 1)
        (record,) = server.records("key-ring-unread")
        assert "why=" in record
        assert client.ask("undisturbed") == "undisturbed"
