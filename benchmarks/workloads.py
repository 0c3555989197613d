"""Workloads: what to send to each server and what it must answer, the same text in each protocol."""

from dataclasses import dataclass
from itertools import cycle

from generator import Load
from processes import PASSWORD

from antiphon.client.protocol.session import ACK_EVERY
from antiphon.wire.bodies import Resume
from antiphon.wire.conversation import ClientConversation, ServerConversation
from antiphon.wire.frames import encode, encode_message
from antiphon.wire.kinds import COUNT_SIZE, Kind

TEXT = "sixty-four bytes of text, as a person might type and a pipe send"
MASK = bytes.fromhex("5a17c3e9")
"""The key with which WebSocket clients mask what they send (RFC 6455, section 5.3)."""
UPGRADE = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(frozen=True)
class Shape:
    """The shape of a load: `depth` messages of `size` bytes at a time on each of `connections`."""

    connections: int
    depth: int
    size: int

    @property
    def text(self) -> str:
        """One message."""
        return TEXT * (self.size // len(TEXT))


def antiphon(shape: Shape, tokens: list[bytes]) -> Load:
    """Return the load for Antiphon, one connection for each token; all ids of a batch differ."""
    ids = range(1, shape.depth + 1)
    return Load(
        requests=b"".join(encode_message(id, shape.text, token=token) for token in tokens for id in ids),
        replies=b"".join(ServerConversation.answer(id, shape.text) for id in ids),
        prologues=b"".join(ClientConversation().resume(token, Resume())[1] for token in tokens),
        prologue_frames=2,  # HELLO and WELCOME
        acknowledgements=b"".join(encode(Kind.ACK, 0, bytes(COUNT_SIZE), token=token) for token in tokens),
        acknowledge_every=ACK_EVERY,
    )


def blind(shape: Shape, tokens: list[bytes]) -> Load:
    """Return the load for a blind echo: as many bytes as Antiphon gets, returned unchanged."""
    batch = antiphon(shape, [bytes(len(tokens[0]))]).requests
    return Load(requests=batch * shape.connections, replies=batch)


def length_prefixed(shape: Shape, _tokens: list[bytes]) -> Load:
    """Return a load of messages with a length of four bytes in front."""
    batch = (shape.size.to_bytes(4, "big") + shape.text.encode()) * shape.depth
    return Load(requests=batch * shape.connections, replies=batch)


def resp_echo(shape: Shape, _tokens: list[bytes]) -> Load:
    """Return a load of ECHO commands for Valkey and Redis, after AUTH."""
    batch = _command("ECHO", shape.text) * shape.depth
    return Load(
        requests=batch * shape.connections,
        replies=_bulk(shape.text) * shape.depth,
        prologues=_command("AUTH", PASSWORD) * shape.connections,
        prologue_ends="+OK\r\n",
    )


def websockets(shape: Shape, _tokens: list[bytes]) -> Load:
    """Return a load of WebSocket messages, after the upgrade."""
    payload = shape.text.encode()
    masked = bytes(byte ^ mask for byte, mask in zip(payload, cycle(MASK), strict=False))
    size = bytes([shape.size]) if shape.size < 126 else b"\x7e" + shape.size.to_bytes(2, "big")
    request = b"\x81" + bytes([size[0] | 0x80]) + size[1:] + MASK + masked
    return Load(
        requests=request * shape.depth * shape.connections,
        replies=(b"\x81" + size + payload) * shape.depth,
        prologues=UPGRADE.encode() * shape.connections,
        prologue_ends="\r\n\r\n",
    )


def _command(*parts: str) -> bytes:
    """Return a command in RESP, the protocol of Valkey and Redis."""
    return b"*%d\r\n" % len(parts) + b"".join(_bulk(part) for part in parts)


def _bulk(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text.encode())
