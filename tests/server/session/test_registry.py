"""What the parts of a server share, where a session ends in an odd moment."""

import asyncio
from pathlib import Path

import pytest

from antiphon.errors import TryLater
from antiphon.identity.tokens import Token
from antiphon.server.connection.connection import Connection
from antiphon.server.session.holder import Holder, Session
from antiphon.store.contracts import ProcessRecord
from antiphon.wire.bodies import Error, Resume, ServerBye
from support.joined import JoinedServer, joined
from support.serving import seed


def assert_told_to_try_later(server: JoinedServer, token: bytes, received: int) -> None:
    with server.client() as hasty:
        hasty.hello()
        hasty.send(hasty.conversation.resume(token, Resume(received=received))[1])
        refused = hasty.body()
        assert isinstance(refused, Error)
        assert refused.code == TryLater.code


def lose(connection: Connection) -> None:
    connection.lose("revoked")


def test_a_session_that_is_lost_before_the_service_knows_it_ends_the_connection(tmp_path: Path) -> None:
    with joined(tmp_path / "data", plain=True) as server, server.client() as client:
        client.hello()
        server.read(lambda _: lose(*server.connections))
        assert client.body() == ServerBye(reason="revoked")


def test_a_store_that_fails_while_a_session_is_put_aside_is_told_to_the_log(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")

    async def fail(*_: object) -> None:
        raise TryLater

    with joined(tmp_path / "data", plain=True) as server, server.session(token):
        registry = server.host.channels
        server.store.sessions.released = fail
        (session,) = [channel.session for channel in registry]
        server.call(registry.release(session))
    assert "store-failed" in server.log()


def test_a_session_that_is_found_for_a_connection_that_is_gone_waits_for_the_next_one(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", plain=True) as server, server.client() as client:
        manager = server.sessions
        resume, found, gone = manager.resume, asyncio.Event(), asyncio.Event()

        async def late(token: Token, holder: Holder) -> Session | ProcessRecord | None:
            session = await resume(token, holder)
            found.set()
            await gone.wait()
            return session

        setattr(manager, "resume", late)  # noqa: B010 - a method
        client.hello()
        client.send(client.conversation.resume(token, Resume())[1])
        server.call(found.wait())
        client.cut()
        server.until(lambda: not server.connections)
        assert manager.held == 1
        server.read(lambda _: gone.set())
        server.until(lambda: not len(server.host.tasks))
        assert manager.held == 0


@pytest.mark.parametrize("noted", [False, True], ids=["giving up", "given up"])
def test_a_session_that_is_given_up_while_it_is_resumed_keeps_its_counts(tmp_path: Path, *, noted: bool) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", plain=True) as server:
        client, _ = server.back(token, None)
        assert [client.ask("one"), client.ask("two")] == ["one", "two"]
        client.cut()
        server.until(lambda: not server.connections)
        manager, registry = server.sessions, server.host.channels
        resume = manager.resume

        async def late(token: Token, holder: Holder) -> Session | ProcessRecord | None:
            session = await resume(token, holder)
            setattr(manager, "resume", resume)  # noqa: B010 - a method
            registry.give_up_idle()
            while noted and len(server.host.tasks) > 1:  # one is this
                await asyncio.sleep(0.01)
            return session

        setattr(manager, "resume", late)  # noqa: B010 - a method
        assert_told_to_try_later(server, token, received=2)
        client, welcome = server.back(token, 2)
        assert (welcome.received, welcome.sent) == (2, 2)
        assert client.ask("three") == "three"
        client.close()


def test_a_session_that_is_given_up_as_its_snapshot_is_dropped_keeps_its_counts(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", plain=True) as server:
        client, _ = server.back(token, None)
        assert client.ask("one") == "one"
        client.cut()
        server.until(lambda: not server.connections)
        manager, registry = server.sessions, server.host.channels
        drop = manager.drop_snapshot
        server.read(lambda _: registry.give_up_idle())
        server.until(lambda: not len(server.host.tasks))

        async def late(session: Session) -> None:
            await drop(session)
            setattr(manager, "drop_snapshot", drop)  # noqa: B010 - a method
            registry.give_up_idle()

        setattr(manager, "drop_snapshot", late)  # noqa: B010 - a method
        assert_told_to_try_later(server, token, received=1)
        client, welcome = server.back(token, 1)
        assert (welcome.received, welcome.sent) == (1, 1)
        client.close()
