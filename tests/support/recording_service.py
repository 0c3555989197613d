"""A service that records each message in a file before it answers: `recording_service.py DATA PORT FILE`.

The program prints its address once it listens, and drains at SIGTERM. A message that begins with `wait` is
recorded and never answered.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from antiphon.server.server import Server
from antiphon.settings import ServerSettings

PROGRAM = Path(__file__)


class RecordingService:
    """Answers with the message, after writing it to the file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def received(self, message: str) -> Any:
        self._file.write(f"{message}\n".encode())
        return asyncio.Event().wait() if message.startswith("wait") else f"got {message}"


async def main(data: str, port: str, path: str) -> None:
    settings = ServerSettings(data=Path(data), port=int(port), host="127.0.0.1", plain=True, drain_seconds=5)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with Server(RecordingService(Path(path)), settings) as server:
        print(server.addresses[0], flush=True)
        await stopping.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
