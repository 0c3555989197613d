"""The chat of two workers, in real processes: its people meet, and hear all lines in one order."""

import sqlite3
from collections.abc import Callable
from contextlib import closing

from antiphon import blocking
from antiphon.testing import ServerProcess

LINES = 40


def heard_until(session: blocking.Session, *lasts: str) -> list[str]:
    """Return what is pushed to a session until the `lasts` have come."""
    heard: list[str] = []
    while not set(lasts) <= set(heard):
        heard.append(str(session.receive(timeout=60)))
    return heard


def test_people_at_two_workers_have_one_chat(antiphon_server: Callable[..., ServerProcess]) -> None:
    server = antiphon_server("chat", workers=2, access="identify")
    people = [blocking.connect(server.address, name=name) for name in ("ann", "bob", "eve", "carl")]
    ann, bob, eve, carl = people
    with closing(sqlite3.connect(server.folder / "sessions.db")) as database:
        homes = database.execute("SELECT count(*) FROM sessions GROUP BY home").fetchall()
    assert homes == [(2,), (2,)]
    for each in people:  # whose first message is answered is in the lobby
        assert "lobby (" in str(each.ask("/rooms"))
    assert sorted(str(ann.ask("/who")).removeprefix("[lobby] -- ").split(", ")) == ["ann", "bob", "carl", "eve"]
    for number in range(LINES):
        ann.send(f"{number}")
        bob.send(f"{number}")
    lasts = [f"[lobby] {name}: {LINES - 1}" for name in ("ann", "bob")]
    said = [[line for line in heard_until(each, *lasts) if ": " in line] for each in (eve, carl)]
    assert said[0] == said[1]
    assert len(said[0]) == 2 * LINES
    assert carl.ask("/msg eve psst") is None
    assert heard_until(eve, "[carl to you] psst")
    assert bob.ask("/join maths") == "You speak in maths now. /help tells what else you can do."
    assert bob.ask("two") is None
    assert list(ann.ask_stream("/rooms")) == ["lobby (4)", "maths (1)"]
    assert carl.ask("/join maths") == "You speak in maths now. /help tells what else you can do."
    assert heard_until(carl, "[maths] bob: two")[-2:] == [
        "[maths] -- what was said before you came:",
        "[maths] bob: two",
    ]
    bob.close()
    heard_until(carl, "[maths] -- bob has left")
    for each in people:
        each.close()
