"""The chat of two nodes, in real processes on one database: one chat, also while the database is away."""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path

from antiphon import blocking
from antiphon.services.chat import _NOT_NOW
from antiphon.store.sql.database import Lock
from antiphon.store.sql.postgres.connection import Driver, PostgresConnection
from support.nodes import PORTS
from support.processes import ServerProcess

LINES = 20
PEOPLE = ("ann", "bob", "eve", "carl")
"""The first and the third are at one node, the others at the other."""


def heard_until(session: blocking.Session, *lasts: str) -> list[str]:
    """Return what is pushed to a session until the `lasts` have come."""
    heard: list[str] = []
    while not set(lasts) <= set(heard):
        heard.append(str(session.receive(timeout=60)))
    return [line for line in heard if ": " in line]


def test_people_at_two_nodes_have_one_chat_and_are_told_what_could_not_be_said(
    tmp_path: Path, database: str
) -> None:
    with ExitStack() as closing:
        nodes: list[ServerProcess] = []
        for name in ("one", "two"):
            data = tmp_path / name
            data.mkdir(0o700)
            if nodes:
                shutil.copy(tmp_path / "one" / "secret.key", data)
            node = ServerProcess(
                data, "chat", "--plain", "--access", "identify", "--store", database, "--relay-address", PORTS
            )
            nodes.append(closing.enter_context(node))
        people = [
            closing.enter_context(blocking.connect(nodes[number % 2].address, name=name, give_up=1))
            for number, name in enumerate(PEOPLE)
        ]
        talk(nodes, database, people)


def talk(nodes: list[ServerProcess], database: str, people: list[blocking.Session]) -> None:
    """Have two people at each of two nodes talk; then one of the nodes is killed."""
    ann, bob, eve, carl = people
    for each in people:  # whose first message is answered is in the lobby
        assert "lobby (" in str(each.ask("/rooms"))
    assert sorted(str(carl.ask("/who")).removeprefix("[lobby] -- ").split(", ")) == sorted(PEOPLE)
    for number in range(LINES):
        ann.send(f"{number}")
        bob.send(f"{number}")
    lasts = [f"[lobby] {name}: {LINES - 1}" for name in ("ann", "bob")]
    said = [heard_until(each, *lasts) for each in (eve, carl)]
    assert said[0] == said[1]
    assert len(said[0]) == 2 * LINES
    assert carl.ask("/msg eve psst") is None
    heard_until(eve, "[carl to you] psst")
    with Driver.connect(database) as stuck:
        PostgresConnection(stuck).lock(Lock.TOPICS)
        assert ann.ask("lost?") == _NOT_NOW
    assert ann.ask("found") is bob.ask("found") is None
    lasts = [f"[lobby] {name}: found" for name in ("ann", "bob")]
    said = [heard_until(each, *lasts) for each in (eve, carl)]
    assert said[0] == said[1]
    assert sorted(said[0]) == sorted(lasts)
    nodes[1].kill()
    gone = time.monotonic() + 60
    while ann.ask("/who") != "[lobby] -- ann, eve":
        assert time.monotonic() < gone, "who was at a node that is dead is still there"
        time.sleep(0.2)
