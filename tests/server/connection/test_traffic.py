"""Traffic: every byte of frames is counted once, on the fast path and beside it."""

import asyncio
from pathlib import Path

import pytest

from antiphon.services import Handler, Session, echo
from antiphon.wire.frames import Frame
from support.joined import JoinedClient, JoinedServer, joined
from support.processes import PASSWORD


class Measured:
    """The bytes of a client."""

    def __init__(self, client: JoinedClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = self.read = 0
        send, read = client.send, client.read

        def sends(data: bytes) -> None:
            self.sent += len(data)
            send(data)

        def reads() -> bytes:
            data = read()
            self.read += len(data)
            return data

        monkeypatch.setattr(client, "send", sends)
        monkeypatch.setattr(client, "post", sends)
        monkeypatch.setattr(client, "read", reads)


def counted(server: JoinedServer) -> tuple[int, int]:
    server.read(lambda each: each.host.count_bytes())
    return server.host.traffic.received, server.host.traffic.sent


async def waits(message: str) -> str:
    await asyncio.sleep(0.01)
    return message


def frame_by_frame(message: str, session: Session) -> str:
    return message


@pytest.mark.parametrize("service", [echo, waits, frame_by_frame])
def test_every_byte_is_counted_once(service: Handler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with joined(tmp_path / "data", service) as server:
        client = server.client()
        measured = Measured(client, monkeypatch)
        client.sign_in("ann", PASSWORD, new=True)
        for size in (1, 100, 100_000):
            client.ask("x" * size)
        ids = [client.message_with(client.token, "y" * size) for size in (3, 200)]
        client.send(client.conversation.cancel(ids[1]))  # leaves the fast path in the middle of what was received
        ids.append(client.message_with(client.token, "z"))
        assert [frame.id for _ in ids if isinstance(frame := client.next(), Frame)] == ids
        client.send(client.conversation.heartbeat() * 3)
        client.ask("again")
        assert counted(server) == counted(server) == (measured.sent, measured.read)
        client.leave()
        assert counted(server) == (measured.sent, measured.read)
        assert not server.connections
