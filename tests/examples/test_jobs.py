"""The queue: jobs run in turn and report their progress to the session that submitted them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.testing import Service, session
from antiphon.wire.frames import Payload
from jobs import Jobs, primes
from jobs_client import hand_in
from support.processes import PASSWORD
from support.serving import seed, serving


async def until(news: AsyncIterator[Payload], last: str) -> list[Payload]:
    """Return the pushed lines up to `last`."""
    told = []
    async for line in news:
        told.append(line)
        if line == last:
            break
    return told


async def test_a_job_is_told_of_part_by_part() -> None:
    async with session(Jobs()) as ann:
        assert await ann.ask("primes 2000") == "job 1"
        told = await until(aiter(ann), "job 1 done: 303")
        assert told == [*(f"job 1 {percent} %" for percent in range(10, 101, 10)), "job 1 done: 303"]
        assert await ann.ask("jobs") == "1 done: 303"
        assert await ann.ask("primes of all numbers") == "primes NUMBER, jobs, drop JOB"


async def test_jobs_have_their_turn_and_one_that_waits_can_be_dropped() -> None:
    async with session(Jobs(at_once=1)) as ann:
        commands = ["primes 2000", "primes 1000", "primes 100", "drop 2", "jobs", "drop 7"]
        assert [answer async for answer in ann.ask_many(commands)] == [
            "job 1", "job 2", "job 3", "job 2 dropped", "1 waits; 2 dropped; 3 waits",
            "no job to drop",
        ]  # fmt: skip
        told = await until(aiter(ann), "job 3 done: 25")
        assert told.index("job 1 done: 303") < told.index("job 3 10 %")
        assert not any(str(line).startswith("job 2") for line in told)


async def test_jobs_are_of_the_account_and_not_of_the_session() -> None:
    async with Service(Jobs()) as service:
        ann, bob = await service.enter("ann"), await service.enter("bob")
        assert await ann.ask("primes 10") == "job 1"
        await until(aiter(ann), "job 1 done: 4")
        await ann.leave()
        again = await service.enter("ann")
        assert await again.ask("jobs") == "1 done: 4"
        assert await bob.ask("jobs") == "none"
        assert await bob.ask("drop 1") == "no job to drop"


def test_the_client_waits_for_all_its_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", Jobs()) as server:
        asyncio.run(hand_in(str(replace(server.address, name="ann")), PASSWORD, "1000", "2000", "3000"))
    said = capsys.readouterr().out.splitlines()
    assert sorted(line for line in said if "done" in line) == [
        "job 1 done: 168",
        "job 2 done: 303",
        "job 3 done: 430",
    ]


def test_primes_are_counted() -> None:
    assert [primes(0, 3), primes(3, 8), primes(8, 11), primes(0, 0)] == [1, 3, 0, 0]
