"""The way in at the socket: who is let in, who is refused and how, and what the server remembers of visits."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from antiphon.identity.passwords import Password
from antiphon.identity.scram import ClientExchange
from antiphon.server.server import Server
from antiphon.settings import ServerSettings
from antiphon.wire.bodies import (
    Authenticate,
    Body,
    Challenge,
    ChallengeAnswer,
    Error,
    Identified,
    Identify,
    Register,
    Resume,
    Welcome,
)
from antiphon.wire.kinds import Kind, Side
from support.bodies import BODIES
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import Honest, Serving, credential, seed, serving

NONCE = "bm9uY2Ugb2YgdGhlIHRlc3QncyBjbGllbnQ="


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("signin") / "data"
    tokens = seed(folder, "honest")
    with serving(folder, plain=True) as running, Honest(running.address, tokens[0]):
        yield running


@pytest.fixture
def client(server: Serving) -> Iterator[RawClient]:
    with server.client() as client:
        client.hello()
        yield client


def register(client: RawClient, name: str) -> Body:
    """Register without hashing: the server never sees more than a verifier."""
    return client.request(Kind.REGISTER, Register(name=name, credential=credential()))


def begin(client: RawClient, name: str) -> Challenge:
    first = f"n,,n={name},r={NONCE}".encode()
    challenge = client.request(Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=first))
    assert isinstance(challenge, Challenge), challenge
    return challenge


def wrong_password(client: RawClient, name: str) -> Error:
    """Prove nothing, at none of the cost of a real attempt."""
    nonce = begin(client, name).data.decode().split(",")[0].removeprefix("r=")
    proof = f"c=biws,r={nonce},p={'A' * 43}=".encode()
    body = client.request(Kind.CHALLENGE, ChallengeAnswer(data=proof))
    assert isinstance(body, Error), body
    return body


def sign_in(server: Serving, name: str) -> Welcome:
    with server.client() as client:
        welcome = client.sign_in(name, PASSWORD)
        client.leave()
        return welcome


def code(body: Body) -> str:
    assert isinstance(body, Error), body
    return body.code


# --- registering --------------------------------------------------------------------------------------------


def test_a_name_registers_once_and_is_greeted_as_typed_however_it_is_typed_later(server: Serving) -> None:
    with server.client() as client:
        welcome = client.sign_in("Вадим", PASSWORD, new=True)
        assert (welcome.name, welcome.first) == ("Вадим", True)
        assert "Вадим" in welcome.greeting
    again = sign_in(server, "вадим")
    assert (again.name, again.first) == ("Вадим", False)
    assert "Вадим" in again.greeting
    with server.client() as client:
        client.hello()
        assert code(register(client, "ВАДИМ")) == "name-taken"


def test_whether_a_name_is_free_can_be_asked_where_registration_is_open(client: RawClient) -> None:
    assert client.request(Kind.IDENTIFY, Identify(name="Free")) == Identified(name="Free", free=True)
    register(client, "Free")
    assert client.request(Kind.IDENTIFY, Identify(name="fREE")) == Identified(name="fREE", free=False)


def test_where_registration_is_closed_nobody_registers_and_nobody_learns_who_is_known(tmp_path: Path) -> None:
    seed(tmp_path / "data", "ann")
    with serving(tmp_path / "data", plain=True, registration="closed") as server, server.client() as client:
        assert not client.hello().registration
        assert code(register(client, "new")) == "registration-closed"
        for name in ("ann", "new"):
            assert client.request(Kind.IDENTIFY, Identify(name=name)) == Identified(name=name, free=None)


@pytest.mark.parametrize(
    ("host", "registration", "opened"),
    [("127.0.0.1", None, True), ("*", None, False), ("*", "open", True), ("127.0.0.1", "closed", False)],
)
async def test_registration_is_open_on_loopback_and_closed_elsewhere_unless_told(
    tmp_path: Path, host: str, registration: object, opened: bool
) -> None:
    settings = ServerSettings(data=tmp_path / "data", port=0, host=host, registration=registration)  # type: ignore[arg-type]
    async with Server(settings=settings) as server:
        assert server.registration is opened


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a\nb", "a\x1b[31mb", "a\0b", "a\u2028b", "\u202eann", "аnn", "a" * 65, "\ufffd", "a" * 3000],
)
def test_a_name_that_nobody_can_have_is_refused_and_shown_escaped(client: RawClient, name: str) -> None:
    body = register(client, name)
    assert code(body) == "name-invalid"
    assert isinstance(body, Error)
    assert body.text.isprintable()
    assert len(body.text) < 400


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
def test_a_registration_with_other_parameters_is_refused(client: RawClient, change: dict[str, object]) -> None:
    weak = msgspec.structs.replace(credential(), **change)
    body = client.request(Kind.REGISTER, Register(name="weak", credential=weak))
    assert code(body) == "credential-refused"
    assert client.request(Kind.IDENTIFY, Identify(name="weak")) == Identified(name="weak", free=True)


# --- refusals -----------------------------------------------------------------------------------------------


def test_after_two_wrong_passwords_the_right_one_is_taken_on_the_same_connection(client: RawClient) -> None:
    register(client, "twice")
    assert [wrong_password(client, "twice").code for _ in range(2)] == ["sign-in-refused"] * 2
    welcome = client.authenticate("twice", PASSWORD)
    assert isinstance(welcome, Welcome)
    assert client.ask("in") == "in"


def test_the_third_wrong_password_ends_the_connection(client: RawClient) -> None:
    register(client, "thrice")
    for _ in range(2):
        assert wrong_password(client, "thrice").code == "sign-in-refused"
    assert wrong_password(client, "thrice").code == "too-many-refusals"
    client.closed()


def test_broken_messages_and_unknown_names_count_as_wrong_passwords(client: RawClient) -> None:
    broken = Authenticate(mechanism="SCRAM-SHA-256", data=b"rubbish")
    assert code(client.request(Kind.AUTHENTICATE, broken)) == "sign-in-refused"
    assert wrong_password(client, "nobody").code == "sign-in-refused"
    assert code(client.request(Kind.AUTHENTICATE, broken)) == "too-many-refusals"
    client.closed()


def test_the_third_wrong_token_of_a_resume_ends_the_connection(client: RawClient) -> None:
    assert [code(client.resume(bytes(16))) for _ in range(2)] == ["session-ended"] * 2
    assert code(client.resume(bytes(16))) == "too-many-refusals"
    client.closed()


def test_a_wrong_password_and_a_name_that_nobody_has_look_the_same(server: Serving) -> None:
    with server.client() as client:
        client.hello()
        register(client, "known")
    seen = []
    for name in ("known", "unknown", "no name at all"):
        with server.client() as client:
            client.hello()
            salt, iterations = begin(client, name).data.decode().split(",")[1:]
            assert begin(client, name).data.decode().split(",")[1:] == [salt, iterations]
            refused = wrong_password(client, name)
            seen.append((len(salt), iterations, refused))
    assert seen[0] == seen[1] == seen[2]


def test_refusals_are_counted_and_told_at_the_next_welcome(server: Serving) -> None:
    with server.client() as client:
        client.hello()
        register(client, "counted")
    first = sign_in(server, "counted")
    assert (first.first, first.refusals, first.last_visit, first.last_address) == (True, 0, None, None)
    for _ in range(2):
        with server.client() as client:
            client.hello()
            wrong_password(client, "counted")
    with server.client() as client:
        client.hello()
        begin(client, "counted")
        broken = client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"rubbish"))
        assert code(broken) == "sign-in-refused"
    told = sign_in(server, "counted")
    assert told.refusals == 3
    assert "3" in told.greeting
    assert sign_in(server, "counted").refusals == 0


def test_the_last_visit_and_its_address_are_told(server: Serving) -> None:
    with server.client() as client:
        client.hello()
        register(client, "visitor")
    before = datetime.now(UTC)
    sign_in(server, "visitor")
    again = sign_in(server, "visitor")
    assert again.last_visit is not None
    visited = datetime.fromisoformat(again.last_visit)
    assert visited.utcoffset() == timedelta(0)
    assert before - timedelta(seconds=1) <= visited <= datetime.now(UTC)
    assert again.last_address is not None
    assert "127.0.0.1" in again.last_address
    assert "127.0.0.1" in again.greeting
    assert f"{visited:%Y-%m-%d %H:%M}" in again.greeting


def test_a_person_is_greeted_and_refused_in_their_language(client: RawClient) -> None:
    refused = client.request(Kind.IDENTIFY, Identify(name="a b", language="ru"))
    assert isinstance(refused, Error)
    assert any("а" <= letter <= "я" for letter in refused.text)
    assert refused.code == "name-invalid"


# --- the order of steps -------------------------------------------------------------------------------------


def test_a_proof_without_a_challenge_ends_the_connection(client: RawClient) -> None:
    assert code(client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"c=biws"))) == "frame-unexpected"
    client.closed()


def test_a_proof_counts_once(server: Serving) -> None:
    with server.client() as client:
        client.hello()
        register(client, "replayed")
        exchange = ClientExchange("SCRAM-SHA-256", "replayed", Password(PASSWORD), None, NONCE)
        challenge = client.request(
            Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=exchange.first())
        )
        assert isinstance(challenge, Challenge)
        proof = exchange.answer(challenge.data)
        assert isinstance(client.request(Kind.CHALLENGE, ChallengeAnswer(data=proof)), Welcome)
        client.leave()
    with server.client() as client:
        client.hello()
        begin(client, "replayed")  # the same first message, to which the server gives a nonce of its own
        assert code(client.request(Kind.CHALLENGE, ChallengeAnswer(data=proof))) == "sign-in-refused"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.IDENTIFY, Identify(name="ann")),
        (Kind.REGISTER, BODIES[Side.CLIENT, Kind.REGISTER]),
        (Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=x")),
        (Kind.RESUME, Resume()),
    ],
)
def test_the_steps_of_the_entry_may_not_come_inside_a_session(tmp_path: Path, kind: Kind, body: Body) -> None:
    token = seed(tmp_path / "data")[0]
    with serving(tmp_path / "data", plain=True) as server, server.session(token) as client:
        assert code(client.request(kind, body)) == "frame-unexpected"
        client.closed()


def test_a_client_of_another_version_is_told_which_are_spoken(client: RawClient) -> None:
    body = client.request(Kind.IDENTIFY, Identify(name="ann", version=2))
    assert isinstance(body, Error)
    assert body.code == "version-unsupported"
    assert "1" in body.hint
    client.closed()
