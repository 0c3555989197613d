"""`connect` of both clients at the door: trust, names, passwords, invitations, and every access."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from antiphon import blocking, connect
from antiphon.address import Address
from antiphon.blocking import SessionInfo
from antiphon.client.trust import KnownServers
from antiphon.errors import (
    AntiphonError,
    InputMissing,
    InvitationRefused,
    InvitationUsed,
    NameAmbiguous,
    OutcomeUnknown,
    PasswordDue,
    PasswordInvalid,
    PasswordNotAsked,
    RegistrationClosed,
    ServerKeyUnknown,
    SessionsFull,
    SettingInvalid,
    SignInRefused,
    TooManyFailures,
    TooManySessions,
    UsageError,
)
from antiphon.identity.passwords import Password
from antiphon.server.server import Server
from antiphon.server.session import manager
from antiphon.services import echo
from antiphon.testing import FaultProxy
from antiphon.wire.bodies import Authenticate, Identify
from support.fake_servers import Peer, faked
from support.imported_accounts import digest, seed_old
from support.inside import sessions
from support.invitations import invite
from support.processes import PASSWORD
from support.serving import seed
from support.sessions import server_here

Visit = Callable[..., Awaitable[SessionInfo]]


async def visit_waiting(address: Any, **options: Any) -> SessionInfo:
    async with connect(address, **options) as session:
        assert await session.ask("hello") == "hello"
        return session.info


async def visit_blocking(address: Any, **options: Any) -> SessionInfo:
    def work() -> SessionInfo:
        with blocking.connect(address, **options) as session:
            assert session.ask("hello") == "hello"
            return session.info

    return await asyncio.to_thread(work)


@pytest.fixture(params=[visit_waiting, visit_blocking], ids=["asyncio", "blocking"])
def visit(request: pytest.FixtureRequest) -> Any:
    """Return what signs in by either client, is echoed, leaves, and returns what it was told."""
    return request.param


@pytest.fixture
def data(tmp_path: Path) -> Path:
    seed(tmp_path / "data")
    return tmp_path / "data"


async def refusal(visit: Visit, address: Any, **options: Any) -> AntiphonError:
    with pytest.raises(AntiphonError) as caught:
        await visit(address, **options)
    return caught.value


def asked() -> str:
    return PASSWORD


async def asked_later() -> Password:
    return Password(PASSWORD)


async def test_a_password_may_be_given_or_asked_for(data: Path) -> None:
    async with server_here(data, echo) as server:
        given: list[Any] = [PASSWORD, Password(PASSWORD), asked, asked_later]
        for password in given:
            info = await visit_waiting(server.addresses[0], name="ann", password=password)
            assert info.name == "ann"
            assert info.lifetimes.unheld == 1800


async def test_no_connection_is_held_while_somebody_is_asked(visit: Visit, data: Path) -> None:
    async with server_here(data, echo) as server, FaultProxy(server.addresses[0]) as proxy:

        def ask() -> str:
            connections.append(proxy.connections)
            return PASSWORD

        connections: list[int] = []
        await visit(proxy.address, name="ann", password=ask)
        assert [*connections, proxy.connections] == [1, 2], "asked once, and dialled again behind it"


async def test_the_name_may_stand_in_the_address_and_the_last_visit_is_told(visit: Visit, data: Path) -> None:
    async with server_here(data, echo) as server:
        for first in (True, False):
            info = await visit(str(replace(server.addresses[0], name="ann")), password=PASSWORD)
            assert info.first == first
            assert (info.last_visit is None) == first


async def test_a_new_name_is_registered_only_where_that_was_asked_for(visit: Visit, data: Path) -> None:
    async with server_here(data, echo, registration="open") as server:
        place = server.addresses[0]
        assert isinstance(await refusal(visit, place, name="new", password=PASSWORD), SignInRefused)
        short = await refusal(visit, place, name="new", password="short", register=True)
        assert isinstance(short, PasswordInvalid)
        for _ in range(2):  # the second time it is known, and that is no fault
            assert (await visit(place, name="new", password=PASSWORD, register=True)).name == "new"


async def test_a_refused_sign_in_is_never_tried_again(visit: Visit, data: Path) -> None:
    async with server_here(data, echo) as server:
        await visit(server.addresses[0], name="ann", password=PASSWORD)
        wrong = await refusal(visit, server.addresses[0], name="ann", password="an entirely other one")
        assert isinstance(wrong, SignInRefused)
        assert (await visit(server.addresses[0], name="ann", password=PASSWORD)).refusals == 1


async def test_what_is_missing_or_wrong_is_said(visit: Visit, data: Path) -> None:
    async with server_here(data, echo) as server:
        place = server.addresses[0]
        assert isinstance(await refusal(visit, place, password=PASSWORD), InputMissing)
        assert isinstance(await refusal(visit, place, name="ann"), InputMissing)
        for wrong in ({"timeout": 0}, {"give_up": -1}):
            options: dict[str, Any] = {"name": "ann", "password": PASSWORD, **wrong}
            assert isinstance(await refusal(visit, place, **options), SettingInvalid)


async def test_a_key_that_nothing_speaks_for_is_refused_and_one_that_is_known_is_not(
    visit: Visit, data: Path, tmp_path: Path
) -> None:
    async with server_here(data, echo, plain=False) as server:
        bare = replace(server.addresses[0], fingerprint=None)
        options: dict[str, Any] = {"name": "ann", "password": PASSWORD, "known_servers": tmp_path / "known"}
        assert isinstance(await refusal(visit, bare, **options), ServerKeyUnknown)
        assert not (tmp_path / "known").exists()
        KnownServers(tmp_path / "known").remember(bare.host, str(server.addresses[0].fingerprint))
        await visit(bare, **options)


# --- other access -------------------------------------------------------------------------------------------


async def test_a_server_that_goes_by_names_needs_no_password(visit: Visit, data: Path) -> None:
    async with server_here(data, echo, access="identify") as server:
        place = server.addresses[0]
        assert isinstance(await refusal(visit, place, name="bob", password=PASSWORD), PasswordNotAsked)
        assert isinstance(await refusal(visit, place), InputMissing)
        assert (await visit(place, name="bob", password=asked)).name == "bob"  # it is not asked for
        assert (await visit(place)).name == "bob"
        await visit(place, name="eve")
        assert isinstance(await refusal(visit, place), NameAmbiguous)


async def test_a_server_for_anyone_needs_nothing(visit: Visit, data: Path) -> None:
    async with server_here(data, echo, access="anyone") as server:
        assert (await visit(server.addresses[0])).name == ""
        assert isinstance(await refusal(visit, server.addresses[0], password=PASSWORD), PasswordNotAsked)


# --- invitations --------------------------------------------------------------------------------------------


async def invited(server: Server, data: Path, name: str, days: float = 7) -> str:
    place: Address = server.addresses[0]
    (code,) = await asyncio.to_thread(invite, data, name, address=place, days=days)
    return code.written()


async def test_an_invitation_registers_once_and_is_no_hindrance_later(visit: Visit, data: Path) -> None:
    async with server_here(data, echo, registration="closed") as server:
        assert isinstance(
            await refusal(visit, server.addresses[0], name="vera", password=PASSWORD, register=True),
            RegistrationClosed,
        )
        code = await invited(server, data, "vera")
        assert isinstance(await refusal(visit, code, name="ann", password=PASSWORD), UsageError)
        assert isinstance(await refusal(visit, code, password="short"), PasswordInvalid)
        for first in (True, False):
            info = await visit(code, password=PASSWORD)
            assert (info.name, info.first) == ("vera", first)
        wrong = await refusal(visit, code, password="an entirely other one")
        assert isinstance(wrong, SignInRefused)
        assert isinstance(wrong.__cause__, InvitationUsed)


async def test_an_invitation_that_has_expired_is_refused(visit: Visit, data: Path) -> None:
    async with server_here(data, echo, registration="closed") as server:
        code = await invited(server, data, "vera", days=-1)
        assert isinstance(await refusal(visit, code, password=PASSWORD), InvitationRefused)


# --- passwords of an old system -----------------------------------------------------------------------------


async def test_an_old_password_is_right_and_has_to_be_changed_first(visit: Visit, data: Path) -> None:
    await asyncio.to_thread(seed_old, data, "old", digest("cat"))
    async with server_here(data, echo) as server:
        place = server.addresses[0]
        assert isinstance(await refusal(visit, place, name="old", password="cat"), PasswordDue)
        assert isinstance(await refusal(visit, place, name="old", password="dog"), SignInRefused)
        assert not sessions(server)._held, "what is of no use is left in order"


async def test_no_old_form_is_tried_where_no_import_remains(visit: Visit, data: Path) -> None:
    async with server_here(data, echo) as server:
        await visit(server.addresses[0], name="ann", password=PASSWORD)
        await refusal(visit, server.addresses[0], name="ann", password="cat")
        assert (await visit(server.addresses[0], name="ann", password=PASSWORD)).refusals == 1


async def test_a_form_that_has_to_wait_is_told_of_and_not_tried(visit: Visit, data: Path) -> None:
    await asyncio.to_thread(seed_old, data, "old", digest("cat"))
    async with server_here(data, echo) as server:
        for _ in range(2):
            await refusal(visit, server.addresses[0], name="ann", password="кот")
        assert isinstance(
            await refusal(visit, server.addresses[0], name="ann", password=PASSWORD), TooManyFailures
        )


# --- as many sessions as there may be -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("access", "who"),
    [("authenticate", {"name": "ann", "password": PASSWORD}), ("identify", {"name": "ann"}), ("anyone", {})],
)
async def test_where_all_sessions_are_used_a_program_is_told_and_may_end_the_oldest(
    visit: Visit, data: Path, monkeypatch: pytest.MonkeyPatch, access: str, who: dict[str, Any]
) -> None:
    monkeypatch.setattr(manager, "SESSIONS_MOST", 1)
    monkeypatch.setattr(manager, "CLIENT_SESSIONS_MOST", 1)
    async with server_here(data, echo, access=access) as server:
        place = server.addresses[0]
        async with connect(place, **who) as used:
            told = await refusal(visit, place, **who)
            assert isinstance(told, SessionsFull)
            assert told.exit_code == 4
            assert "replace=True" in str(told)
            assert await used.ask("still here") == "still here"
            await visit(place, replace=True, **who)
            assert isinstance(await used.ended(), TooManySessions)


async def test_a_blocking_session_that_has_made_way_says_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "SESSIONS_MOST", 1)
    async with server_here(data, echo) as server:
        used = await asyncio.to_thread(blocking.connect, server.addresses[0], name="ann", password=PASSWORD)
        await visit_waiting(server.addresses[0], name="ann", password=PASSWORD, replace=True)

        def ask_until_the_end() -> None:
            while True:
                with contextlib.suppress(OutcomeUnknown):  # of the one that was on its way
                    used.ask("hello")

        with pytest.raises(TooManySessions):
            await asyncio.to_thread(ask_until_the_end)


@pytest.mark.parametrize("access", ["authenticate", "identify"])
@pytest.mark.parametrize(
    ("features", "replace", "sent"),
    [(["replace"], True, True), (["replace"], False, UNSET), ([], True, UNSET), (["other"], True, UNSET)],
)
async def test_only_a_server_that_offers_it_is_told_to_replace(
    visit: Visit, access: str, features: list[str], replace: bool, sent: object
) -> None:
    def play(peer: Peer) -> None:
        peer.hello(features=features, access=access)
        body = peer.control().body
        assert isinstance(body, Authenticate | Identify)
        seen.append(body.replace)

    seen: list[object] = []
    async with faked(play) as there:
        password = PASSWORD if access == "authenticate" else None
        await refusal(visit, there.address, name="ann", password=password, replace=replace)
    assert seen == [sent]
