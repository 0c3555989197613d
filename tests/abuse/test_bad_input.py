"""Bad input before the sign-in (issue 3): a generic refusal, nothing stored, and the next person signs in.

Each row of the table is an input that no honest client sends, tried on plain TCP and over TLS.
"""

import hashlib
import random
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from typing import Any, NamedTuple

import pytest

from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, ClientExchange, mechanism_for
from antiphon.wire.bodies import (
    Authenticate,
    Body,
    Challenge,
    ChallengeAnswer,
    Error,
    Identify,
    Register,
    Welcome,
)
from antiphon.wire.frames import encode
from antiphon.wire.kinds import Kind
from support.key_rings import enrol
from support.processes import PASSWORD
from support.raw import RawClient
from support.scram import mutated
from support.serving import ATTACKER, Serving, credential, serving, verifier

KNOWN = [f"person{number}" for number in range(50)]
NONCE = "bm9uY2Ugb2YgdGhlIHRlc3QncyBjbGllbnQ="
ROWS = {
    "accounts.db": [
        "SELECT id, key, display, disabled, epoch, registered_at, visited_at FROM accounts",
        "SELECT * FROM credentials",
    ],
    "sessions.db": ["SELECT * FROM sessions"],
}
"""The tables that must not change: all except the counts of refusals."""

Attack = Callable[[RawClient], Body]


@pytest.fixture(scope="module", autouse=True)
def hashing_once() -> Iterator[None]:
    """Cache PBKDF2: every account here has the same password and salt, at 600,000 iterations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "pbkdf2_hmac", cache(hashlib.pbkdf2_hmac))
        yield


@pytest.fixture(scope="module", params=["tcp", "tls"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("bad") / "data"
    enrol(folder, ["ann", "next", *KNOWN])
    with serving(folder, plain=request.param == "tcp") as running:
        yield running


def kept(server: Serving) -> list[Any]:
    """Return the data that the server has stored."""
    found = []
    for name, queries in ROWS.items():
        with closing(sqlite3.connect(server.server.data_path / name)) as database:
            found += [database.execute(query).fetchall() for query in queries]
    return found


def next_person_signs_in(server: Serving) -> None:
    with server.client() as client:
        assert client.sign_in("next", PASSWORD).name == "next"
        assert client.ask("hello") == "hello"
        client.leave()


# --- what an attacker sends ---------------------------------------------------------------------------------


def channel(client: RawClient) -> bytes:
    """Return the GS2 header of a client's channel binding (RFC 5802)."""
    return b"n,," if client.binding is None else b"p=tls-server-end-point,,"


def begin(client: RawClient, name: str) -> Body:
    """Send the first message of an exchange for any name."""
    named = b"n=" + name.encode("utf-8", "surrogatepass")
    return begun_with(channel(client) + named + b",r=" + NONCE.encode())(client)


def prove(client: RawClient, name: str, end: bytes) -> Body:
    """Send a final message with the right nonce and channel binding, followed by `end`."""
    challenge = begin(client, name)
    if not isinstance(challenge, Challenge):
        return challenge
    bound = b64encode(channel(client) + (client.binding or b""))
    nonce = challenge.data.split(b",")[0]
    return client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"c=" + bound + b"," + nonce + end))


def registering(name: str) -> Attack:
    return lambda client: client.request(Kind.REGISTER, Register(name=name, credential=credential()))


def asking_for(name: str) -> Attack:
    return lambda client: client.request(Kind.IDENTIFY, Identify(name=name))


def signing_in(name: str) -> Attack:
    return lambda client: prove(client, name, b",p=" + b64encode(bytes(32)))


def begun_with(data: bytes) -> Attack:
    return lambda client: client.request(
        Kind.AUTHENTICATE, Authenticate(mechanism=mechanism_for(client.binding), data=data)
    )


def proving(end: bytes) -> Attack:
    return lambda client: prove(client, "ann", end)


def raw(kind: Kind, body: bytes) -> Attack:
    def attack(client: RawClient) -> Body:
        client.send(encode(kind, 1, body))
        return client.body()

    return attack


def right_proof(client: RawClient, exchange: ClientExchange) -> bytes:
    """Begin an exchange and return the final message that would sign ann in."""
    challenge = begun_with(exchange.first())(client)
    assert isinstance(challenge, Challenge)
    return exchange.answer(challenge.data)


def of_ann(client: RawClient) -> ClientExchange:
    return ClientExchange(mechanism_for(client.binding), "ann", Password(PASSWORD), client.binding, NONCE)


def proving_rightly_but(alter: Callable[[bytes], bytes]) -> Attack:
    return lambda client: client.request(
        Kind.CHALLENGE, ChallengeAnswer(data=alter(right_proof(client, of_ann(client))))
    )


def replaying(client: RawClient) -> Body:
    """Send the right proof of one exchange in another exchange."""
    proof = right_proof(client, of_ann(client))
    assert isinstance(begin(client, "ann"), Challenge)
    return client.request(Kind.CHALLENGE, ChallengeAnswer(data=proof))


def proof_after_refusal(client: RawClient) -> Body:
    assert isinstance(prove(client, "ann", b",p=AAAA"), Error)
    return client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"c=biws,r=" + NONCE.encode() + b",p=AAAA"))


class Row(NamedTuple):
    what: str
    attack: Attack
    code: str


BAD_NAMES = {
    "1,025 bytes": "a" * 1025,
    "NUL": "an\0n",
    "bidi override": "\u202eann",
    "mixed scripts": "\u0430nn",
}
VARIANTS = {"upper case": "ANN", "full width": "\uff41\uff4e\uff4e"}
SURROGATE = b'{"name":"a\\ud800b"}'
REFUSED = "sign-in-refused"

TABLE = [
    *[Row(f"register {what}", registering(name), "name-invalid") for what, name in BAD_NAMES.items()],
    *[Row(f"ask for {what}", asking_for(name), "name-invalid") for what, name in BAD_NAMES.items()],
    *[
        Row(f"sign in as {what}", signing_in(name), "body-invalid" if len(name) > 1000 else REFUSED)
        for what, name in BAD_NAMES.items()
    ],
    Row("ask for surrogate", raw(Kind.IDENTIFY, SURROGATE), "body-invalid"),
    Row("register surrogate", raw(Kind.REGISTER, SURROGATE), "body-invalid"),
    Row("sign in as surrogate", signing_in("a\ud800b"), REFUSED),
    *[Row(f"register {what}", registering(name), "name-taken") for what, name in VARIANTS.items()],
    *[Row(f"sign in as {what}", signing_in(name), REFUSED) for what, name in VARIANTS.items()],
    Row("no proof", proving(b""), REFUSED),
    Row("empty proof", proving(b",p="), REFUSED),
    Row("short proof", proving(b",p=AAAA"), REFUSED),
    Row("proof not base64", proving_rightly_but(lambda proof: proof.replace(b",p=", b",p=!")), REFUSED),
    Row("proof with a line end", proving_rightly_but(lambda proof: proof + b"\n"), REFUSED),
    Row("proof without padding", proving_rightly_but(lambda proof: proof.rstrip(b"=")), REFUSED),
    Row("proof cut short", proving_rightly_but(lambda proof: proof[:-4]), REFUSED),
    Row(
        "proof of another channel", proving_rightly_but(lambda proof: proof.replace(b"c=", b"c=AAAA", 1)), REFUSED
    ),
    Row("empty first message", begun_with(b""), REFUSED),
    Row("proof before its challenge", raw(Kind.CHALLENGE, b'{"data":"Yz1iaXdz"}'), "frame-unexpected"),
    Row("message before the sign-in", raw(Kind.MESSAGE, bytes(20)), "frame-unexpected"),
    Row("server's frame", raw(Kind.WELCOME, b"{}"), "frame-unexpected"),
    Row("proof after its refusal", proof_after_refusal, "frame-unexpected"),
    Row("replayed final message", replaying, REFUSED),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.what)
def test_it_is_refused_and_nothing_is_written_and_the_next_person_signs_in(server: Serving, row: Row) -> None:
    before = kept(server)
    with server.client(ATTACKER) as client:
        client.hello()
        refused = row.attack(client)
    assert isinstance(refused, Error), refused
    assert refused.code == row.code
    if row.code == REFUSED:
        assert refused == wrong_password(server)
    assert kept(server) == before
    next_person_signs_in(server)
    forgive(server)


def wrong_password(server: Serving) -> Error:
    """Return the answer to a wrong password: the generic error."""
    with server.client() as client:
        client.hello()
        refused = prove(client, "next", b",p=" + b64encode(bytes(32)))
        assert isinstance(refused, Error)
        return refused


def forgive(server: Serving) -> None:
    """Forget the failed sign-ins of ann, so that she can sign in at once."""
    with server.client() as client:
        client.hello()
        assert isinstance(client.authenticate("ann", PASSWORD), Welcome)
        client.leave()


def test_of_two_hundred_mutated_exchanges_none_signs_in(server: Serving) -> None:
    chance = random.Random(7)
    before = kept(server)
    for name in KNOWN:
        for _ in range(2):  # a name may be refused four times without delay, a connection twice
            with server.client(ATTACKER) as client:
                client.hello()
                for _ in range(2):
                    refused = mutated_exchange(client, name, chance)
                    assert isinstance(refused, Error), refused
                    assert refused.code == REFUSED
    assert kept(server) == before
    next_person_signs_in(server)


def mutated_exchange(client: RawClient, name: str, chance: random.Random) -> Body:
    """Sign in with the right password, but change some bytes of one message or of both."""
    exchange = ClientExchange(mechanism_for(client.binding), name, Password(PASSWORD), client.binding, NONCE)
    seed = chance.random()
    first, _ = mutated(exchange.first(), b"", random.Random(seed))
    challenge = begun_with(first)(client)
    if not isinstance(challenge, Challenge):
        return challenge
    theirs = challenge.data.split(b",")[0][-32:]  # of the nonce; the rest is as this client would have received it
    honest = b"r=" + NONCE.encode() + theirs + b",s=" + b64encode(verifier().salt) + b",i=%d" % ITERATIONS
    _, proof = mutated(b"", exchange.answer(honest), random.Random(seed))
    return client.request(Kind.CHALLENGE, ChallengeAnswer(data=proof))
