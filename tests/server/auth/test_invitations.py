"""Invitations: who registers with one, how the others are told, and how often one may try."""

import asyncio
import secrets

import msgspec
import pytest

from antiphon.wire.bodies import INVITATIONS, Body, Error, Identified, Welcome
from support.auth import ATTACKER, AuthClient, AuthServer, Place, code
from support.serving import credential


async def closed(place: Place, wrong: int = 100) -> AuthServer:
    """Return a server where registration is closed and no name at all may register without an invitation.

    So many wrong invitations pass from one source.
    """
    return await place.server(
        registration="closed", registrations_source=1, registrations_most=1, wrong_invitations=wrong
    )


@pytest.fixture
async def server(place: Place) -> AuthServer:
    server = await closed(place)
    await server.seed("known")
    return server


@pytest.fixture
def client(server: AuthServer) -> AuthClient:
    return server.client()


async def register(client: AuthClient, name: str, secret: bytes | None) -> Body:
    return await client.register(name, secret)


async def ask(client: AuthClient, name: str, secret: bytes | None) -> Body:
    return await client.identify(name, invitation=secret)


async def test_the_server_says_that_it_takes_invitations(client: AuthClient) -> None:
    hello = client.conversation.hello
    assert hello
    assert INVITATIONS in hello.features
    assert not hello.registration


async def test_the_invited_register_and_sign_in_where_nobody_else_can_and_no_limit_counts_them(
    server: AuthServer,
) -> None:
    for name, secret in zip(names := ("Ann", "Вадим", "zoe"), await server.invite(*names), strict=True):
        client = server.client()
        assert code(await register(client, name, None)) == "registration-closed"
        assert await ask(client, name, secret) == Identified(name=name, free=True)
        assert await register(client, name, secret) == Identified(name=name, free=False)
        welcome = await client.authenticate(name)
        assert isinstance(welcome, Welcome)
        assert welcome.first


async def test_an_invitation_works_where_registration_is_open_too(place: Place) -> None:
    server = await place.server()
    (secret,) = await server.invite("ann")
    client = server.client()
    assert await register(client, "ann", secret) == Identified(name="ann", free=False)
    assert code(await ask(client, "ann", secret)) == "invitation-used"


async def test_a_name_in_another_spelling_is_the_invited_one(server: AuthServer, client: AuthClient) -> None:
    (secret,) = await server.invite("Spelt")
    assert await register(client, "sPELT", secret) == Identified(name="sPELT", free=False)


async def test_an_invitation_works_once(server: AuthServer) -> None:
    (secret,) = await server.invite("once")
    for step, told in ((register, None), (register, "invitation-used"), (ask, "invitation-used")):
        body = await step(server.client(), "once", secret)
        assert body == Identified(name="once", free=False) if told is None else code(body) == told


async def test_of_twenty_connections_at_once_one_registers(place: Place) -> None:
    servers = [await closed(place) for _ in range(2)]
    (secret,) = await servers[0].invite("crowd")
    clients = [server.client() for server in servers for _ in range(10)]
    told = await asyncio.gather(*(register(client, "crowd", secret) for client in clients))
    assert told.count(Identified(name="crowd", free=False)) == 1
    assert list(map(code, told)).count("invitation-used") == 19


@pytest.mark.parametrize("step", [ask, register])
async def test_what_lets_nobody_in_is_told_apart_and_leaves_the_name_free(
    server: AuthServer, step: object
) -> None:
    (expired,) = await server.invite("late", days=-1)
    (other,) = await server.invite("zenobia")
    wrong = [
        ("late", expired, "invitation-expired"),
        ("someone", other, "invitation-for-another"),
        ("someone", secrets.token_bytes(16), "invitation-refused"),
    ]
    for name, secret, told in wrong:
        client = server.client()
        body = await step(client, name, secret)  # type: ignore[operator] # one of two functions
        assert code(body) == told
        assert "zenobia" not in body.text, "whom it is for is not told"
        (right,) = await server.invite(name)
        assert await ask(client, name, right) == Identified(name=name, free=True)
    assert await ask(server.client(), "zenobia", other) == Identified(name="zenobia", free=True), "not used up"


async def test_who_has_an_account_already_is_told_and_keeps_the_invitation(
    server: AuthServer, client: AuthClient
) -> None:
    (secret,) = await server.invite("known")
    assert await ask(client, "KNOWN", secret) == Identified(name="KNOWN", free=False)
    assert code(await register(client, "known", secret)) == "name-taken"
    assert await ask(client, "known", secret) == Identified(name="known", free=False)


async def test_without_an_invitation_nobody_learns_who_is_known(client: AuthClient) -> None:
    for name in ("known", "unknown"):
        assert await ask(client, name, None) == Identified(name=name, free=None)


async def test_a_credential_that_is_refused_uses_nothing_up(server: AuthServer, client: AuthClient) -> None:
    (secret,) = await server.invite("weak")
    weak = msgspec.structs.replace(credential(), iterations=4096)
    assert code(await client.register("weak", secret, credential=weak)) == "credential-refused"
    assert await register(client, "weak", secret) == Identified(name="weak", free=False)


@pytest.mark.parametrize("size", [0, 15, 17])
async def test_a_secret_of_another_size_ends_the_connection(client: AuthClient, size: int) -> None:
    assert code(await register(client, "size", bytes(size))) == "body-invalid"
    assert client.closed


# --- guessing -----------------------------------------------------------------------------------------------


async def test_the_third_wrong_invitation_ends_the_connection(client: AuthClient) -> None:
    assert code(await ask(client, "guess", secrets.token_bytes(16))) == "invitation-refused"
    assert code(await register(client, "guess", secrets.token_bytes(16))) == "invitation-refused"
    assert code(await ask(client, "guess", secrets.token_bytes(16))) == "too-many-refusals"
    assert client.closed


async def test_a_source_that_guesses_is_not_looked_at_for_the_rest_of_the_hour(place: Place) -> None:
    server = await closed(place, wrong=2)
    (secret,) = await server.invite("patient")
    for told in ("invitation-refused", "invitation-refused", "try-later"):
        body = await ask(server.client(ATTACKER), "patient", secrets.token_bytes(16))
        assert code(body) == told
    assert isinstance(body, Error)
    assert 0 < body.wait <= 3600
    for step in (ask, register):
        assert code(await step(server.client(ATTACKER), "patient", secret)) == "try-later", "right or wrong"
    assert await register(server.client(), "patient", secret) == Identified(name="patient", free=False)


async def test_right_invitations_do_not_count_as_guesses(place: Place) -> None:
    server = await closed(place, wrong=1)
    names = [f"pupil{number}" for number in range(5)]
    for name, secret in zip(names, await server.invite(*names), strict=True):
        client = server.client()
        assert await ask(client, name, secret) == Identified(name=name, free=True)
        assert await register(client, name, secret) == Identified(name=name, free=False)


async def test_an_invitation_that_is_known_is_no_guess_even_if_it_lets_nobody_in(place: Place) -> None:
    server = await closed(place, wrong=1)
    (used,), (late,) = await server.invite("again"), await server.invite("too-late", days=-1)
    assert await register(server.client(), "again", used) == Identified(name="again", free=False)
    for name, secret, told in 2 * [
        ("again", used, "used"),
        ("too-late", late, "expired"),
        ("x", late, "for-another"),
    ]:
        assert code(await ask(server.client(), name, secret)) == f"invitation-{told}"


async def test_guesses_that_come_at_once_are_each_counted(place: Place) -> None:
    server = await closed(place, wrong=5)
    told = await asyncio.gather(
        *(ask(server.client(ATTACKER), "crowd2", secrets.token_bytes(16)) for _ in range(20))
    )
    assert sorted(map(code, told)) == ["invitation-refused"] * 5 + ["try-later"] * 15


# --- the log and the store ----------------------------------------------------------------------------------


async def test_the_log_tells_who_came_with_an_invitation_and_no_secret_is_kept(
    server: AuthServer, client: AuthClient, place: Place
) -> None:
    (secret,) = await server.invite("ann")
    wrong = secrets.token_bytes(16)
    assert code(await ask(client, "ann", wrong)) == "invitation-refused"
    assert await register(client, "ann", secret) == Identified(name="ann", free=False)
    address = client.peer.address
    assert [(each.level, each.event, each.fields) for each in server.log.records] == [
        ("warning", "refused", {"name": "ann", "address": address, "code": "invitation-refused", "why": None}),
        ("info", "registered", {"name": "ann", "address": address, "invitation": True}),
    ]
    await server.store.close()
    kept = b"".join(path.read_bytes() for path in place.path.iterdir())
    for each in (secret, wrong):
        assert each not in kept
        assert each.hex().encode() not in kept
