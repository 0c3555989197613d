"""The page of a real server with workers: the supervisor, which has no store, ends what workers hold."""

import asyncio
import os
import signal
from pathlib import Path

from antiphon.blocking import connect
from antiphon.store.contracts import SessionRecord
from antiphon.store.sql import open_sqlite
from support.processes import PASSWORD
from support.serving import seed
from support.status_page import Page
from support.workers import WorkersProcess


async def make_administrator(folder: Path, name: str) -> None:
    store = await open_sqlite(folder)
    account = await store.accounts.find(name)
    assert account is not None
    await store.accounts.set_administrator(account.id, administrator=True)
    await store.close()


async def session_in(folder: Path) -> SessionRecord:
    store = await open_sqlite(folder)
    (record,) = await store.sessions.all()
    await store.close()
    return record


def test_an_administrator_ends_a_session_that_a_worker_holds(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    seed(folder, "ann", 0)
    asyncio.run(make_administrator(folder, "ann"))
    with WorkersProcess(folder, "--status", "localhost:0", access="authenticate") as server:
        page = Page(server.start["status"])
        assert page.sign_in().status == 200
        with connect(server.start["addresses"][0], name="ann", password=PASSWORD):
            record = asyncio.run(session_in(folder))
            assert page.post("/actions/revoke", {"session": record.short_id}).value["sessions_ended"] == 1
            server.logged(' session-revoked name="ann"', 1)
        for pid in server.workers:
            os.kill(pid, signal.SIGTERM)
        server.logged(" worker-ended ", 2)  # nobody has looked since, and what they knew is kept
        closed = page.get("/").text.partition('id="closed"')[2]
        assert ">ann<" in closed
        code = page.post("/actions/invite", {"name": "cat"}).value["code"]
        assert code.startswith("antiphon1://cat@")
        assert ' sessions-revoked name="ann" by="ann" address=127.0.0.1:' in server.log
