"""Guesses at the door of a real server, each timed, and whether two kinds of names can be told apart by them."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from antiphon.address import Address
from antiphon.data.folder import DataFolder
from antiphon.identity.names import prepare
from antiphon.store.contracts import NewAccount
from antiphon.store.opening import open_store
from antiphon.wire.bodies import SCRAM_SHA_256, Authenticate, Body, Challenge, ChallengeAnswer, Error
from antiphon.wire.kinds import Kind
from support.raw import RawClient
from support.serving import sealed

NONCE = "bm9uY2Ugb2YgdGhlIHRlc3QncyBjbGllbnQ="


class Timed(NamedTuple):
    """Seconds that the steps of one refused sign-in took, and how it was refused."""

    challenge: float
    refusal: float
    next: float
    """The AUTHENTICATE behind the refusal, on the same connection."""
    code: str


def seed_names(folder: Path, names: Sequence[str], store: str = "sqlite", disabled: Sequence[str] = ()) -> None:
    """Put accounts with the tests' password into a data folder; some of them `disabled`."""
    asyncio.run(_seed_names(folder, names, store, disabled))


async def _seed_names(folder: Path, names: Sequence[str], kept_in: str, disabled: Sequence[str]) -> None:
    data = DataFolder.open(folder)
    ring = data.key_ring(secrets.token_bytes)
    store = await open_store(kept_in, data.path)
    try:
        new = [
            NewAccount(
                name=prepare(name), seal=lambda number, _: sealed(ring, number), credential_type=SCRAM_SHA_256
            )
            for name in names
        ]
        for account in await store.accounts.add(new, datetime.now(UTC), "test"):
            if account.display in disabled:
                await store.accounts.set_disabled(account.id, disabled=True)
    finally:
        await store.close()


def beginning(name: str) -> Authenticate:
    """Return what begins a sign-in over plain TCP."""
    return Authenticate(mechanism="SCRAM-SHA-256", data=f"n,,n={name},r={NONCE}".encode())


def wrong_proof(challenge: Body, proof: str = "A" * 43 + "=") -> ChallengeAnswer:
    """Return an answer to a challenge that proves nothing; `proof` stands where one should."""
    assert isinstance(challenge, Challenge), challenge
    nonce = challenge.data.decode().split(",")[0]
    return ChallengeAnswer(data=f"c=biws,{nonce},p={proof}".encode())


def refused(client: RawClient, name: str, proof: str = "A" * 43 + "=") -> str:
    """Have one sign-in refused on a connection that has been greeted; return the code."""
    challenge = client.request(Kind.AUTHENTICATE, beginning(name))
    if not isinstance(challenge, Challenge):
        assert isinstance(challenge, Error), challenge
        return challenge.code
    answer = client.request(Kind.CHALLENGE, wrong_proof(challenge, proof))
    assert isinstance(answer, Error), answer
    return answer.code


def timed_refusal(address: Address, name: str, source: str) -> Timed:
    """Have a sign-in refused on a connection of its own, and time each answer."""
    with RawClient(address, source=source) as client:
        client.hello()
        times = [time.perf_counter()]
        challenge = client.request(Kind.AUTHENTICATE, beginning(name))
        times.append(time.perf_counter())
        answer = client.request(Kind.CHALLENGE, wrong_proof(challenge))
        times.append(time.perf_counter())
        again = client.request(Kind.AUTHENTICATE, beginning(name))
        times.append(time.perf_counter())
        assert isinstance(again, Challenge), again
        assert isinstance(answer, Error), answer
        first, second, third = (end - begin for begin, end in pairwise(times))
        return Timed(first, second, third, answer.code)


def told_apart(some: Sequence[float], others: Sequence[float]) -> float:
    """Return how well one can tell which of two kinds a sample is of: 0.5 not at all, 1 always.

    It is the area under the ROC curve, in whichever direction is larger.
    """
    ranked = sorted([(value, 0) for value in some] + [(value, 1) for value in others])
    ranks = sum(rank for rank, (_, kind) in enumerate(ranked, 1) if kind == 0)
    area = (ranks - len(some) * (len(some) + 1) / 2) / (len(some) * len(others))
    return max(area, 1 - area)
