"""`kill -9` of a real server while accounts are being registered: what was acknowledged is there (promise 20)."""

import asyncio
import random
import threading
from pathlib import Path

from antiphon.identity.names import prepare
from antiphon.store.sql import open_sqlite
from antiphon.wire.bodies import Identified, Register
from antiphon.wire.kinds import Kind
from support.processes import PASSWORD, ServerProcess
from support.raw import Closed, RawClient
from support.serving import credential

KILLS = 30
LONGEST = 0.06
"""Seconds of registering before a kill: some dozens of accounts, so that it falls anywhere in a transaction."""


def register_until_killed(process: ServerProcess, names: list[str], seconds: float) -> list[str]:
    """Register one name after the other; return those that were acknowledged before the kill."""
    acknowledged: list[str] = []
    with RawClient(process.address) as client:
        client.hello()
        killer = threading.Timer(seconds, process.process.kill)
        killer.start()
        try:
            for name in names:
                body = client.request(Kind.REGISTER, Register(name=name, credential=credential()))
                assert body == Identified(name=name, free=False)
                acknowledged.append(name)
        except (Closed, OSError):
            pass
        finally:
            killer.join()
    process.kill()
    return acknowledged


async def missing(folder: Path, names: list[str]) -> list[str]:
    store = await open_sqlite(folder)
    try:
        return [name for name in names if await store.accounts.find(prepare(name).key) is None]
    finally:
        await store.close()


def test_every_account_acknowledged_before_a_kill_is_there_afterwards(tmp_path: Path) -> None:
    folder, chance = tmp_path / "data", random.Random(9)
    acknowledged: list[str] = []
    for kill in range(KILLS):
        process = ServerProcess(folder, "--plain")
        names = [f"k{kill}n{number}" for number in range(2000)]
        acknowledged += register_until_killed(process, names, chance.uniform(0.001, LONGEST))
        assert asyncio.run(missing(folder, acknowledged)) == []
    assert len(acknowledged) > 2 * KILLS
    with ServerProcess(folder, "--plain") as process, RawClient(process.address) as client:
        assert client.sign_in(acknowledged[-1], PASSWORD).first
