"""Gate: a service that answers nobody until it is opened."""

import asyncio

from antiphon.wire.frames import Frame, Payload
from antiphon.wire.kinds import Kind
from support.wire_client import WireClient


class Gate:
    """A service that answers nobody until it is opened."""

    def __init__(self) -> None:
        self.handled: list[Payload] = []
        self._open = asyncio.Event()

    async def __call__(self, message: Payload) -> Payload:
        await self._open.wait()
        self.handled.append(message)
        return message

    async def open(self) -> None:
        self._open.set()


def payloads(client: WireClient, count: int) -> list[Payload]:
    """Return the answers to the next `count` questions."""
    answers: list[Payload] = []
    while len(answers) < count:
        event = client.next()
        assert isinstance(event, Frame), event
        if event.kind == Kind.MESSAGE:
            answers.append(event.payload)
    return answers
