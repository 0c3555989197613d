"""Cost of a sign-in and of a resume: the processor time of the server from accept to WELCOME.

It includes TLS, the frames, SCRAM, the store and the log. The client runs on another core.
"""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from unittest.mock import patch

from idle_connections import resumed_connections
from plan import Plan
from processes import Placement, RunningServer, antiphon, on_core
from rows import Row, Spread
from sessions import PASSWORD, SESSIONS_AN_ACCOUNT, seed

from antiphon.address import parse
from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.dial import dial
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers

SIGN_INS, QUICK_SIGN_INS = 200, 10
RESUMES, QUICK_RESUMES = 500, 20
WARM_UP = 10
"""Sign-ins or resumes that are not counted: the server does its one-time work in them."""
ROUNDS_MOST = 8
"""Largest number of rounds: with the warm-up, fewer sessions than an account may have, so none is ended."""
SECONDS = 20
SIGN_IN_MS, RESUME_MS = 1.5, 0.5
TRANSPORTS = {"tcp": "plain TCP", "tls": "TLS 1.3"}


def names() -> list[str]:
    """Return the name of every row."""
    return [f"{what}/{transport}" for what in ("sign-in", "resume") for transport in TRANSPORTS]


def rows(plan: Plan) -> Iterator[Row]:
    """Measure the wanted rows."""
    for name in filter(plan.wanted, names()):
        what, _, transport = name.partition("/")
        data = plan.folder / name.replace("/", "-")
        place = Placement(plan.server_core, data, secure=transport == "tls")
        title = f"{what}: processor time of the server, {TRANSPORTS[transport]}, SQLite"
        if what == "sign-in":
            figure, target = _sign_ins(plan, place), SIGN_IN_MS
        else:
            figure, target = _resumes(plan, place), RESUME_MS
        yield Row(name, title, "", "ms", target, figure)


def _sign_ins(plan: Plan, place: Placement) -> Spread:
    count = plan.few(SIGN_INS, QUICK_SIGN_INS)
    seed(place.folder, count)
    with (
        antiphon()(place) as running,
        on_core(plan.load_core),
        hashed_once(),
    ):
        asyncio.run(_round(running, min(WARM_UP, count), plan.folder))
        rounds = min(plan.rounds, ROUNDS_MOST)
        return Spread([asyncio.run(_round(running, count, plan.folder)) for _ in range(rounds)])


async def _round(running: RunningServer, count: int, folder: Path) -> float:
    """Sign in every account, one after the other; return the server's milliseconds for one."""
    known = known_servers(folder)
    running.rest()
    before = running.processor_seconds()
    held = [await signed_in(running, known, number) for number in range(count)]
    spent = running.processor_seconds() - before
    for connection in held:
        connection.abort()
    return spent / count * 1000


def hashed_once() -> AbstractContextManager[object]:
    """Hash one password with one salt only once in the block: what is measured is the server."""
    return patch("hashlib.pbkdf2_hmac", cache(hashlib.pbkdf2_hmac))


def known_servers(folder: Path) -> KnownServers:
    """Return a file of known servers."""
    return KnownServers(folder / "known_servers")


async def signed_in(running: RunningServer, known: KnownServers, number: int) -> ClientConnection:
    """Return a connection on which the account of this number has signed in."""
    connection = (await dial(parse(running.address), known, SECONDS)).connection
    await SignIn(connection).authenticate(f"load{number}", PASSWORD)
    return connection


def _resumes(plan: Plan, place: Placement) -> Spread:
    count = plan.few(RESUMES, QUICK_RESUMES)
    tokens = seed(place.folder, count // SESSIONS_AN_ACCOUNT, SESSIONS_AN_ACCOUNT)
    rounds = []
    with antiphon()(place) as running, on_core(plan.load_core):
        for sock in resumed_connections(running.port, tokens[:WARM_UP], secure=place.secure):
            sock.close()
        for _ in range(min(plan.rounds, ROUNDS_MOST)):
            running.rest()
            before = running.processor_seconds()
            held = resumed_connections(running.port, tokens, secure=place.secure)
            rounds.append((running.processor_seconds() - before) / count * 1000)
            for sock in held:
                sock.close()
    return Spread(rounds)
