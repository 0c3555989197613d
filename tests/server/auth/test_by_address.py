"""Sign-in without a password: known by the address (`identify`), or asked for nothing (`anyone`)."""

from itertools import count
from typing import Any

import pytest

from antiphon.server.auth.by_address import NAMES_MOST
from antiphon.server.session import manager as sessions
from antiphon.wire.bodies import (
    Authenticate,
    Body,
    ChallengeAnswer,
    Error,
    Identified,
    Register,
    Welcome,
)
from antiphon.wire.kinds import ENTRY_LIMIT, Kind
from support.auth import HOME, NOON, AuthServer, Place, code
from support.serving import credential

ACCESSES = [("identify", "ann"), ("anyone", None)]
"""Both, with the name that one gives there."""
_hosts = count(2)


@pytest.fixture
async def server(place: Place) -> AuthServer:
    """Give a server that asks for a name."""
    return await place.server(access="identify")


@pytest.fixture
async def anyone(place: Place) -> AuthServer:
    return await place.server(access="anyone")


@pytest.fixture
def host() -> str:
    return f"127.0.0.{next(_hosts)}"


async def identify(server: AuthServer, host: str, name: str | None = None, **fields: object) -> Body:
    """Return what answers one IDENTIFY on a connection of its own."""
    return await server.client(host).identify(name, **fields)


async def enter(server: AuthServer, host: str, name: str | None = None, **fields: object) -> Welcome:
    welcome = await identify(server, host, name, **fields)
    assert isinstance(welcome, Welcome), welcome
    return welcome


async def known(server: AuthServer, host: str) -> list[str]:
    answer = await identify(server, host)
    assert isinstance(answer, Identified), answer
    assert (answer.name, answer.free) == (None, None)
    assert answer.known is not None
    return answer.known


async def resumed(server: AuthServer, token: bytes | None) -> str:
    return code(await server.client().resume(token or b""))


# --- what HELLO says ----------------------------------------------------------------------------------------


async def test_hello_says_how_one_gets_in(server: AuthServer, anyone: AuthServer) -> None:
    hellos = [running.client().conversation.hello for running in (server, anyone)]
    told = [(hello.access, hello.mechanisms, hello.registration) for hello in hellos if hello]
    assert told == [("identify", [], True), ("anyone", [], False)]


# --- by name ------------------------------------------------------------------------------------------------


async def test_an_unknown_address_gives_a_name_is_admitted_and_known_from_then_on(
    server: AuthServer, host: str
) -> None:
    assert await known(server, host) == []
    welcome = await enter(server, host, "Вадим", language="ru")
    assert (welcome.name, welcome.first, welcome.last_visit, welcome.data) == ("Вадим", True, None, None)
    assert welcome.greeting == "Добро пожаловать, Вадим! Вы здесь впервые."
    assert await known(server, host) == ["Вадим"]
    (record,) = server.log.of("signed-in")
    assert record.fields == {"name": "Вадим", "address": f"{host}:1024", "first": True}


async def test_a_known_one_is_greeted_by_name_with_the_last_visit(server: AuthServer, host: str) -> None:
    await enter(server, host, "Ann")
    server.clock.advance(60)
    again = await enter(server, host, "aNN")
    assert (again.name, again.first, again.last_address, again.refusals) == ("Ann", False, host, 0)
    assert again.last_visit == NOON.isoformat()
    assert again.greeting.startswith("Welcome back, Ann! Your last visit was on ")
    assert await known(server, host) == ["Ann"]


async def test_several_names_at_one_address_are_told_the_last_first_and_at_no_other(
    server: AuthServer, host: str
) -> None:
    for name in ("ann", "bob", "carl", "ann"):
        server.clock.advance(1)
        await enter(server, host, name)
    assert await known(server, host) == ["ann", "carl", "bob"]
    assert await known(server, f"127.0.1.{next(_hosts)}") == []


async def test_who_is_known_is_known_after_a_restart(place: Place, host: str) -> None:
    for first in (True, False):
        server = await place.server(access="identify")
        assert (await enter(server, host, "ann")).first is first
        await server.store.close()


@pytest.mark.parametrize("name", ["", "a b", "a\x1b[31mb", "\u202eann", "аnn", "a" * 65, "a" * 3000])
async def test_a_name_that_nobody_can_have_is_refused_and_not_kept(
    server: AuthServer, host: str, name: str
) -> None:
    assert code(await identify(server, host, name)) == "name-invalid"
    assert code(await identify(server, host, "ann", instead_of=name)) == "name-invalid"
    assert await known(server, host) == []


async def test_an_address_keeps_so_many_names_and_the_longest_fit_into_one_answer(
    server: AuthServer, host: str
) -> None:
    names = [chr(0x10330 + number) * 64 for number in range(NAMES_MOST + 1)]  # four bytes each, in UTF-8
    for name in names:
        server.clock.advance(1)
        await enter(server, host, name)
    assert await known(server, host) == names[:0:-1]
    assert sum(len(name.encode()) for name in names[1:]) >= ENTRY_LIMIT


# --- a name that was wrong ----------------------------------------------------------------------------------


async def test_a_wrong_name_is_replaced_and_its_visits_are_kept(server: AuthServer, host: str) -> None:
    await enter(server, host, "amn")
    right = await enter(server, host, "ann", instead_of="AMN")
    assert (right.name, right.first) == ("ann", False)
    assert await known(server, host) == ["ann"]
    (record,) = server.log.of("renamed")
    assert record.fields == {"name": "ann", "was": "amn", "address": f"{host}:1024"}


async def test_a_wrong_name_can_be_that_of_somebody_else_here(server: AuthServer, host: str) -> None:
    for name in ("ann", "bob"):
        await enter(server, host, name)
    await enter(server, host, "ann", instead_of="bob")
    assert await known(server, host) == ["ann"]


async def test_only_the_spelling_can_be_wrong(server: AuthServer, host: str) -> None:
    await enter(server, host, "ann")
    assert (await enter(server, host, "Ann", instead_of="ann")).name == "Ann"
    assert await known(server, host) == ["Ann"]


async def test_a_wrong_name_that_is_not_known_changes_nothing(server: AuthServer, host: str) -> None:
    assert (await enter(server, host, "ann", instead_of="nobody")).first
    assert await known(server, host) == ["ann"]


# --- access `anyone` ----------------------------------------------------------------------------------------


async def test_anyone_is_admitted_at_once_has_a_session_and_no_name(anyone: AuthServer) -> None:
    client = anyone.client()
    welcome = await client.identify()
    assert isinstance(welcome, Welcome)
    told = (welcome.name, welcome.first, welcome.last_visit, welcome.greeting)
    assert told == ("", False, None, "Welcome!")
    await client.leave()
    assert await resumed(anyone, welcome.token) == "session-ended"
    (record,) = anyone.log.of("signed-in")
    assert record.fields == {"name": None, "address": client.peer.address, "first": None}


# --- what an access does not have ---------------------------------------------------------------------------


@pytest.mark.parametrize("access", ["identify", "anyone"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.REGISTER, Register(name="ann", credential=credential())),
        (Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=x")),
    ],
)
async def test_a_password_is_refused_where_none_is_asked_for(
    place: Place, access: str, kind: Kind, body: Body
) -> None:
    client = (await place.server(access=access)).client()
    refused = await client.request(kind, body)
    assert isinstance(refused, Error)
    assert refused.code == "access-unsupported"
    assert refused.text == f"{kind.name} cannot be used to sign in here: the access is “{access}”."
    assert client.closed


@pytest.mark.parametrize("access", ["identify", "anyone"])
async def test_a_proof_ends_the_connection_where_no_password_is_asked_for(place: Place, access: str) -> None:
    client = (await place.server(access=access)).client()
    assert code(await client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"c=biws"))) == "frame-unexpected"
    assert client.closed


async def test_a_form_of_identify_that_the_access_does_not_have_ends_the_connection(
    server: AuthServer, anyone: AuthServer, place: Place, host: str
) -> None:
    authenticate = await place.server()
    assert code(await identify(authenticate, host)) == "access-unsupported"
    assert code(await identify(authenticate, host, "ann", instead_of="bob")) == "access-unsupported"
    assert code(await identify(anyone, host, "ann")) == "access-unsupported"
    client = server.client(host)
    assert code(await client.identify(instead_of="ann")) == "body-invalid"
    assert client.closed


async def test_a_refusal_is_in_the_language_that_the_request_names(server: AuthServer) -> None:
    asked = Register(name="ann", credential=credential(), language="ru")
    refused = await server.client().request(Kind.REGISTER, asked)
    assert isinstance(refused, Error)
    assert any("а" <= letter <= "я" for letter in refused.text)


@pytest.mark.parametrize(("access", "name"), ACCESSES)
async def test_a_password_cannot_be_changed_where_there_is_none(
    place: Place, access: str, name: str | None
) -> None:
    client = (await place.server(access=access)).client()
    await client.identify(name)
    refused = await client.change(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=abcdefghijklmnopqrst")
    assert code(refused) == ("session-ended" if name else "name-invalid")


# --- new names ----------------------------------------------------------------------------------------------


async def test_new_names_are_counted_as_registrations_and_those_who_are_known_go_on(
    place: Place, host: str
) -> None:
    server = await place.server(access="identify", registrations_source=2)
    for name in ("ann", "bob"):
        await enter(server, host, name)
    refused = await identify(server, host, "carl")
    assert isinstance(refused, Error)
    assert refused.code == "try-later"
    assert 3000 < refused.wait <= 3600
    assert code(await identify(server, host, "carl", instead_of="ann")) == "try-later"
    assert (await enter(server, host, "ann", instead_of="bob")).name == "ann"
    assert await known(server, host) == ["ann"]
    assert (await enter(server, f"127.0.1.{next(_hosts)}", "carl")).first
    assert [(each.fields["name"], each.fields["code"]) for each in server.log.of("refused")] == [
        ("carl", "try-later")
    ] * 2


async def test_where_registration_is_closed_only_those_who_are_known_come_in(place: Place, host: str) -> None:
    await enter(await place.server(access="identify"), host, "ann")
    server = await place.server(access="identify", registration="closed")
    hello = server.client().conversation.hello
    assert hello
    assert not hello.registration
    assert not (await enter(server, host, "ann")).first
    assert code(await identify(server, host, "bob")) == "registration-closed"
    assert code(await identify(server, host, "bob", instead_of="ann")) == "registration-closed"
    assert await known(server, host) == ["ann"]


# --- their sessions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("access", "name"), ACCESSES)
async def test_each_welcome_has_a_token_of_its_own(place: Place, access: str, name: str | None) -> None:
    server = await place.server(access=access)
    assert len({(await enter(server, HOME, name)).token for _ in range(2)}) == 2


@pytest.mark.parametrize(("access", "name"), ACCESSES)
async def test_a_session_is_resumed_until_it_is_left(place: Place, access: str, name: str | None) -> None:
    server = await place.server(access=access)
    client = server.client()
    welcome = await client.identify(name)
    assert isinstance(welcome, Welcome)
    await client.break_off()
    again = server.client()
    back = await again.resume(welcome.token or b"")
    assert isinstance(back, Welcome)
    assert back.name == (name or "")
    await again.leave()
    assert await resumed(server, welcome.token) == "session-ended"


async def test_a_session_is_not_resumed_where_more_is_asked_than_it_was_opened_with(place: Place) -> None:
    servers = {access: await place.server(access=access) for access in ("authenticate", "identify", "anyone")}
    await servers["authenticate"].seed("ann")
    clients = {
        "authenticate": await servers["authenticate"].session("ann"),
        "identify": servers["identify"].client(),
        "anyone": servers["anyone"].client(),
    }
    await clients["identify"].identify("ann")
    await clients["anyone"].identify()
    for client in clients.values():
        await client.break_off()
    ended = []
    for access, server in servers.items():
        for how, client in clients.items():
            if await resumed(server, client.token) == "session-ended":
                ended.append((how, access))
    assert ended == [("identify", "authenticate"), ("anyone", "authenticate"), ("anyone", "identify")]


async def test_the_sessions_of_one_address_are_limited_and_others_do_not_count(
    server: AuthServer, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "CLIENT_SESSIONS_MOST", 3)
    elsewhere = (await enter(server, HOME, "ann")).token
    tokens = []
    for name in ("ann", "bob", "carl", "ann"):
        server.clock.advance(1)
        tokens.append((await enter(server, host, name)).token)
    assert [await resumed(server, token) for token in tokens] == ["session-ended"] + ["Welcome"] * 3
    assert await resumed(server, elsewhere) == "Welcome"


async def test_a_session_has_the_number_of_no_account(server: AuthServer, anyone: AuthServer, host: str) -> None:
    await enter(server, host, "ann")
    await enter(anyone, host)
    records = await server.store.sessions.all()
    assert len(records) == 2
    assert all(-(2**31) <= record.account_id < 0 and record.epoch == 0 for record in records)


# --- the store ----------------------------------------------------------------------------------------------


async def test_a_store_that_is_away_admits_nobody(server: AuthServer, host: str) -> None:
    await enter(server, host, "ann")
    clients: Any = server.store.clients
    await clients._database.close()
    assert code(await identify(server, host, "ann")) == "try-later"
    assert code(await identify(server, host)) == "try-later"
    assert await server.store.sessions.all() != []
