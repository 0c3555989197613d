"""`kill -9` of a server during registrations: every acknowledged account is stored (promise 20)."""

import asyncio
import random
import threading
from pathlib import Path

import pytest

from antiphon.identity.names import prepare
from antiphon.store.opening import open_store
from antiphon.wire.bodies import Identified, Register
from antiphon.wire.kinds import Kind
from support.attack import LONG
from support.processes import PASSWORD, ServerProcess
from support.raw import RawClient
from support.serving import credential
from support.wire_client import Closed

LEAST = 3
"""Accounts to wait for before a kill, however slow the disk is."""


def register_until_killed(process: ServerProcess, names: list[str], seconds: float) -> list[str]:
    """Register names until the kill, `seconds` after the first; return the acknowledged ones."""
    acknowledged: list[str] = []
    with RawClient(process.address) as client:
        client.hello()
        killer = threading.Timer(seconds, process.process.kill)
        try:
            for name in names:
                if len(acknowledged) == LEAST:
                    killer.start()
                body = client.request(Kind.REGISTER, Register(name=name, credential=credential()))
                assert body == Identified(name=name, free=False)
                acknowledged.append(name)
        except (Closed, OSError):
            pass
        finally:
            killer.join()
    process.kill()
    return acknowledged


async def missing(folder: Path, names: list[str], kept_in: str) -> list[str]:
    store = await open_store(kept_in, folder)
    try:
        return [name for name in names if await store.accounts.find(prepare(name).key) is None]
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("store", "kills", "longest"), [("sqlite", 30 if LONG else 12, 0.06), ("files:{}", 8, 0.3)]
)
def test_every_account_acknowledged_before_a_kill_is_there_afterwards(
    tmp_path: Path, store: str, kills: int, longest: float
) -> None:
    folder, chance, kept_in = tmp_path / "data", random.Random(9), store.format(tmp_path / "people")
    acknowledged: list[str] = []
    for kill in range(kills):
        process = ServerProcess(folder, "--plain", "--store", kept_in, "--registrations-source", "9999")
        names = [f"k{kill}n{number}" for number in range(2000)]
        acknowledged += register_until_killed(process, names, chance.uniform(0.001, longest))
        assert asyncio.run(missing(folder, acknowledged, kept_in)) == []
    assert len(acknowledged) >= LEAST * kills
    with ServerProcess(folder, "--plain", "--store", kept_in) as process, RawClient(process.address) as client:
        assert client.sign_in(acknowledged[-1], PASSWORD).first
