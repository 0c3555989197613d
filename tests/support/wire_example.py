"""The conversation in docs/protocol.md; write it with `PYTHONPATH=tests .venv/bin/python -m support.wire_example`.

Both sides of the protocol are joined in memory, with fixed nonces, salt and token.
"""

import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from antiphon.errors import TokenRefused
from antiphon.identity.passwords import Password
from antiphon.identity.scram import (
    ITERATIONS,
    SALT_SIZE,
    ClientExchange,
    make_verifier,
    mechanism_for,
)
from antiphon.identity.scram_server import ServerExchange
from antiphon.language import catalogue
from antiphon.server.auth.greeting import greeting
from antiphon.settings import ServerSettings
from antiphon.wire.bodies import (
    INVITATIONS,
    REPLACE,
    Authenticate,
    Challenge,
    ChallengeAnswer,
    ChangePassword,
    Credential,
    EndOthers,
    Hello,
    Identified,
    Identify,
    Lifetimes,
    Limits,
    OthersEnded,
    PasswordAnswer,
    Register,
    Resume,
    Scram,
    Welcome,
)
from antiphon.wire.conversation import ClientConversation, Control, ServerConversation
from antiphon.wire.frames import HEADER, HEADER_SIZE, Frame, Refused, encode_message
from antiphon.wire.kinds import TABLE, TOKEN_SIZE, Flag, Kind, Side

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
BEGIN = "<!-- conversation: written by tests/support/wire_example.py -->\n"
END = "<!-- end of conversation -->\n"

NAME = "ann"
PASSWORD = Password("correct horse battery")
NEW_PASSWORD = Password("a staple of that battery")
SALT = bytes(range(SALT_SIZE))
NEW_SALT = bytes(range(SALT_SIZE, 2 * SALT_SIZE))
TOKEN = bytes(range(0xA0, 0xA0 + TOKEN_SIZE))
VERIFIER = make_verifier(PASSWORD, SALT, ITERATIONS)
MECHANISM = mechanism_for(None)
SETTINGS = ServerSettings()
HELLO = Hello(
    versions=[1],
    product="antiphon/0.1.0",
    access="authenticate",
    mechanisms=[MECHANISM],
    features=[INVITATIONS, REPLACE],
    limits=Limits(
        message=SETTINGS.message_limit, heartbeat=SETTINGS.heartbeat_seconds, silence=SETTINGS.silence_seconds
    ),
    registration=True,
    scram=Scram(salt_length=SALT_SIZE, iterations=ITERATIONS),
    password_minimum=SETTINGS.password_minimum,
)
WITH_TOKEN = {row.kind for row in TABLE if row.token}
WIDTH = 100
"""Characters of a body in one line."""


class Step(NamedTuple):
    """One frame: its sender, its bytes and its purpose."""

    sender: Side
    data: bytes
    about: str


class Pair:
    """Both ends of one connection; each accepts the frames of the other."""

    def __init__(self) -> None:
        self.server, self.client = ServerConversation(), ClientConversation()

    def to_client(self, data: bytes, about: str) -> Step:
        self.client.feed(data)
        assert isinstance(self.client.next(), Frame | Control)
        return Step(Side.SERVER, data, about)

    def to_server(self, data: bytes, about: str, *, refused: bool = False) -> Step:
        self.server.feed(data)
        assert isinstance(self.server.next(), Refused if refused else Frame | Control)
        return Step(Side.CLIENT, data, about)


def steps() -> Iterator[Step]:
    """Yield the frames of the conversation."""
    first, second = Pair(), Pair()
    yield first.to_client(first.server.hello(HELLO), "the server says what it speaks and wants")
    yield from _register(first)
    yield from _authenticate(first)
    yield from _talk(first)
    yield from _change(first)
    second.to_client(second.server.hello(HELLO), "as above")
    yield from _come_back(second)


def _register(pair: Pair) -> Iterator[Step]:
    server, client = pair.server, pair.client
    id, data = client.request(Kind.IDENTIFY, Identify(name=NAME))
    yield pair.to_server(data, "is the name free?")
    yield pair.to_client(server.reply(Kind.IDENTIFY, id, Identified(name=NAME, free=True)), "it is")
    credential = Credential(
        salt=SALT, iterations=ITERATIONS, stored_key=VERIFIER.stored_key, server_key=VERIFIER.server_key
    )
    id, data = client.request(Kind.REGISTER, Register(name=NAME, credential=credential))
    yield pair.to_server(data, "remember me; the verifier is made of the password, salt and iterations")
    yield pair.to_client(server.reply(Kind.REGISTER, id, Identified(name=NAME, free=False)), "the account is kept")


def _authenticate(pair: Pair) -> Iterator[Step]:
    server, client = pair.server, pair.client
    asking = ClientExchange(MECHANISM, NAME, PASSWORD, None, b64encode(b"c" * 24).decode())
    answering = ServerExchange(MECHANISM, None, b64encode(b"s" * 24).decode())
    first = asking.first()
    id, data = client.request(Kind.AUTHENTICATE, Authenticate(mechanism=MECHANISM, data=first))
    yield pair.to_server(data, _says(first))
    answering.name_in(first)
    challenge = answering.challenge(VERIFIER)
    yield pair.to_client(server.reply(Kind.CHALLENGE, id, Challenge(data=challenge)), _says(challenge))
    proof = asking.answer(challenge)
    id, data = client.request(Kind.CHALLENGE, ChallengeAnswer(data=proof))
    yield pair.to_server(data, _says(proof))
    signature = answering.verify(proof)
    asking.verify(signature, "the example's server")
    yield pair.to_client(server.welcome(id, _welcome(signature), TOKEN), _says(signature))


def _talk(pair: Pair) -> Iterator[Step]:
    server, client = pair.server, pair.client
    id, data = client.message("Привет")
    yield pair.to_server(data, "a message: “Привет”")
    yield pair.to_client(server.answer(id, "Привет"), "its answer, the last for this id")
    id, data = client.message(b"\x00\xff")
    yield pair.to_server(data, "two bytes that are not text")
    yield pair.to_client(server.end(id), "a service that gives no answer says so (echo gives one)")
    id = client.next_id()
    yield pair.to_server(encode_message(id, "hello", token=bytes(TOKEN_SIZE)), "a wrong token", refused=True)
    yield pair.to_client(server.error(id, TokenRefused()), "the message is not handled, the session goes on")
    id, data = client.message("count")
    yield pair.to_server(data, "a message to a service that answers many times (echo answers once)")
    yield pair.to_client(server.part(id, "one"), "its first answer, and not the last")
    yield pair.to_server(client.cancel(id), "that is enough")
    yield pair.to_client(server.end(id), "nothing more comes")
    yield pair.to_client(server.push("bell"), "the service says something that answers nothing")
    yield pair.to_server(client.ack(6), "six frames of the session have come: the server need not keep them")
    yield pair.to_server(client.heartbeat(), "nothing was said for 20 s")
    yield pair.to_client(server.heartbeat(), "nor by the server; this does not answer that")


def _change(pair: Pair) -> Iterator[Step]:
    server, client = pair.server, pair.client
    asking = ClientExchange(MECHANISM, NAME, PASSWORD, None, b64encode(b"d" * 24).decode())
    answering = ServerExchange(MECHANISM, None, b64encode(b"t" * 24).decode())
    first = asking.first()
    id, data = client.request(Kind.PASSWORD, ChangePassword(mechanism=MECHANISM, data=first))
    yield pair.to_server(data, "the password is to be changed; " + _says(first))
    answering.name_in(first)
    challenge = answering.challenge(VERIFIER)
    yield pair.to_client(server.reply(Kind.PASSWORD, id, PasswordAnswer(data=challenge)), _says(challenge))
    proof = asking.answer(challenge)
    id, data = client.request(Kind.PASSWORD, ChangePassword(data=proof))
    yield pair.to_server(data, _says(proof))
    signature = answering.verify(proof)
    asking.verify(signature, "the example's server")
    yield pair.to_client(server.reply(Kind.PASSWORD, id, PasswordAnswer(data=signature)), _says(signature))
    new = make_verifier(NEW_PASSWORD, NEW_SALT, ITERATIONS)
    credential = Credential(
        salt=NEW_SALT, iterations=ITERATIONS, stored_key=new.stored_key, server_key=new.server_key
    )
    id, data = client.request(Kind.PASSWORD, ChangePassword(credential=credential))
    yield pair.to_server(data, f"the new one is “{NEW_PASSWORD.text}”, its salt the bytes 32 to 63")
    yield pair.to_client(server.reply(Kind.PASSWORD, id, PasswordAnswer(data=None)), "it is kept")
    id, data = client.request(Kind.END_OTHERS, EndOthers())
    yield pair.to_server(data, "the person has all their other sessions ended")
    yield pair.to_client(server.reply(Kind.END_OTHERS, id, OthersEnded(sessions=2)), "there were two")


def _come_back(pair: Pair) -> Iterator[Step]:
    server, client = pair.server, pair.client
    id, data = client.resume(TOKEN, Resume(received=6))
    yield pair.to_server(data, "the connection was lost; on a new one, after a HELLO as above")
    back = replace(_welcome(b""), first=False, token=None, greeting="", data=None, received=4, sent=6)
    yield pair.to_client(server.welcome(id, back, TOKEN), "the session goes on, with its token")
    yield pair.to_server(client.bye("left"), "the person leaves; the session is to end")
    yield pair.to_client(server.bye("left"), "it has ended; the server closes")


def _welcome(signature: bytes) -> Welcome:
    return Welcome(
        name=NAME,
        first=True,
        last_visit=None,
        last_address=None,
        refusals=0,
        token=TOKEN,
        lifetimes=Lifetimes(unheld=SETTINGS.session_unheld, total=SETTINGS.session_total),
        must_change=False,
        greeting=greeting(catalogue("en"), NAME, None),
        data=signature,
    )


def _says(message: bytes) -> str:
    return "data: " + message.decode()


def shown(step: Step) -> str:
    """Return a frame as the document shows it: its purpose, its header and its body."""
    length, kind, flags, reserved, id = HEADER.unpack_from(step.data)
    rest = step.data[HEADER_SIZE:]
    arrow = ">" if step.sender is Side.CLIENT else "<"
    header = HEADER.pack(length, kind, flags, reserved, id)
    parts = [header[:4], header[4:5], header[5:6], header[6:8], header[8:]]
    said = f"{Kind(kind).name}, id {id}" + "".join(f", {flag.name}" for flag in Flag if flags & flag)
    lines = [f"{arrow} {' | '.join(part.hex(' ') for part in parts)}   {said}"]
    if step.sender is Side.CLIENT and kind in WITH_TOKEN:
        lines.append(f"    {rest[:TOKEN_SIZE].hex(' ')}   the token")
        rest = rest[TOKEN_SIZE:]
    if kind == Kind.MESSAGE:
        lines.append(f"    {rest.hex(' ')}   the payload")
    elif kind == Kind.ACK:
        lines.append(f"    {rest.hex(' ')}   the count")
    elif rest:
        lines += [f"    {line}" for line in _broken(rest.decode())]
    return "\n".join([f"  # {step.about}", *lines])


def _broken(body: str) -> list[str]:
    """Break JSON into lines of about `WIDTH` characters, between two fields."""
    lines = [""]
    for part in re.split(r'(?<=,)(?=")', body):
        if lines[-1] and len(lines[-1] + part) > WIDTH:
            lines.append("")
        lines[-1] += part
    return lines


def example() -> str:
    """Return the whole example for the document."""
    return "```text\n" + "\n\n".join(map(shown, steps())) + "\n```\n"


def written() -> str:
    """Return the example that the document has now."""
    return DOCUMENT.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + example() + END + rest.partition(END)[2], "utf-8")
