"""Desk: a service that does what a message says, and the frames that its clients get."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from antiphon.services import Session
from antiphon.wire.bodies import Error
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame, Payload
from antiphon.wire.kinds import KIB, Kind
from support.joined import JoinedServer
from support.wire_client import WireClient


class Desk:
    """A service that does what the first word of a message says, and writes down what happens to it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.sessions: list[Session] = []
        self.gate = asyncio.Event()

    def note(self, what: str) -> None:
        self.seen.append(what)

    def wait_for(self, server: JoinedServer, what: str, times: int = 1) -> None:
        """Wait until something has happened so many times."""
        server.until(lambda: self.seen.count(what) >= times)

    async def opened(self, session: Session) -> None:
        await asyncio.sleep(0)
        session.state = 0
        self.sessions.append(session)
        self.note(f"opened {session.name}")

    async def closed(self, session: Session) -> None:
        await asyncio.sleep(0)
        self.note(f"closed {session.name} after {session.state}")

    def received(self, message: Payload, session: Session) -> Any:
        session.state += 1
        word = str(message).partition(" ")[0]
        return getattr(self, f"on_{word}", self.on_echo)(message, session)

    def on_echo(self, message: Payload, session: Session) -> Payload:
        return message

    async def on_wait(self, message: str, session: Session) -> str:
        self.note(f"begun {message}")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.note(f"cancelled {message}")
            raise
        self.note(f"ended {message}")
        return message

    async def on_count(self, message: str, session: Session) -> AsyncIterator[str]:
        try:
            for number in range(int(message.split()[1])):
                yield f"{number}"
        finally:
            self.note(f"counted {message}")

    async def on_flood(self, message: str, session: Session) -> AsyncIterator[bytes]:
        for number in range(int(message.split()[1])):
            self.note("flooded")
            yield bytes([number]) * 64 * KIB

    async def on_break(self, message: str, session: Session) -> AsyncIterator[str]:
        yield "one"
        raise RuntimeError("two")

    def on_push(self, message: str, session: Session) -> None:
        for number in range(int(message.split()[1])):
            session.send(f"push {number}")

    def on_goodbye(self, message: str, session: Session) -> str:
        session.close(message)
        return "as you wish"

    async def open(self) -> None:
        self.gate.set()


def sent(client: WireClient, *messages: Payload) -> list[int]:
    """Send messages in one write; return their ids."""
    pairs = [client.conversation.message(message) for message in messages]
    client.send(b"".join(data for _, data in pairs))
    return [id for id, _ in pairs]


def told(client: WireClient, count: int) -> list[tuple[int, object]]:
    """Return the next frames that count: id, and payload, "END" or the code of an ERROR."""
    frames: list[tuple[int, object]] = []
    while len(frames) < count:
        event = client.next()
        if isinstance(event, Control):
            assert isinstance(event.body, Error), event
            frames.append((event.id, event.body.code))
        elif isinstance(event, Frame) and event.kind != Kind.HEARTBEAT:
            frames.append((event.id, event.payload if event.kind == Kind.MESSAGE else "END"))
    return frames
