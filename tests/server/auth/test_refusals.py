"""Why a sign-in was refused: the log says it, for fail2ban too, and the peer learns nothing (promise 5)."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from antiphon.observe.log import render
from antiphon.wire.bodies import Authenticate, Body, Challenge, ChallengeAnswer, Error
from antiphon.wire.kinds import Kind
from support.auth import ATTACKER, BINDING, CHEAP, NONCE, NOON, AuthClient, AuthServer, code
from support.documents import read, table
from support.log_records import banned
from support.processes import PASSWORD

PLUS = "SCRAM-SHA-256-PLUS"
Attempt = Callable[[AuthServer], Awaitable[Body]]


def bound(server: AuthServer) -> AuthClient:
    """Connect a client over TLS."""
    return server.client(ATTACKER, BINDING)


async def seeded(server: AuthServer, *, disabled: bool = False) -> AuthClient:
    account = await server.seed("ann", expires_at=NOON + timedelta(hours=1))
    await server.store.accounts.set_disabled(account.id, disabled=disabled)
    return bound(server)


async def proved(client: AuthClient, name: str, password: str, binding: bytes = BINDING) -> Body:
    exchange = client.exchange(name, password, binding)
    challenge = await first(client, exchange.first())
    assert isinstance(challenge, Challenge), challenge
    return await client.request(Kind.CHALLENGE, ChallengeAnswer(data=exchange.answer(challenge.data)))


async def first(client: AuthClient, data: bytes, mechanism: str = PLUS) -> Body:
    return await client.request(Kind.AUTHENTICATE, Authenticate(mechanism=mechanism, data=data))


async def wrong_password(server: AuthServer) -> Body:
    return await proved(await seeded(server), "ann", "this is not the password")


async def no_account(server: AuthServer) -> Body:
    """Prove the password of a name that nobody has, to a challenge that costs as little as the others."""
    server.passwords.verifier = lambda *_: CHEAP  # type: ignore[method-assign]
    return await proved(bound(server), "nobody", "this is not the password")


async def disabled(server: AuthServer) -> Body:
    return await proved(await seeded(server, disabled=True), "ann", PASSWORD)


async def disabled_with_a_wrong_password(server: AuthServer) -> Body:
    return await proved(await seeded(server, disabled=True), "ann", "this is not the password")


async def expired(server: AuthServer) -> Body:
    client = await seeded(server)
    server.clock.advance(3600)
    return await proved(client, "ann", PASSWORD)


async def disabled_meanwhile(server: AuthServer) -> Body:
    client = await seeded(server)
    opening = server.store.sessions.open

    async def disabled_first(*arguments: object, **options: object) -> object:
        account = await server.store.accounts.find("ann")
        assert account
        await server.store.accounts.set_disabled(account.id, disabled=True)
        return await opening(*arguments, **options)  # type: ignore[arg-type] # whatever it was

    server.store.sessions.open = disabled_first  # type: ignore[method-assign,assignment]
    return await proved(client, "ann", PASSWORD)


async def a_relay(server: AuthServer) -> Body:
    return await proved(await seeded(server), "ann", PASSWORD, bytes(32))


async def a_relay_and_a_wrong_password(server: AuthServer) -> Body:
    return await proved(await seeded(server), "ann", "this is not the password", bytes(32))


async def another_type(server: AuthServer) -> Body:
    return await first(await seeded(server), f"p=tls-exporter,,n=ann,r={NONCE}".encode())


async def no_binding(server: AuthServer) -> Body:
    return await first(await seeded(server), f"n,,n=ann,r={NONCE}".encode())


async def not_offered(server: AuthServer) -> Body:
    return await first(await seeded(server), f"y,,n=ann,r={NONCE}".encode())


async def no_binding_in_the_proof(server: AuthServer) -> Body:
    client = await seeded(server)
    challenge = await first(client, f"p=tls-server-end-point,,n=ann,r={NONCE}".encode())
    assert isinstance(challenge, Challenge), challenge
    nonce = challenge.data.decode().partition(",")[0]
    proof = f"c=biws,{nonce},p={'A' * 43}=".encode()
    return await client.request(Kind.CHALLENGE, ChallengeAnswer(data=proof))


async def malformed(server: AuthServer) -> Body:
    return await first(await seeded(server), b"rubbish")


async def malformed_proof(server: AuthServer) -> Body:
    client = await seeded(server)
    assert isinstance(await first(client, client.exchange("ann", PASSWORD, BINDING).first()), Challenge)
    return await client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"rubbish"))


ATTEMPTS: list[tuple[Attempt, str]] = [
    (wrong_password, "wrong-password"),
    (no_account, "no-account"),
    (disabled, "disabled"),
    (disabled_with_a_wrong_password, "disabled"),
    (expired, "expired"),
    (disabled_meanwhile, "changed"),
    (a_relay, "channel-binding-wrong"),
    (a_relay_and_a_wrong_password, "channel-binding-wrong"),
    (another_type, "channel-binding-wrong"),
    (no_binding, "channel-binding-missing"),
    (not_offered, "channel-binding-missing"),
    (no_binding_in_the_proof, "channel-binding-missing"),
    (malformed, "malformed"),
    (malformed_proof, "malformed"),
]


def lines(server: AuthServer) -> list[str]:
    """Return the lines of the log for refusals, as the server writes them."""
    return [render(NOON, "warning", "refused", record.fields) for record in server.log.of("refused")]


@pytest.mark.parametrize(("attempt", "why"), ATTEMPTS, ids=lambda each: getattr(each, "__name__", None))
async def test_the_log_says_why_and_the_peer_learns_nothing(
    server: AuthServer, attempt: Attempt, why: str
) -> None:
    body = await attempt(server)
    assert body == Error(
        code="sign-in-refused",
        text="Name or password is wrong.",
        hint="Try again; if you have forgotten the password, ask the server's operator.",
    )
    (line,) = lines(server)
    assert line.endswith(f'address={ATTACKER}:1024 code="sign-in-refused" why="{why}"')
    assert banned(line) == {line: ATTACKER}


async def test_over_tls_the_mechanism_without_a_binding_is_logged_as_a_refusal_too(server: AuthServer) -> None:
    client = await seeded(server)
    body = await first(client, f"y,,n=ann,r={NONCE}".encode(), "SCRAM-SHA-256")
    assert code(body) == "mechanism-unsupported"
    assert client.closed
    (line,) = lines(server)
    assert line.endswith('code="mechanism-unsupported" why="channel-binding-missing"')
    assert banned(line) == {line: ATTACKER}


@pytest.mark.parametrize(("mechanism", "binding"), [("SCRAM-SHA-1", BINDING), (PLUS, None)])
async def test_any_other_mechanism_that_is_not_offered_is_no_refusal(
    server: AuthServer, mechanism: str, binding: bytes | None
) -> None:
    body = await first(server.client(ATTACKER, binding), f"n,,n=ann,r={NONCE}".encode(), mechanism)
    assert code(body) == "mechanism-unsupported"
    assert lines(server) == []


async def test_an_exchange_that_is_given_up_is_logged_as_such(server: AuthServer) -> None:
    client = server.client(ATTACKER)
    for _ in range(2):
        await client.begin("ann")
    (line,) = lines(server)
    assert line.endswith(' name="ann" address=127.0.0.2:1024 code="sign-in-refused" why="given-up"')
    assert banned(line) == {line: ATTACKER}


async def test_a_change_of_the_password_of_another_account_is_logged_as_such(server: AuthServer) -> None:
    await server.seed("ann")
    client = await server.session("ann", ATTACKER)
    refused = await client.change(mechanism="SCRAM-SHA-256", data=f"n,,n=bob,r={NONCE}".encode())
    assert code(refused) == "sign-in-refused"
    (line,) = lines(server)
    assert line.endswith('code="sign-in-refused" why="another-name"')
    assert banned(line) == {line: ATTACKER}


@pytest.mark.parametrize("attempt", [a_relay, no_binding_in_the_proof, wrong_password, disabled])
async def test_a_refusal_counts_under_the_name_whatever_its_reason(server: AuthServer, attempt: Attempt) -> None:
    await attempt(server)
    await server.settled()
    assert await server.refusals("ann") == 1
    for _ in range(4):
        await server.client(ATTACKER).guess("ann")
    assert (await server.client(ATTACKER).guess("ann")).code == "too-many-failures"


AT_THE_PAGE = {"no-administrator", "password-due"}
"""Reasons that only the status page has."""


def test_every_reason_is_documented() -> None:
    documented = {row[0] for row in table(read("docs/monitoring.md"), "why", "why it was refused")}
    assert documented == {why for _, why in ATTEMPTS} | {"given-up", "another-name", *AT_THE_PAGE}
