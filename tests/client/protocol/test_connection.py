"""The connection protocol alone, without a socket and with a clock of the test's own."""

import pytest

from antiphon.client.protocol.connection import ConnectionProtocol, State
from antiphon.client.protocol.reconnect import temporary
from antiphon.errors import AntiphonError, ConnectionLost, PeerSilent, SessionReplaced
from antiphon.wire.bodies import Hello, Identify, Limits, Scram
from antiphon.wire.conversation import ServerConversation
from antiphon.wire.frames import encode
from antiphon.wire.kinds import Kind
from support.fake_servers import welcome

HEARTBEAT = encode(Kind.HEARTBEAT, 0)
SERVER = ServerConversation()


def hello(heartbeat: float = 20, silence: float = 40) -> bytes:
    return SERVER.hello(
        Hello(
            versions=[1],
            product="test/1",
            access="identify",
            mechanisms=[],
            features=[],
            limits=Limits(message=1024, heartbeat=heartbeat, silence=silence),
            registration=True,
            scram=Scram(salt_length=32, iterations=600_000),
            password_minimum=15,
        )
    )


@pytest.fixture
def protocol() -> ConnectionProtocol:
    """Return a connection on which HELLO has come, at the moment 0."""
    protocol = ConnectionProtocol("here")
    protocol.receive(hello())
    assert protocol.tick(0) == 10
    return protocol


def test_a_heartbeat_is_sent_in_half_the_time_that_the_server_asks_for(protocol: ConnectionProtocol) -> None:
    assert protocol.data_to_send() == b""
    assert protocol.tick(9.9) == 10
    assert protocol.data_to_send() == b""
    assert protocol.tick(10) == 20
    assert protocol.data_to_send() == HEARTBEAT


def test_what_is_sent_puts_the_heartbeat_off(protocol: ConnectionProtocol) -> None:
    protocol.request(Kind.IDENTIFY, Identify(name="ann"))
    assert protocol.tick(7) == 17


def test_silence_ends_the_connection_but_not_while_nobody_listens(protocol: ConnectionProtocol) -> None:
    protocol.tick(39.9, listening=False)
    protocol.tick(79.8)
    assert protocol.reason is None
    protocol.receive(b"\0")
    protocol.tick(100)
    protocol.tick(139.9)
    assert protocol.reason is None
    protocol.tick(140)
    assert protocol.state is State.FAILED
    assert isinstance(protocol.reason, PeerSilent)


def test_a_client_that_leaves_sends_nothing_more_and_still_listens_for_silence(
    protocol: ConnectionProtocol,
) -> None:
    protocol.say_bye("left")
    assert protocol.data_to_send() == protocol.conversation.bye("left")
    protocol.say_bye("drained")
    protocol.say_alive()
    assert protocol.tick(20) == 40
    assert protocol.data_to_send() == b""
    with pytest.raises(ConnectionLost):
        protocol.request(Kind.IDENTIFY, Identify(name="ann"))


def test_the_loss_of_the_connection_settles_what_waits_and_the_first_reason_counts(
    protocol: ConnectionProtocol,
) -> None:
    told: list[AntiphonError | None] = []
    pending = protocol.request(Kind.IDENTIFY, Identify(name="ann"))
    pending.on_reply = lambda: told.append(protocol.reason)
    protocol.receive(SERVER.bye("replaced"))
    assert protocol.state is State.ENDED
    protocol.abort()
    protocol.connection_lost()
    protocol.connection_lost()
    assert isinstance(pending.reply, SessionReplaced)
    assert len(told) == 1


def test_the_ids_of_hello_heartbeat_and_bye_are_ignored() -> None:
    protocol = ConnectionProtocol("here")
    protocol.receive(hello()[:8] + b"\0\0\0\7" + hello()[12:] + encode(Kind.HEARTBEAT, 7))
    assert protocol.greeting.reply == protocol.hello
    protocol.receive(encode(Kind.BYE, 7, b'{"reason":"replaced"}'))
    assert protocol.state is State.ENDED
    assert isinstance(protocol.reason, SessionReplaced)


@pytest.mark.parametrize("reason", ["tomorrow", "", "left", "Revoked"])
def test_a_goodbye_whose_reason_says_nothing_is_a_lost_connection(
    protocol: ConnectionProtocol, reason: str
) -> None:
    protocol.receive(SERVER.bye(reason, "because") + b"nothing behind it is read")
    assert protocol.state is State.ENDED
    assert isinstance(protocol.reason, ConnectionLost)
    assert temporary(protocol.reason), "RESUME tells whether the session is over"
    protocol.connection_lost()
    assert isinstance(protocol.reason, ConnectionLost)


@pytest.mark.parametrize("reason", ["tomorrow", "drained and gone"])
def test_any_goodbye_answers_that_of_a_client_that_leaves(protocol: ConnectionProtocol, reason: str) -> None:
    protocol.say_bye("left")
    protocol.receive(SERVER.bye(reason))
    protocol.connection_lost()
    assert protocol.state is State.ENDED
    assert protocol.reason is None


def test_a_client_that_has_left_has_no_reason(protocol: ConnectionProtocol) -> None:
    protocol.say_bye("left")
    protocol.receive(SERVER.bye("left"))
    protocol.connection_lost()
    assert protocol.reason is None


def test_a_connection_that_breaks_before_hello_settles_the_greeting() -> None:
    protocol = ConnectionProtocol("here")
    protocol.connection_lost()
    assert isinstance(protocol.greeting.reply, ConnectionLost)
    protocol.receive(hello())
    assert protocol.conversation.hello is None, "nothing more is handled"


def test_a_refused_welcome_settles_the_request_with_the_reason(protocol: ConnectionProtocol) -> None:
    pending = protocol.request(Kind.IDENTIFY, Identify(name="ann"))
    protocol.receive(ServerConversation().welcome(1, welcome(None, "", None), bytes(16)))
    protocol.connection_lost()
    assert pending.reply is protocol.reason
    assert protocol.state is State.FAILED
