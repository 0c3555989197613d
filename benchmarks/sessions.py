"""What is measured with: a session for each connection, signed in as people are, and what it sends."""

import asyncio
from pathlib import Path

from generator import Load

from antiphon.address import Address
from antiphon.client.dial import dial
from antiphon.client.signin import SignIn
from antiphon.client.trust import KnownServers
from antiphon.identity.passwords import Password
from antiphon.wire.bodies import Resume
from antiphon.wire.conversation import ClientConversation
from antiphon.wire.frames import HEADER_SIZE, encode_message

TEXT = "sixty-four bytes of text, as a person might type and a pipe send"
PASSWORD = Password("correct horse battery")
SESSIONS_AN_ACCOUNT = 10
DIAL_SECONDS = 10


async def sign_in(address: Address, count: int, folder: Path) -> list[bytes]:
    """Return the tokens of `count` sessions, each of which has echoed once; a sign-in costs 0.2 s of a core."""
    known = KnownServers(folder / "known_servers")
    sizes = [min(SESSIONS_AN_ACCOUNT, count - start) for start in range(0, count, SESSIONS_AN_ACCOUNT)]
    accounts = [_account(address, f"load{number}", size, known) for number, size in enumerate(sizes)]
    return [token for tokens in await asyncio.gather(*accounts) for token in tokens]


async def _account(address: Address, name: str, count: int, known: KnownServers) -> list[bytes]:
    tokens = []
    for number in range(count):
        connection = (await dial(address, known, DIAL_SECONDS)).connection
        entry = SignIn(connection)
        if number == 0:
            await entry.register(name, PASSWORD)
        await entry.authenticate(name, PASSWORD)
        tokens.append(connection.token)
        connection.abort()  # without a goodbye, so that the session can be resumed
    return tokens


def echo_load(tokens: list[bytes], depth: int) -> Load:
    """Return what asks Antiphon for `depth` echoes at a time, on a connection for each token."""
    return Load(
        requests=_batches(tokens, depth),
        reply_bytes=depth * (HEADER_SIZE + len(TEXT)),
        prologues=b"".join(ClientConversation().resume(token, Resume())[1] for token in tokens),
        prologue_frames=2,  # HELLO and WELCOME
    )


def blind_load(tokens: list[bytes], depth: int) -> Load:
    """Return the same requests for a server that gives them back as they are."""
    requests = _batches(tokens, depth)
    return Load(requests=requests, reply_bytes=len(requests) // len(tokens))


def _batches(tokens: list[bytes], depth: int) -> bytes:
    """Return a batch for each token; ids are unlike within a batch, and free again when it has been answered."""
    return b"".join(encode_message(id, TEXT, token=token) for token in tokens for id in range(1, depth + 1))
