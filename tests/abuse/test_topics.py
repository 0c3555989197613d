"""Topics under attack: one who publishes without end, and subscribers who never read."""

import asyncio
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from antiphon.services import Session
from antiphon.topics import TOTAL_LIMIT
from antiphon.wire.kinds import KIB
from support.inside import channels
from support.serving import ATTACKER, Honest, Serving, seed, serving
from support.sessions import session_of

WRITE = 1.0
SECONDS = 2.0
"""How long the attack lasts; longer than a client that does not read is waited for."""
AT_LEAST = 4000
"""Messages of the attack, on a busy machine too: more than the system's buffers hold."""
END = "the end"


class Square:
    """`listen` subscribes, `flood` publishes without end, to one topic and to ever new ones."""

    async def received(self, message: str, session: Session) -> str:
        if message == "listen":
            await session.subscribe("square")
        elif message == "flood":
            ends, number = time.monotonic() + SECONDS, 0
            while time.monotonic() < ends or number < AT_LEAST:
                topic = "square" if number % 10 else f"square {number}"
                await session.publish(topic, f"{number:09}" + "x" * 2 * KIB)
                number += 1
            await session.publish("square", END)
        return message


def test_a_flood_and_subscribers_that_never_read_disturb_nobody_and_take_bounded_memory(tmp_path: Path) -> None:
    honest, flooder, reader, *deaf = seed(tmp_path / "data", sessions=7)
    with (
        serving(tmp_path / "data", Square(), plain=True, write_seconds=WRITE) as server,
        Honest(server.address, honest) as bystander,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(server.session(token, ATTACKER)) for token in deaf]
        for client in clients:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
            assert client.ask("listen") == "listen"
        attacker = stack.enter_context(server.session(flooder, ATTACKER))
        asked = bystander.asked
        attacker.send(attacker.conversation.message("flood")[1])
        heard, most = asyncio.run(listen(server, reader))
        assert bystander.asked - asked > 5, "it is answered while others flood"
        numbers = [int(text[:9]) for text in heard]
        assert numbers == sorted(set(numbers)), "in order, and none twice"
        assert len(numbers) > 100
        assert most <= TOTAL_LIMIT
        assert server.read(replayed) <= 256 * KIB
        for client in clients:
            client.closed()
    assert server.log().count("peer-too-slow") >= len(deaf)


async def listen(server: Serving, token: bytes) -> tuple[list[str], int]:
    """Return what a client that reads has heard, and the most memory that the histories have taken."""
    heard: list[str] = []
    most = 0

    def look(running: Any) -> int:
        return int(running._host.handlers.topics._broker._hub.total)

    async with session_of(server.address, token) as session:
        assert await session.ask("listen") == "listen"
        async for push in session:
            if push == END:
                break
            heard.append(str(push))
            if len(heard) % 100 == 0:
                most = max(most, await asyncio.to_thread(server.read, look))
    return heard, most


def replayed(server: Any) -> int:
    """Return the most that one session has in its replay buffer, in bytes."""
    return max(sum(map(len, channel.replay.frames())) for channel in channels(server))
