"""Conversation: both sides, joined in memory."""

from dataclasses import dataclass, field

import msgspec
import pytest

from antiphon.errors import (
    BodyInvalid,
    FrameUnexpected,
    MessageTooLarge,
    ProtocolError,
    ServerError,
    TokenRefused,
    TooManyRefusals,
    TryLater,
    VersionUnsupported,
    from_wire,
)
from antiphon.wire import bodies, conversation
from antiphon.wire.bodies import Bye, Error, Resume, ServerBye
from antiphon.wire.conversation import LAST_ID, ClientConversation, Control, Event, ServerConversation
from antiphon.wire.frames import Frame, Refused, encode, encode_message
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST, Flag, Kind, Side
from support.bodies import BODIES, HELLO, WELCOME

TOKEN = b"T" * 16
WRONG = b"W" * 16
TEXT = int(Flag.TEXT)
LAST = int(Flag.LAST)
ENTRY_KINDS = (Kind.IDENTIFY, Kind.REGISTER, Kind.AUTHENTICATE, Kind.CHALLENGE)
ANSWERS = {
    Kind.IDENTIFY: Kind.IDENTIFY,
    Kind.REGISTER: Kind.REGISTER,
    Kind.AUTHENTICATE: Kind.CHALLENGE,
}


@dataclass
class Pair:
    """A client and a server; each is fed with the bytes of the other."""

    client: ClientConversation = field(default_factory=ClientConversation)
    server: ServerConversation = field(default_factory=ServerConversation)

    def to_server(self, data: bytes) -> list[Event]:
        self.server.feed(data)
        return list(iter(self.server.next, None))

    def to_client(self, data: bytes) -> list[Event]:
        self.client.feed(data)
        return list(iter(self.client.next, None))

    def sign_in(self) -> "Pair":
        self.to_client(self.server.hello(HELLO))
        self.to_client(self.server.welcome(1, WELCOME, TOKEN))
        return self


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.fixture
def session() -> Pair:
    return Pair().sign_in()


def refusals(events: list[Event]) -> list[tuple[int, type]]:
    return [(event.id, type(event.error)) for event in events if isinstance(event, Refused)]


# --- from HELLO to the last word ----------------------------------------------------------------------------


def test_a_first_visit_from_hello_to_bye(pair: Pair) -> None:
    hello = Control(Kind.HELLO, 0, HELLO)
    assert pair.to_client(pair.server.hello(HELLO)) == [hello]
    assert pair.client.hello == HELLO

    for number, kind in enumerate(ENTRY_KINDS[:3], start=1):
        asked = BODIES[Side.CLIENT, kind]
        id, data = pair.client.request(kind, asked)
        assert id == number
        assert pair.to_server(data) == [Control(kind, id, asked)]
        answered = BODIES[Side.SERVER, ANSWERS[kind]]
        reply = pair.server.reply(ANSWERS[kind], id, answered)
        assert pair.to_client(reply) == [Control(ANSWERS[kind], id, answered)]

    proof = BODIES[Side.CLIENT, Kind.CHALLENGE]
    id, data = pair.client.request(Kind.CHALLENGE, proof)
    assert pair.to_server(data) == [Control(Kind.CHALLENGE, 4, proof)]
    assert pair.to_client(pair.server.welcome(id, WELCOME, TOKEN)) == [Control(Kind.WELCOME, 4, WELCOME)]
    assert pair.client.token == TOKEN

    id, data = pair.client.message("привет")
    assert pair.to_server(data) == [Frame(Kind.MESSAGE, TEXT, 5, "привет")]
    assert pair.to_client(pair.server.answer(id, "привет")) == [Frame(Kind.MESSAGE, TEXT | LAST, 5, "привет")]
    id, data = pair.client.message(b"\xff")
    assert pair.to_server(data) == [Frame(Kind.MESSAGE, 0, 6, b"\xff")]
    assert pair.to_client(pair.server.end(id)) == [Frame(Kind.END, 0, 6, b"")]

    assert pair.to_server(pair.client.heartbeat()) == [Frame(Kind.HEARTBEAT, 0, 0, b"")]
    assert pair.to_client(pair.server.heartbeat()) == [Frame(Kind.HEARTBEAT, 0, 0, b"")]
    assert pair.to_server(pair.client.bye("left")) == [Control(Kind.BYE, 0, Bye(reason="left"))]
    assert not pair.server.bye_sent
    assert pair.to_client(pair.server.bye("drained")) == [Control(Kind.BYE, 0, ServerBye(reason="drained"))]
    assert pair.server.bye_sent


def test_a_client_may_speak_before_hello_arrives(pair: Pair) -> None:
    asked = BODIES[Side.CLIENT, Kind.IDENTIFY]
    id, data = pair.client.request(Kind.IDENTIFY, asked)
    assert pair.to_server(data) == [Control(Kind.IDENTIFY, id, asked)]


def test_a_session_is_resumed_with_its_token(pair: Pair) -> None:
    pair.to_client(pair.server.hello(HELLO))
    id, data = pair.client.resume(TOKEN, Resume(language="ru"))
    assert pair.to_server(data) == [Control(Kind.RESUME, id, Resume(language="ru"), TOKEN)]
    pair.to_client(pair.server.welcome(id, msgspec.structs.replace(WELCOME, token=None), TOKEN))
    assert pair.client.token == TOKEN
    _, data = pair.client.message("on we go")
    assert pair.to_server(data) == [Frame(Kind.MESSAGE, TEXT, 2, "on we go")]


def test_everything_arrives_when_it_comes_byte_by_byte(session: Pair) -> None:
    data = b"".join(session.client.message(str(number))[1] for number in range(3)) + session.client.bye("left")
    heard = [event for at in range(len(data)) for event in session.to_server(data[at : at + 1])]
    assert [event.payload for event in heard if isinstance(event, Frame)] == ["0", "1", "2"]
    assert isinstance(heard[-1], Control)


# --- before sign-in -----------------------------------------------------------------------------------------


def test_a_message_before_sign_in_ends_the_connection(pair: Pair) -> None:
    with pytest.raises(FrameUnexpected, match="MESSAGE"):
        pair.to_server(encode_message(1, "hello", token=TOKEN))


@pytest.mark.parametrize("kind", [*ENTRY_KINDS, Kind.RESUME])
def test_nobody_signs_in_twice_on_one_connection(session: Pair, kind: Kind) -> None:
    token = TOKEN if kind is Kind.RESUME else b""
    with pytest.raises(FrameUnexpected, match=kind.name):
        session.to_server(encode(kind, 1, bodies.encode(BODIES[Side.CLIENT, kind]), token=token))


@pytest.mark.parametrize("kind", [*ENTRY_KINDS[:3], Kind.RESUME])
def test_another_version_is_refused_with_the_supported_one(pair: Pair, kind: Kind) -> None:
    body = msgspec.structs.replace(BODIES[Side.CLIENT, kind], version=2)
    token = TOKEN if kind is Kind.RESUME else b""
    with pytest.raises(VersionUnsupported) as caught:
        pair.to_server(encode(kind, 1, bodies.encode(body), token=token))
    assert caught.value.fields == {"version": 2, "versions": 1}


def test_an_invalid_body_ends_the_connection(pair: Pair) -> None:
    with pytest.raises(BodyInvalid):
        pair.to_server(encode(Kind.IDENTIFY, 1, b'{"nome":"ann"}'))


# --- the token on every message -----------------------------------------------------------------------------


def test_two_wrong_tokens_are_refused_and_the_third_ends_the_connection(session: Pair) -> None:
    wrong = encode_message(7, "mine?", token=WRONG)
    _, right = session.client.message("mine")
    heard = session.to_server(wrong + right + wrong)
    assert refusals(heard) == [(7, TokenRefused), (7, TokenRefused)]
    assert [event for event in heard if isinstance(event, Frame)] == [Frame(Kind.MESSAGE, TEXT, 1, "mine")]
    with pytest.raises(TooManyRefusals):
        session.to_server(wrong)


def test_after_too_many_refusals_the_next_wrong_token_is_refused_too(session: Pair) -> None:
    wrong = encode_message(7, "mine?", token=WRONG)
    session.to_server(wrong * 2)
    for _ in range(2):
        with pytest.raises(TooManyRefusals):
            session.to_server(wrong)


def test_bad_text_is_refused_and_does_not_count_as_a_wrong_token(session: Pair) -> None:
    bad = encode(Kind.MESSAGE, 1, b"\xff", TEXT, TOKEN)
    assert len(refusals(session.to_server(bad * conversation.REFUSAL_LIMIT))) == conversation.REFUSAL_LIMIT


def test_a_message_after_the_proof_is_read_only_after_welcome(pair: Pair) -> None:
    proof = encode(Kind.CHALLENGE, 1, bodies.encode(BODIES[Side.CLIENT, Kind.CHALLENGE]))
    pair.server.feed(proof + encode_message(2, "too early?", token=TOKEN))
    assert isinstance(pair.server.next(), Control)
    pair.server.welcome(1, WELCOME, TOKEN)
    assert pair.server.next() == Frame(Kind.MESSAGE, TEXT, 2, "too early?")


# --- what the server says -----------------------------------------------------------------------------------


def test_a_second_hello_ends_the_connection(pair: Pair) -> None:
    hello = pair.server.hello(HELLO)
    pair.to_client(hello)
    with pytest.raises(ProtocolError, match="HELLO came twice"):
        pair.to_client(hello)


def test_a_server_with_other_versions_is_refused(pair: Pair) -> None:
    with pytest.raises(VersionUnsupported, match="2, 3"):
        pair.to_client(pair.server.hello(msgspec.structs.replace(HELLO, versions=[2, 3])))


def test_a_second_welcome_ends_the_connection(session: Pair) -> None:
    with pytest.raises(FrameUnexpected, match="WELCOME"):
        session.to_client(session.server.welcome(2, WELCOME, WRONG))
    assert session.client.token == TOKEN


def test_an_answer_before_the_welcome_ends_the_connection(pair: Pair) -> None:
    with pytest.raises(FrameUnexpected, match="MESSAGE"):
        pair.to_client(pair.server.answer(1, "hello"))


@pytest.mark.parametrize("phase", ["before sign-in", "in a session"])
def test_the_client_gets_the_text_of_a_refusal(pair: Pair, phase: str) -> None:
    if phase == "in a session":
        pair.sign_in()
    russian = {TryLater.sentence: "Сейчас нельзя.", TryLater.hint: "Через {wait} с."}
    data = pair.server.error(9, TryLater(wait=4), lambda message: russian[message])
    (event,) = pair.to_client(data)
    assert event == Control(
        Kind.ERROR, 9, Error(code="try-later", text="Сейчас нельзя.", hint="Через 4 с.", wait=4)
    )
    assert isinstance(event, Control)
    assert isinstance(event.body, Error)
    error = from_wire(event.body.code, event.body.text, event.body.hint, event.body.wait)
    assert isinstance(error, ServerError)
    assert (str(error), error.wait) == ("Сейчас нельзя. Через 4 с.", 4)


# --- limits -------------------------------------------------------------------------------------------------


def test_both_sides_keep_the_message_limit() -> None:
    pair = Pair(server=ServerConversation(2048)).sign_in()
    pair.client = ClientConversation()
    limits = msgspec.structs.replace(HELLO.limits, message=2048)
    pair.to_client(pair.server.hello(msgspec.structs.replace(HELLO, limits=limits)))
    pair.to_client(encode(Kind.WELCOME, 1, bodies.encode(WELCOME)))

    most = "a" * 2048
    assert len(pair.to_server(pair.client.message(most)[1])) == 1
    assert len(pair.to_client(pair.server.answer(1, most))) == 1
    with pytest.raises(MessageTooLarge):
        pair.to_server(pair.client.message(most + "a")[1])
    with pytest.raises(MessageTooLarge):
        pair.to_client(pair.server.answer(2, most + "a"))


def test_a_client_accepts_no_limit_above_the_maximum(pair: Pair) -> None:
    limits = msgspec.structs.replace(HELLO.limits, message=2**32 - 1)
    pair.to_client(pair.server.hello(msgspec.structs.replace(HELLO, limits=limits)))
    pair.to_client(pair.server.welcome(1, WELCOME, TOKEN))
    with pytest.raises(MessageTooLarge) as caught:
        pair.to_client((8 + MESSAGE_LIMIT_MOST + 1).to_bytes(4) + encode_message(1, b"")[4:])
    assert caught.value.fields["limit"] == MESSAGE_LIMIT_MOST


# --- ids and identity of what is said -----------------------------------------------------------------------


def test_ids_count_up_and_skip_0_when_they_wrap() -> None:
    client = ClientConversation()
    assert [client.next_id() for _ in range(3)] == [1, 2, 3]
    client._id = LAST_ID - 1
    assert [client.next_id() for _ in range(2)] == [LAST_ID, 1]


def test_no_token_shows_in_the_repr_of_an_event(pair: Pair) -> None:
    _, data = pair.client.resume(TOKEN, Resume())
    resumed = pair.to_server(data)
    welcomed = pair.to_client(pair.server.hello(HELLO) + pair.server.welcome(1, WELCOME, TOKEN))
    assert "TTTT" not in repr(resumed) + repr(welcomed) + repr(pair.client)
    assert "Control(kind=0x06, id=1, Resume(" in repr(resumed)
