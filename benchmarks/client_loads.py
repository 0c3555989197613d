"""Clients to measure, each written as its documentation says; `clients.py` runs each in a process of its own.

`client_loads.py LOAD LOOP ADDRESS PORT [CERTIFICATE]` connects, prints the checksum of its first answers as a line
of JSON, and then measures a round for each line of input, which holds seconds of warm-up and of measuring. Every
answer is compared with the text that was sent.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any
from zlib import crc32

import uvloop
from processes import PASSWORD
from sessions import PASSWORD as SESSION_PASSWORD

import antiphon
import antiphon.blocking

HOST = "127.0.0.1"
NAME = "load0"
SIZE = 64
"""Bytes of a text."""
BARE_SIZE = 96
"""Bytes of a message on a bare socket: about what a text is in frames of ours."""
TEXTS = 4096
PIPELINE = 256
"""Commands in one pipeline; as many messages as `ask_many` sends ahead."""
AT_ONCE = 50

Batch = list[Any]
Answer = Callable[[Batch], Batch]
AsyncAnswer = Callable[[Batch], Awaitable[Batch]]


@dataclass(frozen=True)
class Place:
    """The server to connect to."""

    address: str
    """Antiphon's address."""
    port: int
    certificate: str = ""
    """File of the server's certificate; empty over plain TCP."""

    def context(self) -> ssl.SSLContext | None:
        """Return a TLS context that trusts the certificate alone; None over plain TCP."""
        if not self.certificate:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.load_verify_locations(self.certificate)
        return context


def texts() -> list[str]:
    """Return texts that all differ; each ends with the CRC-32 of the rest."""
    made = []
    for number in range(TEXTS):
        text = f"message {number:08} of a load of {TEXTS} ".ljust(SIZE - 8, "-")
        made.append(f"{text}{crc32(text.encode()):08x}")
    return made


def bare_messages() -> list[bytes]:
    """Return the texts as bytes, longer by what a frame adds."""
    return [text.encode().ljust(BARE_SIZE) for text in texts()]


# --- asyncio ------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def antiphon_session(place: Place) -> AsyncIterator[Any]:
    """Yield a session of ours."""
    async with antiphon.connect(place.address, name=NAME, password=SESSION_PASSWORD) as session:
        yield session


@contextlib.asynccontextmanager
async def redis_client(place: Place) -> AsyncIterator[Any]:
    """Yield a client of redis-py."""
    from redis.asyncio import Redis  # noqa: PLC0415 - the other loads do not need it

    client: Any = Redis(host=HOST, port=place.port, password=PASSWORD, decode_responses=True, **redis_tls(place))
    async with client:
        yield client


@contextlib.asynccontextmanager
async def websocket(place: Place) -> AsyncIterator[Any]:
    """Yield a WebSocket without compression."""
    from websockets.asyncio.client import connect  # noqa: PLC0415 - the other loads do not need it

    scheme = "wss" if place.certificate else "ws"
    async with connect(f"{scheme}://{HOST}:{place.port}", compression=None, ssl=place.context()) as connection:
        yield connection


@contextlib.asynccontextmanager
async def streams(place: Place) -> AsyncIterator[Any]:
    """Yield a pair of asyncio streams."""
    reader, writer = await asyncio.open_connection(HOST, place.port, ssl=place.context())
    try:
        yield reader, writer
    finally:
        writer.close()


def redis_tls(place: Place) -> dict[str, Any]:
    """Return the options of redis-py for the place."""
    if not place.certificate:
        return {}
    return {"ssl": True, "ssl_ca_certs": place.certificate, "ssl_check_hostname": False}


async def antiphon_ask(session: Any, batch: Batch) -> Batch:
    """Ask one after another."""
    return [await session.ask(text) for text in batch]


async def antiphon_gather(session: Any, batch: Batch) -> Batch:
    """Ask all at once."""
    return await asyncio.gather(*map(session.ask, batch))


async def antiphon_many(session: Any, batch: Batch) -> Batch:
    """Ask ahead of the answers."""
    return [answer async for answer in session.ask_many(batch)]


async def redis_ask(client: Any, batch: Batch) -> Batch:
    """Ask one after another."""
    return [await client.echo(text) for text in batch]


async def redis_gather(client: Any, batch: Batch) -> Batch:
    """Ask all at once; each takes a connection of the pool."""
    return await asyncio.gather(*map(client.echo, batch))


async def redis_many(client: Any, batch: Batch) -> Batch:
    """Ask in one pipeline."""
    pipeline = client.pipeline(transaction=False)
    for text in batch:
        pipeline.echo(text)
    answers: Batch = await pipeline.execute()
    return answers


async def websocket_ask(connection: Any, batch: Batch) -> Batch:
    """Ask one after another."""
    answers = []
    for text in batch:
        await connection.send(text)
        answers.append(await connection.recv())
    return answers


async def streams_ask(pair: Any, batch: Batch) -> Batch:
    """Ask one after another."""
    reader, writer = pair
    answers = []
    for message in batch:
        writer.write(message)
        answers.append(await reader.readexactly(BARE_SIZE))
    return answers


# --- blocking -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def antiphon_blocking(place: Place) -> Iterator[Any]:
    """Yield a blocking session of ours."""
    with antiphon.blocking.connect(place.address, name=NAME, password=SESSION_PASSWORD) as session:
        yield session


@contextlib.contextmanager
def redis_blocking(place: Place) -> Iterator[Any]:
    """Yield a blocking client of redis-py."""
    from redis import Redis  # noqa: PLC0415 - the other loads do not need it

    with Redis(host=HOST, port=place.port, password=PASSWORD, decode_responses=True, **redis_tls(place)) as client:
        yield client


@contextlib.contextmanager
def bare_socket(place: Place) -> Iterator[Any]:
    """Yield a connected socket."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection((HOST, place.port)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = place.context()
        yield sock if context is None else stack.enter_context(context.wrap_socket(sock))


def antiphon_blocking_ask(session: Any, batch: Batch) -> Batch:
    """Ask one after another."""
    return [session.ask(text) for text in batch]


def antiphon_blocking_many(session: Any, batch: Batch) -> Batch:
    """Ask ahead of the answers."""
    return list(session.ask_many(batch))


def redis_blocking_ask(client: Any, batch: Batch) -> Batch:
    """Ask one after another."""
    return [client.echo(text) for text in batch]


def redis_blocking_many(client: Any, batch: Batch) -> Batch:
    """Ask in one pipeline."""
    pipeline = client.pipeline(transaction=False)
    for text in batch:
        pipeline.echo(text)
    answers: Batch = pipeline.execute()
    return answers


def socket_ask(sock: Any, batch: Batch) -> Batch:
    """Ask one after another."""
    answers = []
    for message in batch:
        sock.sendall(message)
        answer = sock.recv(BARE_SIZE)
        while len(answer) < BARE_SIZE and (more := sock.recv(BARE_SIZE - len(answer))):
            answer += more
        answers.append(answer)
    return answers


# --- a run --------------------------------------------------------------------------------------------------

ASYNC_LOADS: dict[str, tuple[Callable[[Place], Any], Callable[[Any, Batch], Awaitable[Batch]], int]] = {
    "antiphon-ask": (antiphon_session, antiphon_ask, PIPELINE),
    "antiphon-gather": (antiphon_session, antiphon_gather, AT_ONCE),
    "antiphon-many": (antiphon_session, antiphon_many, TEXTS),
    "redis-ask": (redis_client, redis_ask, PIPELINE),
    "redis-gather": (redis_client, redis_gather, AT_ONCE),
    "redis-many": (redis_client, redis_many, PIPELINE),
    "websockets-ask": (websocket, websocket_ask, PIPELINE),
    "streams-ask": (streams, streams_ask, PIPELINE),
}
"""How to connect, how to answer a batch, and how large a batch is."""
BLOCKING_LOADS: dict[str, tuple[Callable[[Place], Any], Callable[[Any, Batch], Batch], int]] = {
    "antiphon-ask": (antiphon_blocking, antiphon_blocking_ask, PIPELINE),
    "antiphon-many": (antiphon_blocking, antiphon_blocking_many, TEXTS),
    "redis-ask": (redis_blocking, redis_blocking_ask, PIPELINE),
    "redis-many": (redis_blocking, redis_blocking_many, PIPELINE),
    "socket-ask": (bare_socket, socket_ask, PIPELINE),
}


def batches(name: str, size: int) -> list[Batch]:
    """Return the messages of a load in batches."""
    messages: Batch = [*bare_messages()] if name in ("streams-ask", "socket-ask") else [*texts()]
    return [messages[first : first + size] for first in range(0, TEXTS - size + 1, size)]


def check(batch: Batch, answers: Batch) -> None:
    """Exit if an answer is not the message that it answers."""
    if answers != batch:
        raise SystemExit("an answer is not what it should be")


def checksum(answers: Batch) -> int:
    """Return the CRC-32 of answers, as texts."""
    said = [answer if isinstance(answer, str) else answer[:SIZE].decode() for answer in answers]
    return crc32("".join(said).encode())


class Meter:
    """Counts messages of one round: first some seconds of warm-up, then those that count."""

    def __init__(self, line: str) -> None:
        """Take the seconds of a line of input."""
        warmup, seconds = map(float, line.split())
        self._begins = time.perf_counter() + warmup
        self._ends = self._begins + seconds
        self._begun_at = self._cpu = 0.0
        self._messages = 0

    def goes_on(self, messages: int) -> bool:
        """Count messages that were answered; return whether to send more."""
        now = time.perf_counter()
        if not self._begun_at:
            if now >= self._begins:
                self._begun_at, self._cpu = now, time.process_time()
            return True
        self._messages += messages
        if now < self._ends:
            return True
        cpu = time.process_time() - self._cpu
        say(messages_per_s=self._messages / (now - self._begun_at), cpu_us=cpu / self._messages * 1e6)
        return False


def say(**values: float) -> None:
    """Print a line for the parent process."""
    print(json.dumps(values), flush=True)


async def run_async(name: str, place: Place) -> None:
    """Connect and measure rounds, with asyncio."""
    connect, ask, size = ASYNC_LOADS[name]
    loop = asyncio.get_running_loop()
    async with connect(place) as client:
        answer: AsyncAnswer = partial(ask, client)
        messages = batches(name, size)
        say(checksum=checksum([text for batch in batches(name, AT_ONCE) for text in await answer(batch)]))
        while line := await loop.run_in_executor(None, sys.stdin.readline):  # the loop goes on: heartbeats
            meter = Meter(line)
            for batch in cycle(messages):
                check(batch, await answer(batch))
                if not meter.goes_on(len(batch)):
                    break


def run_blocking(name: str, place: Place) -> None:
    """Connect and measure rounds, without an event loop."""
    connect, ask, size = BLOCKING_LOADS[name]
    with connect(place) as client:
        answer: Answer = partial(ask, client)
        messages = batches(name, size)
        say(checksum=checksum([text for batch in batches(name, AT_ONCE) for text in answer(batch)]))
        while line := sys.stdin.readline():
            meter = Meter(line)
            for batch in cycle(messages):
                check(batch, answer(batch))
                if not meter.goes_on(len(batch)):
                    break


def main(name: str, loop: str, address: str, port: str, certificate: str = "") -> None:
    """Run a load on asyncio's own loop, on uvloop, or blocking."""
    place = Place(address, int(port), certificate)
    if loop == "blocking":
        run_blocking(name, place)
    elif loop == "uvloop":
        uvloop.run(run_async(name, place))
    else:
        asyncio.run(run_async(name, place))


if __name__ == "__main__":
    main(*sys.argv[1:])
