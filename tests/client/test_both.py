"""Both clients with the same servers that lie, stop or break the protocol: they do the same."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from antiphon.blocking import Session as BlockingSession
from antiphon.client.aio.connect import session_on
from antiphon.client.aio.dial import dial as dial_waiting
from antiphon.client.aio.session import INBOX_LIMIT
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.blocking.dial import dial as dial_blocking
from antiphon.client.blocking.reconnect import BlockingReconnector
from antiphon.client.blocking.sign_in import BlockingSignIn
from antiphon.client.protocol.sign_in import at_once
from antiphon.client.protocol.window import WINDOW
from antiphon.client.trust import KnownServers
from antiphon.errors import (
    AccountDisabled,
    AccountRemoved,
    AccountRenamed,
    AntiphonError,
    ConnectionLost,
    EndedElsewhere,
    FrameInvalid,
    MessageTooLarge,
    OutcomeUnknown,
    PasswordChanged,
    PeerSilent,
    ProtocolError,
    ServerStopping,
    SessionClosed,
    SessionEnded,
    SessionReplaced,
    SessionRevoked,
    TimedOut,
    TooManySessions,
    TryLater,
)
from antiphon.wire.bodies import Identified, Limits
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame, encode, encode_message
from antiphon.wire.kinds import KIB, Kind
from support.fake_servers import Fake, Peer, fake, faked, welcome

NOWHERE = KnownServers(Path("/nonexistent/known_servers"))
Result = TypeVar("Result")
Play = Callable[[Peer], None]

LAST = ("is it over?", 60.0)
"""The last message of each exchange, and its time limit: more than a busy machine takes."""


class Client:
    """What one client does with a fake server that lets in whoever asks."""

    async def asked(self, play: Play, *messages: str, limit: float = 60, give_up: float = 0) -> list[Any]:
        """Return what each message was answered, or the error; then why the session is over.

        The connection is tried again for `give_up` seconds.
        """
        raise NotImplementedError

    async def pushed(self, play: Play) -> list[Any]:
        """Return what came by itself, and then the error that ended it, None if there was none."""
        raise NotImplementedError

    async def signed_in(self, play: Play, *, resume: bool = False) -> AntiphonError | None:
        """Return why a sign-in failed by name, or a RESUME."""
        raise NotImplementedError

    async def left(self, play: Play, message: str | None = None) -> None:
        """Send a message, if any, and leave."""
        raise NotImplementedError


class Waiting(Client):
    async def asked(self, play: Play, *messages: str, limit: float = 60, give_up: float = 0) -> list[Any]:
        async with faked(play) as there, self._session(there, give_up) as session:
            asked = [(message, limit) for message in messages] + [LAST]
            return [await _outcome(session.ask(message, timeout=within)) for message, within in asked]

    async def pushed(self, play: Play) -> list[Any]:
        async with faked(play) as there, self._session(there) as session:
            found: list[Any] = []
            try:
                async for push in session:
                    found.append(push)  # noqa: PERF401 - what came before an error counts
            except AntiphonError as error:
                return [*found, error]
            return [*found, None]

    async def signed_in(self, play: Play, *, resume: bool = False) -> AntiphonError | None:
        async with faked(play) as there:
            connection = (await dial_waiting(there.address, NOWHERE, 60)).connection
            sign_in = SignIn(connection)
            try:
                await (sign_in.resume(bytes(16)) if resume else sign_in.introduce("ann"))
            except AntiphonError as error:
                return error
            finally:
                connection.abort()
        return None

    async def left(self, play: Play, message: str | None = None) -> None:
        async with faked(play) as there, self._session(there) as session:
            if message is not None:
                await session.send(message)

    @staticmethod
    def _session(there: Fake, give_up: float = 0) -> Any:
        @contextlib.asynccontextmanager
        async def opened() -> Any:
            dialled = await dial_waiting(there.address, NOWHERE, 60)
            opening = await SignIn(dialled.connection).introduce("ann")
            async with session_on(there.address, NOWHERE, dialled, opening, give_up=give_up) as session:
                yield session

        return opened()


class Blocking(Client):
    async def asked(self, play: Play, *messages: str, limit: float = 60, give_up: float = 0) -> list[Any]:
        def work(session: BlockingSession) -> list[Any]:
            asked = [(message, limit) for message in messages] + [LAST]
            return [_said(partial(session.ask, message, timeout=within)) for message, within in asked]

        return await self._in_session(play, work, give_up)

    async def pushed(self, play: Play) -> list[Any]:
        def work(session: BlockingSession) -> list[Any]:
            found: list[Any] = []
            try:
                for push in session:
                    found.append(push)  # noqa: PERF402 - what came before an error counts
            except AntiphonError as error:
                return [*found, error]
            return [*found, None]

        return await self._in_session(play, work)

    async def signed_in(self, play: Play, *, resume: bool = False) -> AntiphonError | None:
        def work() -> AntiphonError | None:
            with fake(play) as there:
                connection = dial_blocking(there.address, NOWHERE, 60).connection
                sign_in = BlockingSignIn(connection)
                try:
                    at_once(sign_in.resume(bytes(16)) if resume else sign_in.introduce("ann"))
                except AntiphonError as error:
                    return error
                finally:
                    connection.abort()
            return None

        return await asyncio.to_thread(work)

    async def left(self, play: Play, message: str | None = None) -> None:
        def work(session: BlockingSession) -> None:
            if message is not None:
                session.send(message)

        await self._in_session(play, work)

    @staticmethod
    async def _in_session(play: Play, work: Callable[[BlockingSession], Result], give_up: float = 0) -> Result:
        def visit() -> Result:
            with fake(play) as there:
                dialled = dial_blocking(there.address, NOWHERE, 60)
                opening = at_once(BlockingSignIn(dialled.connection).introduce("ann"))
                reconnector = BlockingReconnector(there.address, NOWHERE, dialled, give_up=give_up)
                with BlockingSession(dialled.connection, opening, reconnector, 20) as session:
                    return work(session)

        return await asyncio.to_thread(visit)


async def _outcome(asking: Awaitable[Any]) -> Any:
    try:
        return await asking
    except AntiphonError as error:
        return error


def _said(asking: Callable[[], Any]) -> Any:
    try:
        return asking()
    except AntiphonError as error:
        return error


@pytest.fixture(params=[Waiting, Blocking], ids=["asyncio", "blocking"])
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param()
    return found


def let_in(peer: Peer, **fields: object) -> None:
    """Greet, and open a session for whoever asks first."""
    peer.hello(**fields)
    peer.welcome(None, "")


def message(peer: Peer) -> Frame:
    """Return the client's next message; ACKs and heartbeats are passed over."""
    while True:
        event = peer.next()
        assert isinstance(event, Frame), event
        if event.kind == Kind.MESSAGE:
            return event


def kinds(found: Iterable[Any]) -> list[Any]:
    """Return errors as their classes, anything else as it is."""
    return [type(each) if isinstance(each, AntiphonError) else each for each in found]


# --- BYE ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reasons", "error"),
    [
        (["replaced", "expired"], SessionReplaced),
        (["closed", "replaced"], SessionClosed),
        (["revoked", "drained"], SessionEnded),
        (["drained", "drained"], ServerStopping),
        (["drained", "replaced"], SessionReplaced),
        (["drained", "closed", "replaced"], SessionClosed),
        (["drained", "left"], ServerStopping),
        (["left"], ConnectionLost),
        (["a later version's word"], ConnectionLost),
    ],
)
async def test_the_first_goodbye_that_ends_the_session_counts_and_a_drain_ends_none(
    client: Client, reasons: list[str], error: type[AntiphonError]
) -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        peer.send(b"".join(peer.conversation.bye(reason) for reason in reasons))
        peer.sock.shutdown(1)
        peer.rest()

    assert kinds(await client.pushed(play)) == [error]


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        ("revoked", SessionRevoked),
        ("disabled", AccountDisabled),
        ("removed", AccountRemoved),
        ("renamed", AccountRenamed),
        ("password", PasswordChanged),
        ("too-many", TooManySessions),
        ("elsewhere", EndedElsewhere),
        ("", SessionEnded),  # of an earlier version
        ("a later version's word", SessionEnded),
    ],
)
async def test_a_goodbye_says_why_the_session_was_revoked(
    client: Client, cause: str, error: type[AntiphonError]
) -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        body = {"reason": "revoked", "cause": cause, "a later version's field": 1}
        peer.send(encode(Kind.BYE, 0, msgspec.json.encode(body)))
        peer.sock.shutdown(1)
        peer.rest()

    assert kinds(await client.pushed(play)) == [error]


async def test_nothing_behind_the_last_goodbye_is_handled(client: Client) -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        asked = message(peer)
        said = [peer.conversation.push("before"), peer.conversation.bye("replaced")]
        peer.send(b"".join([*said, peer.conversation.push("behind"), peer.conversation.answer(asked.id, "late")]))
        peer.rest()

    assert kinds(await client.asked(play, "hello")) == [OutcomeUnknown, SessionReplaced]


async def test_an_error_that_ends_the_connection_counts_also_behind_a_drain(client: Client) -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        peer.send(peer.conversation.bye("drained") + peer.conversation.error(0, TryLater(wait=3)))
        peer.rest()

    assert kinds(await client.pushed(play)) == [TryLater]


async def test_nothing_is_sent_behind_the_clients_goodbye(client: Client) -> None:
    said: list[Any] = []

    def play(peer: Peer) -> None:
        let_in(peer, limits=Limits(message=1024, heartbeat=0.1, silence=40))
        while not isinstance(event := peer.next(), Control):
            assert isinstance(event, Frame)
        threading.Event().wait(0.5)  # five heartbeats
        peer.send(peer.conversation.push("x" * 1024) * 80)  # would be acknowledged
        peer.send(peer.conversation.bye("left"))
        said.append(peer.rest())

    await client.left(play)
    assert said == [b""]


# --- what is asked and answered -------------------------------------------------------------------------------


async def test_a_sign_in_without_a_token_is_refused(client: Client) -> None:
    def play(peer: Peer) -> None:
        peer.hello()
        control = peer.control()
        peer.send(peer.conversation.welcome(control.id, welcome(None, "", None), bytes(16)))
        assert peer.rest() == b""

    error = await client.signed_in(play)
    assert isinstance(error, ProtocolError)
    assert "no token" in str(error)


async def test_a_session_that_is_resumed_takes_no_new_token(client: Client) -> None:
    def play(peer: Peer) -> None:
        peer.hello()
        control = peer.control()
        peer.send(peer.conversation.welcome(control.id, welcome(None, "", bytes(16)), bytes(16)))
        assert peer.rest() == b""

    error = await client.signed_in(play, resume=True)
    assert isinstance(error, ProtocolError)
    assert "new token" in str(error)


@pytest.mark.parametrize(
    "counts",
    [{"received": 3, "sent": 1}, {"received": 0, "sent": 1}, {"received": 1, "sent": 0}],
    ids=["more messages than were sent", "fewer than were answered", "fewer answers than came"],
)
async def test_counts_that_cannot_be_end_the_session(client: Client, counts: dict[str, int]) -> None:
    met: list[Peer] = []

    def play(peer: Peer) -> None:
        met.append(peer)
        if len(met) == 1:
            let_in(peer)
            peer.send(peer.conversation.answer(message(peer).id, "hello"))
            message(peer)
            return  # the connection is lost
        peer.hello()
        control = peer.control()
        assert control.kind == Kind.RESUME
        resumed = msgspec.structs.replace(welcome(None, "", None), **counts)
        peer.send(peer.conversation.welcome(control.id, resumed, bytes(16)))
        assert peer.rest() == b"", "nothing is sent to a server whose counts are wrong"

    answer, lost, over = await client.asked(play, "hello", "lost", give_up=20)
    assert answer == "hello"
    assert isinstance(lost, OutcomeUnknown)
    assert isinstance(over, ProtocolError)


async def test_an_answer_to_what_was_not_asked_is_refused(client: Client) -> None:
    def play(peer: Peer) -> None:
        peer.hello()
        control = peer.control()
        peer.send(peer.conversation.welcome(control.id + 1, welcome(None, ""), bytes(16)))
        assert peer.rest() == b""

    assert isinstance(await client.signed_in(play), FrameInvalid)


async def test_a_refusal_of_what_was_not_asked_is_refused(client: Client) -> None:
    def play(peer: Peer) -> None:
        peer.hello()
        control = peer.control()
        peer.send(peer.conversation.error(control.id + 1, TryLater()))
        assert peer.rest() == b""

    assert isinstance(await client.signed_in(play), FrameInvalid)


async def test_a_body_of_another_kind_is_refused(client: Client) -> None:
    def play(peer: Peer) -> None:
        peer.hello()
        peer.reply(Kind.IDENTIFY, Identified(name="ann", free=None))
        assert peer.rest() == b""

    assert isinstance(await client.signed_in(play), ProtocolError)


async def test_a_last_visit_that_is_no_time_ends_the_connection(client: Client) -> None:
    def play(peer: Peer) -> None:
        peer.hello()
        opening = msgspec.structs.replace(welcome(None, ""), last_visit="yesterday")
        peer.send(peer.conversation.welcome(peer.control().id, opening, bytes(16)))
        assert peer.rest() == b""

    assert isinstance(await client.signed_in(play), ProtocolError)


async def test_a_message_over_the_limit_is_refused_by_its_header(client: Client) -> None:
    def play(peer: Peer) -> None:
        let_in(peer, limits=Limits(message=200_000, heartbeat=20, silence=40))
        peer.send(encode_message(0, bytes(200_001))[:12])  # and nothing of the message
        peer.rest()

    assert kinds(await client.pushed(play)) == [MessageTooLarge]


# --- time -----------------------------------------------------------------------------------------------------


async def test_a_silent_server_is_given_up_and_one_that_drips_is_not(client: Client) -> None:
    def play(peer: Peer) -> None:
        let_in(peer, limits=Limits(message=1024, heartbeat=0.1, silence=1.0))
        for byte in peer.conversation.push("drip"):
            peer.send(bytes([byte]))
            time.sleep(0.1)  # 1.6 s in all
        peer.rest()

    assert kinds(await client.pushed(play)) == ["drip", PeerSilent]


async def test_an_acknowledgement_goes_with_a_heartbeat(client: Client) -> None:
    def play(peer: Peer) -> None:
        let_in(peer, limits=Limits(message=1024, heartbeat=0.1, silence=40))
        peer.send(peer.conversation.push("one"))
        first, second = peer.next(), peer.next()
        while isinstance(first, Frame) and first.kind == Kind.HEARTBEAT:  # from before the push
            first, second = second, peer.next()
        assert isinstance(first, Frame)
        assert isinstance(second, Frame)
        assert [first.kind, second.kind] == [Kind.ACK, Kind.HEARTBEAT]
        assert peer.conversation.count(first) == 1
        peer.send(peer.conversation.bye("replaced"))

    assert kinds(await client.pushed(play)) == ["one", SessionReplaced]


async def test_text_that_is_not_ascii_is_acknowledged_by_its_bytes(client: Client) -> None:
    def play(peer: Peer) -> None:
        let_in(peer, limits=Limits(message=200_000, heartbeat=20, silence=40))
        peer.send(peer.conversation.push("й" * 40_000))  # 80,000 bytes in 40,000 characters
        acknowledged = peer.next()
        assert isinstance(acknowledged, Frame)
        assert acknowledged.kind == Kind.ACK
        peer.send(peer.conversation.bye("replaced"))

    assert kinds(await client.pushed(play)) == ["й" * 40_000, SessionReplaced]


# --- how much waits -------------------------------------------------------------------------------------------


async def test_no_more_messages_are_sent_than_the_window_holds(client: Client) -> None:
    late: list[bool] = []

    def play(peer: Peer) -> None:
        let_in(peer)
        asked = [message(peer) for _ in range(WINDOW)]
        peer.sock.settimeout(0.3)
        late.append(peer.next() is None)
        peer.sock.settimeout(60)
        peer.send(b"".join(encode(Kind.END, frame.id) for frame in asked))
        message(peer)
        peer.send(peer.conversation.bye("replaced"))

    if isinstance(client, Waiting):
        async with faked(play) as there, client._session(there) as session:
            for number in range(WINDOW + 1):
                await session.send(str(number))
            await session.ended()
    else:
        assert isinstance(client, Blocking)

        def work(session: BlockingSession) -> None:
            for number in range(WINDOW + 1):
                session.send(str(number))
            with pytest.raises(SessionReplaced):
                session.receive()

        await client._in_session(play, work)
    assert late == [True]


async def test_leaving_stops_a_stream_that_has_no_end(client: Client) -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        asked = message(peer)
        peer.send(peer.conversation.part(asked.id, "one"))
        cancelled = peer.next()
        assert isinstance(cancelled, Frame)
        assert (cancelled.kind, cancelled.id) == (Kind.CANCEL, asked.id)
        peer.send(encode(Kind.END, asked.id))
        goodbye = peer.next()
        assert isinstance(goodbye, Control)
        peer.send(peer.conversation.bye("left"))
        peer.rest()

    if isinstance(client, Waiting):
        async with faked(play) as there:
            async with client._session(there) as session:
                stream = session.ask_stream("forever")
                assert await anext(stream) == "one"
            await stream.aclose()
    else:
        assert isinstance(client, Blocking)

        def work(session: BlockingSession) -> Any:
            answers = session.ask_stream("forever")
            assert next(iter(answers)) == "one"
            return answers  # held, so that the end of the block meets it

        await client._in_session(play, work)


async def test_a_message_that_is_not_answered_in_time_leaves_the_session_open(client: Client) -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        first, second = message(peer), message(peer)
        peer.send(encode(Kind.END, first.id) + peer.conversation.answer(second.id, "here"))
        while isinstance(peer.next(), Frame):
            pass
        peer.send(peer.conversation.bye("left"))

    outcome = kinds(await client.asked(play, "slow", limit=0.5))
    assert outcome[0] is TimedOut
    assert outcome[1] == "here"


async def test_empty_payloads_that_wait_are_limited_as_others_are() -> None:
    """The asyncio client stops reading; that the blocking one closes is in blocking/test_session.py."""
    count = 400_000

    def play(peer: Peer) -> None:
        let_in(peer)
        peer.sock.settimeout(2)
        with contextlib.suppress(TimeoutError):
            peer.sock.sendall(encode_message(0, "") * count)
        peer.sock.close()

    async with faked(play) as there, Waiting._session(there) as session:
        waiting = -1
        async with asyncio.timeout(60):
            while waiting != session._waiting or waiting <= INBOX_LIMIT:  # it comes to rest
                waiting = session._waiting
                await asyncio.sleep(0.3)
        assert INBOX_LIMIT < waiting <= INBOX_LIMIT + 64 * 256 * KIB // 12, "no more than one read too many"
