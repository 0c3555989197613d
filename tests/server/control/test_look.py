"""Who is connected, as a server that runs answers it: searched, a page at a time, and cheaply."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.blocking import connect
from antiphon.errors import SessionRevoked
from antiphon.server.control.live import (
    CLOSED_MOST,
    PAGE_SIZE,
    PAGES_MOST,
    TALKERS_MOST,
    ClosedSession,
    Live,
    LiveQuery,
    LiveSession,
    merged,
)
from antiphon.server.control.look import SessionLook
from support.moving import until
from support.people import seed_people
from support.processes import PASSWORD
from support.reports import NOW
from support.serving import Serving, serving


async def echo(text: str) -> str:
    if text == "wait":
        await asyncio.sleep(0.05)
    return text


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("look") / "data"
    seed_people(folder, ["ann", "Bob", "cat"])
    with serving(folder, echo, plain=True) as running:
        yield running


def look(server: Serving, search: str = "", page: int = 0) -> Live:
    """Look anew."""
    meter = server.server._meter
    meter._sessions._looked_at = meter._sessions._looked_at and meter._sessions._looked_at - 1
    return server.call(meter.look_alone(LiveQuery(search, page)))


def test_those_who_are_connected_are_told_with_what_they_do(server: Serving) -> None:
    address = str(server.address)
    with (
        connect(address, name="Bob", password=PASSWORD) as bob,
        connect(address, name="ann", password=PASSWORD) as ann,
    ):
        first = look(server)
        assert [each.name for each in first.sessions] == ["ann", "Bob"]
        assert {(each.messages, each.messages_per_s, each.handler_s) for each in first.sessions} == {
            (0, None, None)
        }
        for _ in range(20):
            bob.ask("hello")
        ann.ask("wait")
        seen = {each.name: each for each in look(server).sessions}
        assert (seen["Bob"].messages, seen["ann"].messages) == (20, 1)
        assert (seen["Bob"].messages_per_s or 0) > (seen["ann"].messages_per_s or 0) > 0
        assert (seen["ann"].handler_s or 0) >= 0.04 > (seen["Bob"].handler_s or 1)
        assert [each.name for each in look(server).talkers] == [], "nobody has said anything since"
        assert seen["ann"].address.startswith("127.0.0.1:")
        assert len(seen["ann"].id) == 12
        assert [each.name for each in look(server, "BO").sessions] == ["Bob"]
        assert [each.name for each in look(server, seen["ann"].address).sessions] == ["ann"]
        assert (look(server, "nobody").found, look(server, "nobody").count) == (0, 2)


def test_those_who_have_gone_are_told_with_the_reason(server: Serving) -> None:
    address = str(server.address)
    with connect(address, name="cat", password=PASSWORD):
        pass
    ended = look(server).closed[0]
    assert (ended.name, ended.reason, ended.cause) == ("cat", "left", "")
    raw = server.client()
    raw.hello()
    raw.sock.close()
    with connect(address, name="cat", password=PASSWORD) as cat:
        (id,) = (each.id for each in look(server).sessions)
        records = server.call(store_of(server).sessions.all())
        mark = next(each.fingerprint for each in records if each.short_id == id)
        server.call(store_of(server).sessions.revoke(mark, "revoked", NOW))
        until(lambda: look(server).closed[0].reason == "revoked")
        with pytest.raises(SessionRevoked):
            cat.ask("?")
    assert all(each.name for each in look(server).closed), "a connection without a session is none of them"


def store_of(server: Serving) -> Any:
    return server.server._store


def test_nothing_is_walked_while_nobody_looks_and_seldom_while_many_do(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = []
    walk = SessionLook._walk

    async def counted(self: SessionLook) -> None:
        walks.append(time.monotonic())
        await walk(self)

    monkeypatch.setattr(SessionLook, "_walk", counted)
    meter = server.server._meter

    async def many() -> None:
        meter.report()
        assert walks == []
        await asyncio.gather(*(meter.look_alone(LiveQuery(str(number))) for number in range(50)))

    meter._sessions._looked_at = None
    server.call(many())
    assert len(walks) == 1
    meter._sessions._forget()
    assert (meter._sessions._sessions, meter._sessions._counts) == ([], {})


# --- several processes --------------------------------------------------------------------------------------


def session(name: str, pid: int = 1, rate: float | None = 0.0) -> LiveSession:
    return LiveSession(
        name, name, name, 1, "a", NOW, pid, relayed=False, messages=0, messages_per_s=rate, handler_s=None
    )


def part(names: list[str], query: LiveQuery, closed: list[ClosedSession] | None = None) -> Live:
    """Return what a process answers."""
    found = [session(name, rate=float(len(name))) for name in sorted(names)]
    return Live(len(found), len(found), found[: query.end], found[-TALKERS_MOST:], closed or [])


def test_a_page_of_several_processes_is_that_of_all_their_sessions() -> None:
    names = [f"{number:05}" for number in range(1000)]
    for page in (0, 1, 17, 39, 40, 10_000):
        query = LiveQuery(page=page)
        live = merged([part(names[::2], query), part(names[1::2], query), part([], query)], query, [7])
        first = min(page, PAGES_MOST - 1) * PAGE_SIZE
        assert [each.name for each in live.sessions] == names[first : first + PAGE_SIZE]
        assert (live.count, live.found, live.silent) == (1000, 1000, [7])
        assert len(live.talkers) == TALKERS_MOST


def test_what_has_closed_at_processes_that_have_ended_is_kept_and_bounded() -> None:
    def ended(second: int) -> ClosedSession:
        return ClosedSession(NOW.replace(second=second), "x", "a", NOW, "left", "")

    query = LiveQuery()
    live = merged([part([], query, [ended(3), ended(1)])], query, [], [ended(2)])
    assert [each.closed_at.second for each in live.closed] == [3, 2, 1]
    assert len(merged([part([], query, [ended(1)] * 80)], query, []).closed) == CLOSED_MOST


def test_a_search_is_bounded_and_compares_without_case() -> None:
    assert LiveQuery("  STRASSE ").wanted == "strasse"
    assert len(LiveQuery("x" * 1000).wanted) == 64
    assert LiveQuery(page=-5).end == PAGE_SIZE


def test_ten_thousand_sessions_hold_up_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest step of a walk, and the whole of it, over channels that stand for ten thousand."""
    folder = tmp_path / "data"
    seed_people(folder, ["ann"])
    with (
        serving(folder, echo, plain=True) as running,
        connect(str(running.address), name="ann", password=PASSWORD),
    ):

        async def walked() -> tuple[int, float]:
            sessions = running.server._meter._sessions
            channels = list(sessions._channels) * 10_000
            monkeypatch.setattr(sessions, "_channels", channels)
            longest, ended = 0.0, asyncio.Event()

            async def tick() -> None:
                nonlocal longest
                before = time.thread_time()
                while not ended.is_set():
                    await asyncio.sleep(0)
                    now = time.thread_time()
                    longest, before = max(longest, now - before), now

            ticking = asyncio.ensure_future(tick())
            live = await sessions.answer(LiveQuery())
            ended.set()
            await ticking
            return live.count, longest

        count, longest = running.call(walked())
    assert count == 10_000
    assert longest < 0.1, "of the processor; a few milliseconds where nothing else slows it down"
