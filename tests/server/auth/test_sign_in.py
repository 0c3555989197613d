"""Sign-in with a password: who is admitted, who is refused and how, and what the server remembers of visits."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from datetime import timedelta
from typing import NoReturn

import msgspec
import pytest

from antiphon.errors import TryLater
from antiphon.identity.passwords import Password
from antiphon.identity.scram import LEAST_ITERATIONS, SALT_SIZE, make_verifier
from antiphon.store.contracts import Opened
from antiphon.wire.bodies import (
    Authenticate,
    Body,
    Challenge,
    ChallengeAnswer,
    Error,
    Identified,
    Identify,
    Resume,
    Welcome,
)
from antiphon.wire.kinds import Kind, Side
from support.auth import BINDING, HOME, NONCE, NOON, AuthClient, AuthServer, Place, code, wrong_proof
from support.bodies import BODIES
from support.imported_accounts import digest
from support.processes import PASSWORD
from support.serving import credential, verifier

HOUR = timedelta(hours=1)


@pytest.fixture
def client(server: AuthServer) -> AuthClient:
    return server.client()


async def sign_in(server: AuthServer, name: str) -> Welcome:
    """Sign in and leave."""
    client = await server.session(name)
    await client.leave()
    assert client.welcome is not None
    return client.welcome


async def away(*_: object) -> NoReturn:
    """Fail as a store does that cannot be reached."""
    raise TryLater from OSError("no such disk")


# --- registering --------------------------------------------------------------------------------------------


async def test_a_name_registers_once_and_is_greeted_as_typed_however_it_is_typed_later(
    server: AuthServer, client: AuthClient
) -> None:
    assert await client.register("Вадим") == Identified(name="Вадим", free=False)
    welcome = await client.authenticate("Вадим")
    assert isinstance(welcome, Welcome)
    assert (welcome.name, welcome.first) == ("Вадим", True)
    assert "Вадим" in welcome.greeting
    again = await sign_in(server, "вадим")
    assert (again.name, again.first) == ("Вадим", False)
    assert "Вадим" in again.greeting
    assert code(await server.client().register("ВАДИМ")) == "name-taken"


async def test_whether_a_name_is_free_can_be_asked_where_registration_is_open(client: AuthClient) -> None:
    assert await client.identify("Free") == Identified(name="Free", free=True)
    await client.register("Free")
    assert await client.identify("fREE") == Identified(name="fREE", free=False)


async def test_where_registration_is_closed_nobody_registers_and_nobody_learns_who_is_known(place: Place) -> None:
    server = await place.server(registration="closed")
    await server.seed("ann")
    client = server.client()
    hello = client.conversation.hello
    assert hello
    assert not hello.registration
    assert code(await client.register("new")) == "registration-closed"
    for name in ("ann", "new"):
        assert await client.identify(name) == Identified(name=name, free=None)


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a\nb", "a\x1b[31mb", "a\0b", "a\u2028b", "\u202eann", "аnn", "a" * 65, "\ufffd", "a" * 3000],
)
async def test_a_name_that_nobody_can_have_is_refused_and_shown_escaped(client: AuthClient, name: str) -> None:
    for body in (await client.register(name), await client.identify(name)):
        assert isinstance(body, Error)
        assert body.code == "name-invalid"
        assert body.text.isprintable()
        assert len(body.text) < 400
    assert len(client.server.log.of("refused")) == 1, "to ask about a name is no sign-in"


@pytest.mark.parametrize(
    "change",
    [
        {"iterations": 4096},
        {"iterations": 599_999},
        {"iterations": 10_000_000},
        {"salt": b"short"},
        {"salt": bytes(64)},
        {"stored_key": bytes(31)},
        {"server_key": b""},
        {"type": "md5"},
    ],
)
async def test_a_registration_with_other_parameters_is_refused(
    client: AuthClient, change: dict[str, object]
) -> None:
    weak = msgspec.structs.replace(credential(), **change)
    assert code(await client.register("weak", credential=weak)) == "credential-refused"
    assert await client.identify("weak") == Identified(name="weak", free=True)


# --- refusals -----------------------------------------------------------------------------------------------


async def test_after_two_wrong_passwords_the_right_one_is_taken_on_the_same_connection(
    server: AuthServer, client: AuthClient
) -> None:
    await server.seed("twice")
    assert [(await client.guess("twice")).code for _ in range(2)] == ["sign-in-refused"] * 2
    assert isinstance(await client.authenticate("twice"), Welcome)


async def test_the_third_wrong_password_ends_the_connection(server: AuthServer, client: AuthClient) -> None:
    await server.seed("thrice")
    for _ in range(2):
        assert (await client.guess("thrice")).code == "sign-in-refused"
        assert not client.closed
    assert (await client.guess("thrice")).code == "too-many-refusals"
    assert client.closed


async def test_broken_messages_and_unknown_names_count_as_wrong_passwords(client: AuthClient) -> None:
    broken = Authenticate(mechanism="SCRAM-SHA-256", data=b"rubbish")
    assert code(await client.request(Kind.AUTHENTICATE, broken)) == "sign-in-refused"
    assert (await client.guess("nobody")).code == "sign-in-refused"
    assert code(await client.request(Kind.AUTHENTICATE, broken)) == "too-many-refusals"
    assert client.closed


async def test_the_third_wrong_token_of_a_resume_ends_the_connection(client: AuthClient) -> None:
    assert [code(await client.resume(bytes(16))) for _ in range(2)] == ["session-ended"] * 2
    assert code(await client.resume(bytes(16))) == "too-many-refusals"
    assert client.closed
    assert [record.fields["code"] for record in client.server.log.of("refused")] == ["session-ended"] * 3


async def test_a_wrong_password_and_a_name_that_nobody_has_look_the_same(server: AuthServer) -> None:
    await server.seed("known", verifier=verifier())
    seen = []
    for name in ("known", "unknown", "no name at all"):
        client = server.client()
        salt, iterations = (await client.begin(name)).data.decode().split(",")[1:]
        assert (await client.begin(name)).data.decode().split(",")[1:] == [salt, iterations]
        seen.append((len(salt), iterations, await client.guess(name)))
    assert seen[0] == seen[1] == seen[2]


async def test_refusals_are_counted_and_told_at_the_next_welcome(server: AuthServer) -> None:
    await server.seed("counted")
    first = await sign_in(server, "counted")
    assert (first.first, first.refusals, first.last_visit, first.last_address) == (True, 0, None, None)
    for _ in range(2):
        await server.client().guess("counted")
    client = server.client()
    await client.begin("counted")
    assert code(await client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"rubbish"))) == "sign-in-refused"
    await server.settled()
    told = await sign_in(server, "counted")
    assert told.refusals == 3
    assert "3" in told.greeting
    assert (await sign_in(server, "counted")).refusals == 0


async def test_a_refusal_that_the_store_cannot_count_is_logged_and_no_news_for_the_peer(
    server: AuthServer, client: AuthClient
) -> None:
    await server.seed("ann")
    begun = await client.begin("ann")
    server.store.failures.refused = away  # type: ignore[method-assign,assignment]
    assert code(await client.request(Kind.CHALLENGE, wrong_proof(begun.data))) == "sign-in-refused"
    await server.settled()
    (record,) = server.log.of("store-failed")
    assert (record.level, record.fields["code"], record.fields["name"]) == ("error", "try-later", "ann")


async def test_a_sign_in_and_a_refusal_are_logged_with_name_and_address(server: AuthServer) -> None:
    client = server.client()
    await client.register("ann")
    await client.guess("Ann")
    await client.authenticate("ann")
    assert [(each.level, each.event, each.fields) for each in server.log.records] == [
        ("info", "registered", {"name": "ann", "address": client.peer.address, "invitation": False}),
        (
            "warning",
            "refused",
            {
                "name": "Ann",
                "address": client.peer.address,
                "code": "sign-in-refused",
                "why": "wrong-password",
            },
        ),
        ("info", "signed-in", {"name": "ann", "address": client.peer.address, "first": True}),
    ]


async def test_the_last_visit_and_its_address_are_told(server: AuthServer) -> None:
    await server.seed("visitor")
    await sign_in(server, "visitor")
    server.clock.advance(HOUR.total_seconds())
    again = await sign_in(server, "visitor")
    assert again.last_visit == NOON.isoformat()
    assert again.last_address == HOME
    assert HOME in again.greeting
    assert f"{NOON:%Y-%m-%d %H:%M}" in again.greeting


async def test_a_person_is_greeted_and_refused_in_their_language(client: AuthClient) -> None:
    refused = await client.identify("a b", language="ru")
    assert isinstance(refused, Error)
    assert any("а" <= letter <= "я" for letter in refused.text)
    assert refused.code == "name-invalid"
    await client.server.seed("ann")
    welcome = await client.authenticate("ann", language="ru")
    assert isinstance(welcome, Welcome)
    assert welcome.greeting == "Добро пожаловать, ann! Вы здесь впервые."


# --- how the name is spelt in n= ----------------------------------------------------------------------------


async def by_hand(client: AuthClient, spelt: str) -> Body:
    """Sign in with `PASSWORD` as docs/protocol.md says it, under a name that is sent as it is."""
    bare = f"n={spelt},r={NONCE}".encode()
    asked = Authenticate(mechanism="SCRAM-SHA-256", data=b"n,," + bare)
    challenge = await client.request(Kind.AUTHENTICATE, asked)
    if not isinstance(challenge, Challenge):
        return challenge
    said = dict(field.split(b"=", 1) for field in challenge.data.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), b64decode(said[b"s"]), LEAST_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    unproven = b"c=biws,r=" + said[b"r"]
    stored_key = hashlib.sha256(client_key).digest()
    signature = hmac.digest(stored_key, b",".join((bare, challenge.data, unproven)), "sha256")
    proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
    answer = ChallengeAnswer(data=unproven + b",p=" + b64encode(proof))
    return await client.request(Kind.CHALLENGE, answer)


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("Ann", ["ann", "ANN", "aNN", "ａｎｎ", "Ａnn"]),
        ("Рене\u0301", ["рене\u0301", "РЕНЕ\u0301"]),
        ("zo\u00eb", ["zoe\u0308", "ZOE\u0308", "ZO\u00cb"]),
        ("knut", ["\u212anut"]),
        ("a=b,c", ["a=3Db=2Cc", "A=3DB=2CC"]),
    ],
)
async def test_a_name_may_be_spelt_in_every_way_that_is_the_same_name(
    server: AuthServer, name: str, spellings: list[str]
) -> None:
    await server.seed(name)
    for spelt in spellings:
        welcome = await by_hand(server.client(), spelt)
        assert isinstance(welcome, Welcome), ascii(spelt)
        assert welcome.name == name


@pytest.mark.parametrize("spelt", ["straße", "a=2cb", "a=3db", "an\u200bn", "ann "])
async def test_another_name_and_another_escape_are_refused(server: AuthServer, spelt: str) -> None:
    for name in ("strasse", "a,b", "a=b", "ann"):
        await server.seed(name)
    assert code(await by_hand(server.client(), spelt)) == "sign-in-refused"


# --- accounts of an old system ------------------------------------------------------------------------------


async def test_of_an_imported_account_the_digest_is_the_password_and_has_to_be_changed(server: AuthServer) -> None:
    old = digest("old")
    imported = make_verifier(Password(old), bytes(SALT_SIZE), LEAST_ITERATIONS)
    await server.seed("ann", verifier=imported, must_change=True, expires_at=NOON + HOUR)
    welcome = await server.client().authenticate("ann", old)
    assert isinstance(welcome, Welcome)
    assert welcome.must_change
    assert code(await server.client().authenticate("ann", "old")) == "sign-in-refused"


# --- accounts that may not come in --------------------------------------------------------------------------


async def test_the_right_password_of_an_expired_account_looks_like_a_wrong_one(
    server: AuthServer, client: AuthClient
) -> None:
    await server.seed("ann", expires_at=NOON + HOUR)
    assert isinstance(await server.client().authenticate("ann"), Welcome)
    server.clock.advance(HOUR.total_seconds())
    expired = await client.authenticate("ann")
    assert code(expired) == "sign-in-refused"
    assert expired == await client.guess("ann")


async def test_an_account_that_is_disabled_while_its_session_is_opened_is_refused_and_counted(
    server: AuthServer, client: AuthClient
) -> None:
    account = await server.seed("ann")
    opening = server.store.sessions.open

    async def disabled_first(*arguments: object, **options: object) -> Opened | None:
        position = await opening(*arguments, **options)  # type: ignore[arg-type] # whatever it was
        await server.store.accounts.set_disabled(account.id, disabled=True)
        return position

    server.store.sessions.open = disabled_first  # type: ignore[method-assign]
    assert code(await client.authenticate("ann")) == "sign-in-refused"
    await server.settled()
    assert await server.refusals("ann") == 1
    assert await server.store.sessions.all() == []


# --- the order of steps -------------------------------------------------------------------------------------


async def test_a_proof_without_a_challenge_ends_the_connection(client: AuthClient) -> None:
    body = await client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"c=biws"))
    assert code(body) == "frame-unexpected"
    assert client.closed


async def test_a_refused_proof_needs_a_new_challenge(server: AuthServer, client: AuthClient) -> None:
    await server.seed("ann")
    await client.guess("ann")
    assert code(await client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"c=biws"))) == "frame-unexpected"


async def test_a_proof_counts_once(server: AuthServer) -> None:
    await server.seed("replayed")
    client = server.client()
    exchange = client.exchange("replayed", PASSWORD)
    asked = Authenticate(mechanism="SCRAM-SHA-256", data=exchange.first())
    challenge = await client.request(Kind.AUTHENTICATE, asked)
    assert isinstance(challenge, Challenge)
    proof = ChallengeAnswer(data=exchange.answer(challenge.data))
    assert isinstance(await client.request(Kind.CHALLENGE, proof), Welcome)
    other = server.client()
    await other.request(Kind.AUTHENTICATE, asked)  # to which the server gives a nonce of its own
    assert code(await other.request(Kind.CHALLENGE, proof)) == "sign-in-refused"


# --- the channel (promise 6) --------------------------------------------------------------------------------


async def test_over_tls_a_proof_is_bound_to_the_channel(server: AuthServer) -> None:
    await server.seed("ann")
    assert isinstance(await server.client(binding=BINDING).authenticate("ann"), Welcome)
    for flag in ("n", "y"):
        client = server.client(binding=BINDING)
        first = Authenticate(mechanism="SCRAM-SHA-256-PLUS", data=f"{flag},,n=ann,r=abcdefghijklmnopqrst".encode())
        assert code(await client.request(Kind.AUTHENTICATE, first)) == "sign-in-refused"
    relayed = server.client(binding=BINDING)
    exchange = relayed.exchange("ann", PASSWORD, bytes(32))
    first = Authenticate(mechanism="SCRAM-SHA-256-PLUS", data=exchange.first())
    challenge = await relayed.request(Kind.AUTHENTICATE, first)
    assert isinstance(challenge, Challenge)
    proof = ChallengeAnswer(data=exchange.answer(challenge.data))
    assert code(await relayed.request(Kind.CHALLENGE, proof)) == "sign-in-refused"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.IDENTIFY, Identify(name="ann")),
        (Kind.REGISTER, BODIES[Side.CLIENT, Kind.REGISTER]),
        (Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=x")),
        (Kind.RESUME, Resume()),
    ],
)
async def test_the_steps_of_the_sign_in_may_not_come_inside_a_session(
    server: AuthServer, kind: Kind, body: Body
) -> None:
    await server.seed("ann")
    client = await server.session()
    assert code(await client.request(kind, body)) == "frame-unexpected"
    assert client.closed


@pytest.mark.parametrize(("mechanism", "binding"), [("SCRAM-SHA-256", BINDING), ("SCRAM-SHA-256-PLUS", None)])
async def test_the_mechanism_of_another_channel_ends_the_connection(
    server: AuthServer, mechanism: str, binding: bytes | None
) -> None:
    client = server.client(binding=binding)
    asked = Authenticate(mechanism=mechanism, data=b"n,,n=ann,r=x")
    body = await client.request(Kind.AUTHENTICATE, asked)
    assert isinstance(body, Error)
    assert body.code == "mechanism-unsupported"
    assert client.peer.mechanism in body.text + body.hint
    assert client.closed


# --- resuming -----------------------------------------------------------------------------------------------


async def test_a_session_is_resumed_with_its_token_and_without_a_greeting(server: AuthServer) -> None:
    await server.seed("ann")
    first = await server.session()
    second = server.client()
    welcome = await second.resume(first.token)
    assert isinstance(welcome, Welcome)
    assert (welcome.name, welcome.token, welcome.greeting, welcome.first) == ("ann", None, "", False)
    assert first.lost == ["replaced"]
    (record,) = server.log.of("resumed")
    assert record.fields == {"name": "ann", "address": second.peer.address}


async def test_a_client_of_another_version_is_told_which_are_spoken(client: AuthClient) -> None:
    body = await client.identify("ann", version=2)
    assert isinstance(body, Error)
    assert body.code == "version-unsupported"
    assert "1" in body.hint
    assert client.closed


# --- errors of ours -----------------------------------------------------------------------------------------


async def test_an_error_of_the_store_is_logged_and_a_limit_is_not(place: Place) -> None:
    server = await place.server(registrations_source=1)
    client = server.client()
    await client.register("ann")
    limited = await client.register("bob")
    assert code(limited) == "try-later"
    assert server.log.of("sign-in-failed") == []
    server.store.accounts.find = away  # type: ignore[method-assign,assignment]
    assert code(await client.identify("carl")) == "try-later"
    (record,) = server.log.of("sign-in-failed")
    assert (record.fields["code"], record.fields["address"]) == ("try-later", client.peer.address)


async def test_a_verifier_that_cannot_be_read_is_an_error_of_ours_and_no_refusal(
    server: AuthServer, client: AuthClient
) -> None:
    account = await server.seed("ann")
    await server.store.accounts.replace_credential(account.id, account.credential_type, lambda *_: bytes(64))
    first = Authenticate(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=abcdefghijklmnopqrst")
    body = await client.request(Kind.AUTHENTICATE, first)
    assert isinstance(body, Error)
    assert body.code not in ("sign-in-refused", "frame-unexpected")
    assert server.log.of("refused") == []
    assert len(server.log.of("sign-in-failed")) == 1
