"""Services of the model's servers, which record in a file what they do: `antiphon serve service.py:ROOM`.

Each record is one line of JSON, written by one call: the event, the session's name, the message, the process. A
message is `name:number:kind:argument`; the kind says how it is answered.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from antiphon import Session

RECORDS = "MODEL_RECORDS"
"""Environment variable: the path of the file."""
PAYLOAD = 1021
"""Bytes of the payload that a `big` answer repeats: prime, so that frames end anywhere in a read."""


def _record(event: str, name: str, message: str = "") -> None:
    line = json.dumps([event, name, message, os.getpid()]) + "\n"
    descriptor = os.open(os.environ[RECORDS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def big(message: str, pieces: int) -> str:
    """Return the answer to a `big` message."""
    return message + "=" + "x" * (PAYLOAD * pieces)


class Lines:
    """Sees messages only, so that its sessions have a fast path."""

    def received(self, message: str) -> Any:
        """Record the message, and answer as its kind says."""
        name, _, kind, argument = message.split(":")
        _record("run", name, message)
        if kind == "slow":
            return self._slow(message, int(argument) / 1000)
        if kind == "cancel":
            return self._slow(message, 1)
        if kind == "stream":
            return self._stream(message, int(argument))
        if kind == "big":
            return big(message, int(argument))
        return f"{message}="

    async def _slow(self, message: str, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return f"{message}="

    async def _stream(self, message: str, answers: int) -> AsyncIterator[str]:
        for number in range(answers):
            await asyncio.sleep(0.002 * (number % 3))
            yield f"{message}={number}"


class Room(Lines):
    """Has hooks, and pushes: its sessions have state, and no fast path."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._sessions: dict[str, Session] = {}

    def opened(self, session: Session) -> None:
        """Record the beginning."""
        _record("opened", session.name)
        self._sessions[session.name] = session

    def closed(self, session: Session) -> None:
        """Record the end."""
        _record("closed", session.name)
        del self._sessions[session.name]

    def received(self, message: str) -> Any:
        """Push first, if the kind says so."""
        answer = super().received(message)
        name, _, kind, argument = message.split(":")
        if kind == "push":
            for number in range(int(argument)):
                self._sessions[name].send(f"{message}={number}")
        return answer


LINES = Lines()
ROOM = Room()
