"""The way in without a password: known by the address (`identify`), or asked for nothing (`anyone`)."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import AnyoneRefused, ExposureRefused
from antiphon.server import sessions
from antiphon.server.identify import NAMES_MOST
from antiphon.server.server import Server
from antiphon.settings import ServerSettings
from antiphon.store.contracts import SessionRecord
from antiphon.store.sql import open_sqlite
from antiphon.wire.bodies import (
    Authenticate,
    Body,
    Error,
    Hello,
    Identified,
    Identify,
    Register,
    ServerBye,
    Welcome,
)
from antiphon.wire.kinds import ENTRY_LIMIT, Kind
from support.serving import Serving, credential, seed, serving

SOON = 1.0
"""Seconds within which an end must arrive (promise 17)."""
_hosts = count(2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Give a server that asks for a name; each test has an address of its own there."""
    with serving(tmp_path_factory.mktemp("identify") / "data", plain=True, access="identify") as running:
        yield running


@pytest.fixture(scope="module")
def anyone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("anyone") / "data", plain=True, access="anyone") as running:
        yield running


@pytest.fixture
def host() -> str:
    return f"127.0.0.{next(_hosts)}"


def identify(server: Serving, host: str, name: str | None = None, **fields: Any) -> Body:
    """Return what answers one IDENTIFY on a connection of its own, which is dropped behind it."""
    with server.client(host) as client:
        client.hello()
        return client.request(Kind.IDENTIFY, Identify(name=name, **fields))


def enter(server: Serving, host: str, name: str | None = None, **fields: Any) -> Welcome:
    welcome = identify(server, host, name, **fields)
    assert isinstance(welcome, Welcome), welcome
    return welcome


def known(server: Serving, host: str) -> list[str]:
    answer = identify(server, host)
    assert isinstance(answer, Identified), answer
    assert (answer.name, answer.free) == (None, None)
    assert answer.known is not None
    return answer.known


def code(body: Body) -> str:
    assert isinstance(body, Error), body
    return body.code


def resumed(server: Serving, token: bytes | None) -> str:
    with server.client() as client:
        client.hello()
        body = client.resume(token or b"")
        return body.code if isinstance(body, Error) else "welcome"


def all_sessions(server: Serving) -> list[SessionRecord]:
    async def work() -> list[SessionRecord]:
        return await server.server._context.sessions._store.all()

    return server.call(work())


# --- what HELLO says ----------------------------------------------------------------------------------------


def hello(server: Serving) -> Hello:
    with server.client() as client:
        return client.hello()


def test_hello_says_how_one_gets_in(server: Serving, anyone: Serving) -> None:
    told = [(said.access, said.mechanisms, said.registration) for said in (hello(server), hello(anyone))]
    assert told == [("identify", [], True), ("anyone", [], False)]


@pytest.mark.parametrize(
    ("host", "registration", "takes"),
    [("127.0.0.1", None, True), ("*", None, True), ("*", "open", True), ("127.0.0.1", "closed", False)],
)
async def test_to_identify_takes_new_names_everywhere_unless_told(
    tmp_path: Path, host: str, registration: Any, takes: bool
) -> None:
    settings = ServerSettings(data=tmp_path, port=0, host=host, access="identify", registration=registration)
    async with Server(settings=settings) as server:
        assert server.registration is takes


async def test_anyone_is_refused_beyond_this_machine_unless_told(tmp_path: Path) -> None:
    settings = ServerSettings(data=tmp_path, port=0, host="*", access="anyone", registration="open")
    with pytest.raises(AnyoneRefused, match="--anyone-anywhere") as caught:
        await Server(settings=settings).__aenter__()
    assert isinstance(caught.value, ExposureRefused)
    told = ServerSettings(data=tmp_path, port=0, host="*", access="anyone", anyone_anywhere=True)
    async with Server(settings=told) as server:
        assert not server.registration


# --- by name ------------------------------------------------------------------------------------------------


def test_an_unknown_address_gives_a_name_is_let_in_and_known_from_then_on(server: Serving, host: str) -> None:
    assert known(server, host) == []
    with server.client(host) as client:
        client.hello()
        welcome = client.request(Kind.IDENTIFY, Identify(name="Вадим", language="ru"))
        assert isinstance(welcome, Welcome)
        assert (welcome.name, welcome.first, welcome.last_visit, welcome.data) == ("Вадим", True, None, None)
        assert welcome.greeting == "Добро пожаловать, Вадим! Вы здесь впервые."
        assert client.ask("hello") == "hello"
        client.leave()
    assert known(server, host) == ["Вадим"]


def test_a_known_one_is_greeted_by_name_with_the_last_visit(server: Serving, host: str) -> None:
    before = datetime.now(UTC)
    enter(server, host, "Ann")
    again = enter(server, host, "aNN")
    assert (again.name, again.first, again.last_address, again.refusals) == ("Ann", False, host, 0)
    assert before <= datetime.fromisoformat(again.last_visit or "") <= datetime.now(UTC)
    assert again.greeting.startswith("Welcome back, Ann! Your last visit was on ")
    assert known(server, host) == ["Ann"]


def test_several_names_at_one_address_are_told_the_last_first_and_at_no_other(server: Serving, host: str) -> None:
    for name in ("ann", "bob", "carl", "ann"):
        enter(server, host, name)
    assert known(server, host) == ["ann", "carl", "bob"]
    assert known(server, f"127.0.1.{next(_hosts)}") == []


def test_who_is_known_is_known_after_a_restart(tmp_path: Path, host: str) -> None:
    for first in (True, False):
        with serving(tmp_path / "data", plain=True, access="identify") as server:
            assert enter(server, host, "ann").first is first


@pytest.mark.parametrize("name", ["", "a b", "a\x1b[31mb", "\u202eann", "аnn", "a" * 65, "a" * 3000])
def test_a_name_that_nobody_can_have_is_refused_and_not_kept(server: Serving, host: str, name: str) -> None:
    assert code(identify(server, host, name)) == "name-invalid"
    assert code(identify(server, host, "ann", instead_of=name)) == "name-invalid"
    assert known(server, host) == []


def test_an_address_keeps_so_many_names_and_the_longest_fit_into_one_answer(server: Serving, host: str) -> None:
    names = [chr(0x10330 + number) * 64 for number in range(NAMES_MOST + 1)]  # four bytes each, in UTF-8
    for name in names:
        enter(server, host, name)
    assert known(server, host) == names[:0:-1]
    assert sum(len(name.encode()) for name in names[1:]) >= ENTRY_LIMIT


# --- a name that was wrong ----------------------------------------------------------------------------------


def test_a_wrong_name_is_replaced_and_its_visits_are_kept(server: Serving, host: str) -> None:
    enter(server, host, "amn")
    right = enter(server, host, "ann", instead_of="AMN")
    assert (right.name, right.first) == ("ann", False)
    assert known(server, host) == ["ann"]
    (line,) = [line for line in server.records("renamed") if f"address={host}:" in line]
    assert ' name="ann" was="amn" ' in line


def test_a_wrong_name_can_be_that_of_somebody_else_here(server: Serving, host: str) -> None:
    for name in ("ann", "bob"):
        enter(server, host, name)
    enter(server, host, "ann", instead_of="bob")
    assert known(server, host) == ["ann"]


def test_only_the_spelling_can_be_wrong(server: Serving, host: str) -> None:
    enter(server, host, "ann")
    assert enter(server, host, "Ann", instead_of="ann").name == "Ann"
    assert known(server, host) == ["Ann"]


def test_a_wrong_name_that_is_not_known_changes_nothing(server: Serving, host: str) -> None:
    assert enter(server, host, "ann", instead_of="nobody").first
    assert known(server, host) == ["ann"]


# --- whom nobody asks ---------------------------------------------------------------------------------------


def test_anyone_is_let_in_at_once_has_a_session_and_no_name(anyone: Serving) -> None:
    with anyone.client() as client:
        client.hello()
        welcome = client.request(Kind.IDENTIFY, Identify())
        assert isinstance(welcome, Welcome)
        assert (welcome.name, welcome.first, welcome.last_visit, welcome.greeting) == (
            "",
            False,
            None,
            "Welcome!",
        )
        assert client.ask("hello") == "hello"
        client.leave()
    assert resumed(anyone, welcome.token) == "session-ended"
    assert all("name" not in line for event in ("signed-in", "session-ended") for line in anyone.records(event))


# --- what an access does not have ---------------------------------------------------------------------------


@pytest.mark.parametrize("access", ["identify", "anyone"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.REGISTER, Register(name="ann", credential=credential())),
        (Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=x")),
    ],
)
def test_a_password_is_refused_where_none_is_asked_for(
    server: Serving, anyone: Serving, access: str, kind: Kind, body: Body
) -> None:
    with {"identify": server, "anyone": anyone}[access].client() as client:
        client.hello()
        refused = client.request(kind, body)
        assert code(refused) == "access-unsupported"
        assert isinstance(refused, Error)
        assert refused.text == f"{kind.name} cannot be used to sign in here: the access is “{access}”."
        client.closed()


def test_a_form_of_identify_that_the_access_does_not_have_ends_the_connection(
    server: Serving, anyone: Serving, tmp_path: Path, host: str
) -> None:
    with serving(tmp_path / "data", plain=True) as authenticate:
        assert code(identify(authenticate, host)) == "access-unsupported"
        assert code(identify(authenticate, host, "ann", instead_of="bob")) == "access-unsupported"
    assert code(identify(anyone, host, "ann")) == "access-unsupported"
    assert code(identify(server, host, instead_of="ann")) == "body-invalid"


def test_a_message_before_the_name_ends_the_connection(server: Serving) -> None:
    with server.client() as client:
        client.hello()
        client.message_with(bytes(16), "hello")
        assert client.ended_with() == "frame-unexpected"


# --- new names ----------------------------------------------------------------------------------------------


def test_new_names_are_counted_as_registrations_and_those_who_are_known_go_on(tmp_path: Path, host: str) -> None:
    with serving(tmp_path / "data", plain=True, access="identify", registrations_source=2) as server:
        for name in ("ann", "bob"):
            enter(server, host, name)
        refused = identify(server, host, "carl")
        assert code(refused) == "try-later"
        assert isinstance(refused, Error)
        assert 3000 < refused.wait <= 3600
        assert code(identify(server, host, "carl", instead_of="ann")) == "try-later"
        assert enter(server, host, "ann", instead_of="bob").name == "ann"
        assert known(server, host) == ["ann"]
        assert enter(server, f"127.0.1.{next(_hosts)}", "carl").first
        assert len(server.records("refused")) == 2


def test_where_registration_is_closed_only_those_who_are_known_come_in(tmp_path: Path, host: str) -> None:
    folder = tmp_path / "data"
    with serving(folder, plain=True, access="identify") as server:
        enter(server, host, "ann")
    with serving(folder, plain=True, access="identify", registration="closed") as server:
        assert not hello(server).registration
        assert not enter(server, host, "ann").first
        assert code(identify(server, host, "bob")) == "registration-closed"
        assert code(identify(server, host, "bob", instead_of="ann")) == "registration-closed"
        assert known(server, host) == ["ann"]


# --- their sessions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("access", ["identify", "anyone"])
def test_every_message_needs_the_token_of_the_welcome(server: Serving, anyone: Serving, access: str) -> None:
    running, name = {"identify": (server, "ann"), "anyone": (anyone, None)}[access]
    tokens = {enter(running, "", name).token for _ in range(2)}
    assert len(tokens) == 2
    with running.client() as client:
        client.hello()
        client.request(Kind.IDENTIFY, Identify(name=name))
        client.message_with(tokens.pop() or b"", "hello")
        assert client.error().code == "token-refused"


@pytest.mark.parametrize("access", ["identify", "anyone"])
def test_a_session_is_taken_up_again_until_it_is_left(server: Serving, anyone: Serving, access: str) -> None:
    running, name = {"identify": (server, "ann"), "anyone": (anyone, None)}[access]
    token = enter(running, "127.0.0.1", name).token
    assert token is not None
    with running.session(token) as client:
        assert client.ask("still here") == "still here"
        client.leave()
    assert resumed(running, token) == "session-ended"


def test_a_session_is_not_taken_up_where_more_is_asked_than_it_was_opened_with(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    tokens = {"authenticate": seed(folder)[0]}
    for access, name in (("identify", "ann"), ("anyone", None)):
        with serving(folder, plain=True, access=access) as server:
            tokens[access] = enter(server, "", name).token or b""
    ended = []
    for access in ("authenticate", "identify", "anyone"):
        with serving(folder, plain=True, access=access) as server:
            ended += [(how, access) for how, token in tokens.items() if resumed(server, token) == "session-ended"]
    assert ended == [("identify", "authenticate"), ("anyone", "authenticate"), ("anyone", "identify")]


def test_the_sessions_of_one_address_are_limited_and_others_do_not_count(
    tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "CLIENT_SESSIONS_MOST", 3)
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True, access="identify") as server:
        elsewhere = enter(server, "127.0.0.1", "ann").token
        tokens = [enter(server, host, name).token for name in ("ann", "bob", "carl", "ann")]
        assert [resumed(server, token) for token in tokens] == ["session-ended"] + ["welcome"] * 3
        assert resumed(server, elsewhere) == "welcome"


def test_a_session_has_the_number_of_no_account(server: Serving, anyone: Serving, host: str) -> None:
    enter(server, host, "ann")
    enter(anyone, host)
    for running in (server, anyone):
        records = all_sessions(running)
        assert records
        assert all(-(2**31) <= record.account_id < 0 and record.epoch == 0 for record in records)


@pytest.mark.parametrize("access", ["identify", "anyone"])
def test_a_session_that_is_revoked_is_cut(server: Serving, anyone: Serving, host: str, access: str) -> None:
    running, name = {"identify": (server, "ann"), "anyone": (anyone, None)}[access]
    with running.client(host) as client:
        client.hello()
        client.request(Kind.IDENTIFY, Identify(name=name))
        (record,) = (record for record in all_sessions(running) if record.address.startswith(f"{host}:"))
        assert record.name == (name or "")

        async def revoke() -> None:
            store = await open_sqlite(running.server.data_path)
            assert await store.sessions.revoke(record.fingerprint, "revoked", datetime.now(UTC))
            await store.close()

        asyncio.run(revoke())
        client.sock.settimeout(SOON)
        assert client.body() == ServerBye(reason="revoked")
        client.closed()


# --- deadlines, caps and faults -----------------------------------------------------------------------------


@pytest.mark.parametrize("access", ["identify", "anyone"])
def test_one_who_is_let_in_is_admitted_and_one_who_says_nothing_is_cut(tmp_path: Path, access: Any) -> None:
    name = "ann" if access == "identify" else None
    options: dict[str, Any] = {"entry_seconds": 0.5, "first_frame_seconds": 0.5}
    with serving(tmp_path / "data", plain=True, access=access, **options) as server, server.client() as client:
        client.hello()
        client.request(Kind.IDENTIFY, Identify(name=name))
        assert server.read(lambda running: running._context.caps.count) == 0
        with server.client() as silent:
            silent.hello()
            assert silent.ended_with() == "sign-in-timed-out"
        assert client.ask("still here") == "still here"


def test_a_store_that_is_away_lets_nobody_in(tmp_path: Path, host: str) -> None:
    with serving(tmp_path / "data", plain=True, access="identify") as server:
        enter(server, host, "ann")
        server.call(server.server._context.clients.close())
        assert code(identify(server, host, "ann")) == "try-later"
        assert code(identify(server, host)) == "try-later"
