"""Sessions that are ended from outside: by another server, by the store's limit, and while the store is away."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from antiphon.errors import TryLater
from antiphon.server.session.revocations import POLL_SECONDS
from antiphon.store.contracts import Account, Accounts
from antiphon.store.sql import SqlStore, open_sqlite
from antiphon.wire.bodies import Error, ServerBye, Welcome
from support.joined import JoinedClient, JoinedServer, joined, virtual_loop
from support.processes import PASSWORD
from support.serving import seed

SOON = 1.0
"""Seconds within which an end must arrive (promise 17)."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def outside(data: Path, work: Callable[[SqlStore], Any]) -> Any:
    """Return what `work` does to the store, as another process would."""

    async def main() -> Any:
        store = await open_sqlite(data)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(main())


def revoke_all(data: Path) -> None:
    async def work(store: SqlStore) -> None:
        account = await store.accounts.find("ann")
        assert account is not None
        await store.sessions.revoke_account(account.id, "revoked", datetime.now(UTC))

    outside(data, work)


def cut(client: JoinedClient, reason: str = "revoked", cause: str = "revoked") -> None:
    """See the goodbye come in time, and the end behind it."""
    client.timeout = SOON
    assert client.body() == ServerBye(reason=reason, cause=cause if reason == "revoked" else "")
    client.closed()


def resumed(server: JoinedServer, token: bytes) -> str:
    with server.client() as client:
        client.hello()
        body = client.resume(token)
        return body.code if isinstance(body, Error) else "welcome"


def test_what_is_revoked_elsewhere_is_cut_with_the_reason_in_the_log(data: Path) -> None:
    tokens = seed(data, sessions=2)
    with joined(data) as server:
        with server.session(tokens[0]) as client, server.session(tokens[1]) as other:
            assert client.ask("hello") == "hello"
            revoke_all(data)
            cut(client)
            cut(other)
        assert resumed(server, tokens[0]) == "session-ended"
    told = server.records("session-revoked")
    assert len(told) == 2
    assert all(
        'name="ann"' in line and "address=127.0.0.1:" in line and 'reason="revoked"' in line for line in told
    )


def test_a_revocation_of_one_session_leaves_the_others(data: Path) -> None:
    tokens = seed(data, sessions=2)

    async def work(store: SqlStore) -> None:
        (first, _) = sorted(await store.sessions.all(), key=lambda record: record.owner is None)
        await store.sessions.revoke(first.fingerprint, "revoked", datetime.now(UTC))

    with joined(data) as server, server.session(tokens[0]) as client:
        outside(data, work)
        cut(client)
        with server.session(tokens[1]) as other:
            assert other.ask("still here") == "still here"


def test_a_session_opened_after_a_revocation_is_not_cut_by_it(data: Path) -> None:
    token = seed(data)[0]
    with joined(data) as server, server.session(token) as held, server.client() as client:
        client.hello()
        server.polling.cancel()  # what follows is not seen before we say so
        revoke_all(data)
        assert isinstance(client.authenticate("ann", PASSWORD), Welcome)
        server.call(follow(server))
        cut(held)
        assert client.ask("still here") == "still here"


async def follow(server: JoinedServer) -> None:
    await server.poller.poll()


def test_a_resume_at_another_server_takes_the_session_from_the_connection_and_leaves_it_at_its_home(
    data: Path,
) -> None:
    token = seed(data)[0]
    with virtual_loop() as loop, loop.joined(data) as one, loop.joined(data) as two:
        first = one.session(token)
        for here in (two, one, two):
            second = here.session(token)
            cut(first, "replaced")
            assert second.ask("mine") == "mine"
            assert (one.sessions.held, two.sessions.held) == (1, 0)
            first = second
        first.leave()
        assert resumed(one, token) == "session-ended"


def test_a_session_taken_back_before_the_loss_was_seen_stays(data: Path) -> None:
    token = seed(data)[0]
    with virtual_loop() as loop, loop.joined(data) as one, loop.joined(data) as two, one.session(token):
        one.polling.cancel()
        with two.session(token) as stolen, one.session(token) as back:
            cut(stolen, "replaced")
            one.call(follow(one))
            assert back.ask("mine again") == "mine again"


def test_a_server_that_lost_a_session_does_not_end_it_by_a_goodbye(data: Path) -> None:
    token = seed(data)[0]
    with virtual_loop() as loop, loop.joined(data) as one, loop.joined(data) as two, one.session(token) as first:
        one.polling.cancel()
        with two.session(token) as second:
            first.leave()
            assert second.ask("mine") == "mine"
        assert resumed(two, token) == "welcome"


def test_an_account_that_is_disabled_while_it_signs_in_is_refused(data: Path) -> None:
    seed(data, sessions=0)
    with joined(data) as server, server.client() as client:
        client.hello()
        hold_up(server.store.accounts, data)
        refused = client.authenticate("ann", PASSWORD)
        assert isinstance(refused, Error)
        assert refused.code == "sign-in-refused"
        assert server.sessions.held == 0
        assert server.call(server.store.sessions.all()) == []


def hold_up(accounts: Accounts, data: Path) -> None:
    """Have the account disabled after its password is proved, while its session is being opened."""
    visited = accounts.visited

    async def disabled_meanwhile(account: Account, *arguments: Any) -> Any:
        await accounts.set_disabled(account.id, disabled=True)
        return await visited(account, *arguments)

    vars(accounts)["visited"] = disabled_meanwhile


def test_live_sessions_go_on_while_the_store_is_away_and_what_was_missed_is_done(data: Path) -> None:
    token = seed(data)[0]
    with joined(data) as server, server.session(token) as client:
        log = server.store.revocations
        looks = []

        async def away(after: int) -> NoReturn:
            looks.append(after)
            raise TryLater

        log.entries = away
        revoke_all(data)
        while len(looks) < 4:
            assert client.ask("hello") == "hello"
            server.let_pass(POLL_SECONDS)
        del log.entries
        cut(client)
    assert len(server.records("revocations-unread")) == 1
    assert len(server.records("revocations-read")) == 1


def test_a_fault_while_following_is_not_the_end_of_it(data: Path) -> None:
    token = seed(data)[0]
    with joined(data) as server, server.session(token) as client:
        log = server.store.revocations
        looked = []

        async def broken(after: int) -> NoReturn:
            looked.append(after)
            raise LookupError

        log.entries = broken
        while not looked:
            assert client.ask("hello") == "hello"
            server.let_pass(POLL_SECONDS)
        del log.entries
        revoke_all(data)
        cut(client)
