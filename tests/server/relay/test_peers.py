"""Whose connection is relayed: address, host and channel binding of the client hold at the home of its session."""

import asyncio
import re
import secrets
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from antiphon.client.aio.password_change import PasswordChange
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ClientExchange, mechanism_for
from antiphon.server.listen.limits import SourceFailures
from antiphon.services import Session
from antiphon.wire.bodies import ChangePassword, Error, PasswordAnswer, ServerBye, Welcome
from antiphon.wire.kinds import Kind
from support.joined import BINDING, JoinedClient, JoinedServer, virtual_loop
from support.moving import back, refused, two_servers
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import ATTACKER, seed
from support.sessions import session_of

OFFICE = "127.0.0.3"
OTHER_BINDING = b"hash of another certificate, 32 b"
NEW = "a staple of that battery"


class Places:
    """A service that says where its sessions are."""

    def received(self, message: str, session: Session) -> str:
        return session.address


@contextmanager
def joined_two(folder: Path, *, plain: bool = True) -> Iterator[tuple[JoinedServer, JoinedServer]]:
    """Run two servers in one event loop: the home, and the other."""
    with (
        virtual_loop() as loop,
        loop.joined(folder, Places(), plain=plain) as home,
        loop.joined(folder, Places(), plain=plain) as other,
    ):
        yield home, other


def at_home(home: JoinedServer, token: bytes) -> None:
    with home.session(token) as client:
        client.ask("hello")


def guess(client: JoinedClient, number: int) -> str:
    """Prove a wrong old password at little cost; return the code of the refusal."""
    nonce = f"{number:024}"
    first = ChangePassword(mechanism="SCRAM-SHA-256", data=f"n,,n=ann,r={nonce}".encode())
    challenge = client.request(Kind.PASSWORD, first)
    if isinstance(challenge, Error):
        return challenge.code
    assert isinstance(challenge, PasswordAnswer)
    assert challenge.data
    whole = challenge.data.decode().split(",")[0].removeprefix("r=")
    proof = ChangePassword(data=f"c=biws,r={whole},p={'A' * 43}=".encode())
    answer = client.request(Kind.PASSWORD, proof)
    assert isinstance(answer, Error)
    return answer.code


def test_the_service_and_the_log_know_a_relayed_client_by_its_own_address(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined_two(tmp_path / "data") as (home, other):
        at_home(home, token)
        with other.session(token, OFFICE) as client:
            address = str(client.ask("where"))
            assert re.fullmatch(rf"{re.escape(OFFICE)}:\d+", address)
            (connection,) = home.connections
            assert (connection.peer.host, connection.peer.address) == (OFFICE, address)
            assert connection.peer.relayed_by == other.home.id
            (record,) = home.call(home.store.sessions.all())
            assert (record.address, record.home, record.owner) == (address, home.home.id, other.home.id)
            client.leave()
        assert any(f'name="ann" address={address}' in line for line in home.records("resumed"))
        assert any(
            f"address={address}" in line and f'home="{home.home.id}"' in line for line in home.records("relayed")
        )
        assert any(f"address={address}" in line for line in home.records("session-ended"))


def test_wrong_old_passwords_over_a_relay_count_for_the_client_s_source(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined_two(tmp_path / "data") as (home, other):
        at_home(home, token)
        throttle = home.host.auth.throttle
        throttle._sources = SourceFailures(3)
        with other.session(token, ATTACKER) as client:
            assert [guess(client, number) for number in range(3)] == ["sign-in-refused"] * 3
            assert guess(client, 3) == "try-later", "so many have failed from this source"
            refusals = home.records("refused")
            assert len(refusals) == 4
            assert all(f"address={ATTACKER}:" in line for line in refusals)
        with other.session(token, OFFICE) as client:
            assert [guess(client, number) for number in (4, 5)] == ["sign-in-refused"] * 2
            assert guess(client, 6) == "too-many-failures"  # the name has its own count, wherever they come from


def test_a_right_old_password_over_a_relay_makes_the_client_s_source_known(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined_two(tmp_path / "data") as (home, other):
        at_home(home, token)
        with other.session(token, OFFICE) as client:
            prove(client, PASSWORD)
        throttle, at = home.host.auth.throttle, home.host.auth.clock()

        def known(host: str) -> bool:
            attempt = home.store.failures.attempt(*throttle.marks("ann", host), at, only_known=True)
            return home.call(attempt) is not None

        assert [known(host) for host in (ATTACKER, OFFICE, "127.0.0.1")] == [False, True, False]


def prove(client: JoinedClient, password: str, binding: bytes | None = None) -> str:
    """Prove an old password; return the code of the refusal, or an empty string."""
    bound = binding or client.binding
    mechanism = mechanism_for(bound)
    nonce = b64encode(secrets.token_bytes(24)).decode()
    exchange = ClientExchange(mechanism, "ann", Password(password), bound, nonce)
    challenge = client.request(Kind.PASSWORD, ChangePassword(mechanism=mechanism, data=exchange.first()))
    if isinstance(challenge, Error):
        return challenge.code
    assert isinstance(challenge, PasswordAnswer)
    proved = client.request(Kind.PASSWORD, ChangePassword(data=exchange.answer(challenge.data or b"")))
    if isinstance(proved, Error):
        return proved.code
    assert isinstance(proved, PasswordAnswer)
    exchange.verify(proved.data or b"", "the test's server")
    return ""


def test_over_tls_a_proof_is_bound_to_the_channel_of_the_relaying_process(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined_two(tmp_path / "data", plain=False) as (home, other):
        at_home(home, token)
        other._binding = OTHER_BINDING  # as if it had another certificate
        with other.session(token, OFFICE) as client:
            assert client.binding == OTHER_BINDING
            assert prove(client, PASSWORD) == ""
            assert prove(client, PASSWORD, BINDING) == "sign-in-refused"
            plain = ChangePassword(mechanism="SCRAM-SHA-256", data=f"n,,n=ann,r={'n' * 24}".encode())
            error = client.request(Kind.PASSWORD, plain)
            assert isinstance(error, Error)
            assert error.code == "mechanism-unsupported"


async def test_a_password_is_changed_over_a_relay_and_all_other_sessions_end(tmp_path: Path) -> None:
    token, at_home, elsewhere = await asyncio.to_thread(seed, tmp_path / "data", sessions=3)
    with two_servers(tmp_path) as two:
        with back(two.home, token)[0] as client:
            assert client.ask("state") == "1"
        held, _ = back(two.home, at_home)
        other, _ = back(two.other, elsewhere)
        with held, other:
            async with session_of(two.other.address, token) as session:
                assert await session.ask("pid") == str(two.home.process.pid)
                change = PasswordChange(session.connection, "ann")
                await change.prove(Password(PASSWORD))
                await change.choose(Password(NEW))
                assert await session.ask("state") == "3"
                for ended in (held, other):
                    assert ended.body() == ServerBye(reason="revoked", cause="password")
                    ended.closed()
                for each in (at_home, elsewhere):
                    assert refused(two.home, each).code == "session-ended"
                with RawClient(two.other.address) as signing_in:
                    signing_in.hello()
                    assert isinstance(signing_in.authenticate("ann", NEW), Welcome)
                # the session goes on in the new epoch, wherever it is resumed
                moved, _ = back(two.home, token, 2)
                with moved:
                    assert moved.ask("state") == "4"
