"""The blocking client against real servers, and against ones that are none, lie, or stop."""

import contextlib
import itertools
import math
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from antiphon.address import Address
from antiphon.blocking import Password, Session, SessionInfo, connect
from antiphon.client.blocking import session as blocking_session
from antiphon.client.blocking.connection import BlockingConnection
from antiphon.client.blocking.dial import dial
from antiphon.client.blocking.reconnect import BlockingReconnector
from antiphon.client.protocol.window import WINDOW, WINDOW_BYTES
from antiphon.client.trust import KnownServers
from antiphon.errors import (
    AntiphonError,
    ConnectionLost,
    ConnectRefused,
    HostUnknown,
    InputMissing,
    MessageTooLarge,
    NameInvalid,
    NotAntiphon,
    NotText,
    OutcomeUnknown,
    PasswordInvalid,
    PeerSilent,
    PeerTooSlow,
    ProtocolError,
    RegistrationClosed,
    ServerKeyChanged,
    ServerKeyUnknown,
    ServerStopping,
    ServiceFailed,
    SessionEnded,
    SessionReplaced,
    SettingInvalid,
    SignInRefused,
    TimedOut,
    TlsFailed,
    VersionUnsupported,
)
from antiphon.services import Answer
from antiphon.wire.bodies import Authenticate, Limits, Scram, Welcome
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame, Payload, encode, encode_message
from antiphon.wire.kinds import KIB, Flag, Kind
from support.certificate_authority import issue_certificate
from support.fake_servers import Fake, Peer, fake, welcome
from support.hostile_servers import HOSTILE
from support.processes import PASSWORD
from support.serving import Serving, seed, serving

LAST = int(Flag.LAST)
WRONG = "an entirely other one"
KEY = "sha256:" + "A" * 43


def service(message: Payload) -> Answer:
    if message == "none":
        return None
    if message == "fail":
        raise RuntimeError("a service's own fault")
    if message == "count":
        return str(len(handled))
    handled.append(message)
    return message


handled: list[Payload] = []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serve over TLS, with ann known."""
    folder = tmp_path_factory.mktemp("blocking") / "data"
    seed(folder)
    with serving(folder, service) as running:
        yield running


@pytest.fixture(scope="module")
def ann(server: Serving) -> Iterator[Session]:
    """Sign ann in, once for all tests that only ask."""
    with connect(str(replace(server.address, name="ann")), password=PASSWORD) as session:
        yield session


@pytest.fixture
def known(tmp_path: Path) -> Path:
    return tmp_path / "known_servers"


# --- asking -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["hello", "Привет, мир", "", b"\x00\xff", b""])
def test_a_message_is_answered(ann: Session, message: Payload) -> None:
    assert ann.ask(message) == message


def test_a_service_that_gives_no_answer_is_none(ann: Session) -> None:
    assert ann.ask("none") is None
    assert list(ann.ask_stream("none")) == []


def test_a_service_that_fails_is_told_and_the_session_goes_on(ann: Session) -> None:
    with pytest.raises(ServiceFailed):
        ann.ask("fail")
    with pytest.raises(ServiceFailed):
        list(ann.ask_stream("fail"))
    assert ann.ask("hello") == "hello"


def test_many_messages_are_answered_in_order(ann: Session) -> None:
    messages = [str(number) for number in range(5 * WINDOW)]
    assert list(ann.ask_many(messages)) == messages


def test_many_large_messages_do_not_wait_for_each_other(ann: Session) -> None:
    messages = [bytes([number % 256]) * 128 * KIB for number in range(WINDOW)]
    assert list(ann.ask_many(messages)) == messages


def test_many_large_messages_are_not_all_on_their_way_at_once(ann: Session) -> None:
    size, ahead = 96 * KIB, 0

    def messages() -> Iterator[bytes]:
        nonlocal ahead
        for number in range(40):
            ahead += 1
            assert (ahead - 1) * size <= WINDOW_BYTES + size
            yield bytes([number]) * size

    for _ in ann.ask_many(messages()):
        ahead -= 1
    assert ahead == 0


def test_many_that_are_left_early_disturb_nobody(ann: Session) -> None:
    for answer in ann.ask_many(str(number) for number in itertools.count()):
        if answer == "1000":
            break
    assert ann.ask("hello") == "hello"


def test_the_first_refusal_among_many_comes_in_its_place(ann: Session) -> None:
    answers = ann.ask_many(["a", "none", "fail", "b"])
    assert (next(answers), next(answers)) == ("a", None)
    with pytest.raises(ServiceFailed):
        next(answers)
    assert ann.ask("hello") == "hello"


def test_what_is_sent_is_handled_and_not_answered(ann: Session) -> None:
    before = ann.ask("count")
    for message in ("one", "fail", b"two"):
        ann.send(message)
    assert int(str(ann.ask("count"))) - int(str(before)) == 2
    with pytest.raises(TimedOut):
        ann.receive(timeout=0.05)


def test_what_cannot_be_sent_among_many_is_refused_in_its_place(ann: Session) -> None:
    answers = ann.ask_many(["a", "b", "\udc00", "c"])
    assert (next(answers), next(answers)) == ("a", "b")
    with pytest.raises(NotText):
        next(answers)


@pytest.mark.parametrize(
    ("message", "error"),
    [("x" * (1 << 20) + "x", MessageTooLarge), ("\udc00", NotText), (object(), TypeError), (None, TypeError)],
    ids=["too large", "half a character", "no JSON", "nothing"],
)
def test_what_cannot_be_sent_is_refused_here_and_the_session_goes_on(
    ann: Session, message: Any, error: type[Exception]
) -> None:
    for ask in (ann.ask, ann.send, ann.ask_stream):
        with pytest.raises(error):
            ask(message)
    assert ann.ask("x" * (1 << 20)) == "x" * (1 << 20)


# --- the way in ---------------------------------------------------------------------------------------------


def test_a_session_knows_who_it_is_and_when_the_last_visit_was(tmp_path: Path, known: Path) -> None:
    seed(tmp_path / "data")
    before = datetime.now(UTC)
    with serving(tmp_path / "data") as server:
        with connect(server.address, name="Ann", password=Password(PASSWORD), known_servers=known) as session:
            first = session.info
            assert (first.name, first.first, first.last_visit, first.last_address) == ("ann", True, None, None)
            assert first.greeting == "Welcome, ann! This is your first visit."
            assert (first.lifetimes.unheld, first.lifetimes.total, first.must_change) == (1800, 86400, False)
            shown = repr(session)
        with pytest.raises(SignInRefused):
            connect(server.address, name="ann", password=WRONG, known_servers=known)
        with connect(server.address, name="ann", password=PASSWORD, known_servers=known, language="ru") as session:
            again = session.info
        assert server.read(lambda server: server.addresses)  # it is there, and its sessions are over
        assert (again.first, again.last_address) == (False, "127.0.0.1")
        assert again.refusals == 1, "a refused sign-in is not tried again"
        assert again.last_visit is not None
        assert before < again.last_visit < datetime.now(UTC)
        assert again.greeting.startswith("С возвращением")
        assert shown == f"<Session of ann at tls://127.0.0.1:{server.address.port}>"
    assert not known.exists(), "a library writes nothing down"


def test_a_session_that_was_closed_is_over(server: Serving) -> None:
    session = connect(replace(server.address, name="ann"), password=PASSWORD)
    token = session._connection.token
    session.close()
    session.close()
    calls: list[Callable[[], object]] = [lambda: session.ask("x"), lambda: session.send("x"), session.heartbeat]
    for call in calls:
        with pytest.raises(SessionEnded):
            call()
    assert list(session) == []
    with server.client() as raw:
        raw.hello()
        assert getattr(raw.resume(token), "code", "") == "session-ended"


def test_a_name_that_may_be_new_is_registered_once(tmp_path: Path, known: Path) -> None:
    with serving(tmp_path / "data") as server:
        for _ in range(2):
            with connect(
                server.address, name="вера", password=PASSWORD, register=True, known_servers=known
            ) as session:
                assert session.ask("hello") == "hello"
                assert session.info.name == "вера"
        with pytest.raises(PasswordInvalid):
            connect(server.address, name="boris", password="short", register=True, known_servers=known)
        with pytest.raises(SignInRefused):
            connect(server.address, name="boris", password=PASSWORD, known_servers=known)


def test_nobody_registers_where_registration_is_closed(tmp_path: Path, known: Path) -> None:
    with serving(tmp_path / "data", registration="closed") as server, pytest.raises(RegistrationClosed):
        connect(server.address, name="ann", password=PASSWORD, register=True, known_servers=known)


def test_a_password_is_asked_for_when_the_server_is_trusted_and_no_connection_is_held(tmp_path: Path) -> None:
    gone, asked = threading.Event(), threading.Event()

    def play(peer: Peer) -> None:
        peer.hello()
        if gone.is_set():
            assert asked.is_set()
            peer.control()
            peer.sock.close()
        else:
            peer.rest()
            gone.set()

    def ask() -> str:
        assert gone.wait(60)
        asked.set()
        return PASSWORD

    with fake(play) as there:
        with pytest.raises(ConnectionLost):
            connect(there.address, name="ann", password=ask, known_servers=tmp_path / "known")
        assert len(there.peers) == 2


def test_a_password_that_is_asked_for_signs_in(server: Serving) -> None:
    with connect(server.address, name="ann", password=lambda: PASSWORD) as session:
        assert session.ask("hello") == "hello"


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"name": "an n", "password": PASSWORD}, NameInvalid, "a space"),
        ({"name": "ann", "password": PASSWORD, "timeout": 0}, SettingInvalid, "timeout"),
        ({"name": "ann", "password": PASSWORD, "timeout": math.nan}, SettingInvalid, "timeout"),
    ],
)
def test_what_is_wrong_is_told_before_anybody_is_called(
    arguments: dict[str, object], error: type[AntiphonError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        connect("tcp://host.invalid", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"password": PASSWORD}, "The name is missing.*name=, or name@host"),
        ({"name": "ann"}, "The password is missing.*password="),
    ],
)
def test_what_is_missing_is_told_once_the_server_wants_it(
    server: Serving, arguments: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputMissing, match=sentence):
        connect(server.address, **arguments)  # type: ignore[arg-type]


def test_an_empty_password_is_nobodys(tmp_path: Path) -> None:
    with fake(lambda peer: assert_nothing_more(peer, peer.hello)) as there, pytest.raises(PasswordInvalid):
        connect(there.address, name="ann", password="", known_servers=tmp_path / "known")


def test_the_password_is_in_nothing_that_can_be_printed(ann: Session) -> None:
    seen, waiting = set[int](), [ann]
    while waiting:
        thing: object = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | str | bytes | int):
            assert PASSWORD not in str(thing)
            continue
        seen.add(id(thing))
        assert PASSWORD not in repr(thing)
        waiting += getattr(thing, "__dict__", {}).values()


# --- whom to trust ------------------------------------------------------------------------------------------


def assert_nothing_more(peer: Peer, first: Callable[[], object] = lambda: None) -> None:
    first()
    assert peer.rest() == b""


def test_a_server_that_nothing_speaks_for_gets_nothing_and_the_sentence_says_how(
    tmp_path: Path, known: Path
) -> None:
    with fake(lambda peer: assert_nothing_more(peer, peer.hello), tmp_path / "data") as there:
        stranger = replace(there.address, fingerprint=None)
        with pytest.raises(ServerKeyUnknown) as caught:
            connect(stranger, name="ann", password=PASSWORD, known_servers=known)
    assert str(there.address.fingerprint) in str(caught.value)
    assert "Ask the operator for the whole address, which ends in #sha256:" in str(caught.value)


def test_a_server_whose_key_is_not_the_addresss_gets_nothing(tmp_path: Path, known: Path) -> None:
    with fake(assert_nothing_more, tmp_path / "data") as there:
        for expected in (replace(there.address, fingerprint=KEY), replace(there.address, fingerprint=None)):
            KnownServers(known).remember("127.0.0.1", KEY)
            with pytest.raises(ServerKeyChanged):
                connect(expected, name="ann", password=PASSWORD, known_servers=known)


def test_a_server_that_is_known_is_trusted(server: Serving, known: Path) -> None:
    KnownServers(known).remember("127.0.0.1", str(server.address.fingerprint))
    address = replace(server.address, fingerprint=None)
    with connect(address, name="ann", password=PASSWORD, known_servers=str(known)) as session:
        assert session.ask("hello") == "hello"


def test_a_server_that_the_authorities_vouch_for_is_trusted(
    tmp_path: Path, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, fingerprint = issue_certificate(tmp_path / "data")
    seed(tmp_path / "data")
    with serving(tmp_path / "data") as server:
        address = f"ann@localhost:{server.address.port}"
        with pytest.raises(ServerKeyUnknown, match=fingerprint):
            connect(address, password=PASSWORD, known_servers=known)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        with connect(address, password=PASSWORD, known_servers=known) as session:
            assert session.ask("hello") == "hello"


# --- how a connection comes about ---------------------------------------------------------------------------


def dialled(there: Fake, seconds: float = 20) -> BlockingConnection:
    return dial(there.address, KnownServers(Path("nothing")), seconds).connection


def test_a_server_that_drops_us_at_once_is_tried_again() -> None:
    calls: list[Peer] = []

    def drop_twice(peer: Peer) -> None:
        calls.append(peer)
        if len(calls) > 2:
            assert_nothing_more(peer, peer.hello)

    with fake(drop_twice) as there:
        dialled(there).abort()
    assert len(calls) == 3


def test_a_server_that_always_drops_us_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.client.dialling.PAUSES", (0.01, 0.01))
    with fake(lambda peer: None) as there:
        with pytest.raises(NotAntiphon):
            dialled(there)
        assert len(there.peers) == 3


HUGE = struct.pack(">IBBHI", 0xFFFFFFFF, Kind.HELLO, 0, 0, 0)


@pytest.mark.parametrize(
    "first", [HUGE, encode_message(1, "hello", LAST), b"SSH-2.0-OpenSSH_9.9\r\n", encode(Kind.HELLO, 0, b"{}")]
)
def test_what_is_no_hello_is_refused_at_once_and_nothing_is_sent(first: bytes) -> None:
    with fake(lambda peer: assert_nothing_more(peer, lambda: peer.send(first))) as there:
        with pytest.raises(NotAntiphon):
            dialled(there)
        assert len(there.peers) == 1


def test_a_server_of_later_versions_is_told_as_such() -> None:
    with fake(lambda peer: peer.hello(versions=[2, 3])) as there, pytest.raises(VersionUnsupported):
        dialled(there)


def test_a_host_of_several_addresses_is_reached_at_the_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake(lambda peer: assert_nothing_more(peer, peer.hello)) as there:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            nobody = listener.getsockname()
        (found,) = socket.getaddrinfo("127.0.0.1", there.address.port, type=socket.SOCK_STREAM)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(*found[:4], nobody), found])
        dialled(there).abort()


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_server_that_says_nothing_is_given_up_in_time(scheme: str) -> None:
    with fake(lambda peer: assert_nothing_more(peer, peer.rest)) as there:
        silent = Address(scheme, "127.0.0.1", there.address.port)  # type: ignore[arg-type]
        with pytest.raises(TimedOut, match=r"did not answer within 0\.2 seconds"):
            dial(silent, KnownServers(Path("nothing")), 0.2)


def test_a_server_without_tls_and_a_host_without_a_server_are_told() -> None:
    with fake(lambda peer: peer.send(b"220 ready\r\n" * 100)) as there, pytest.raises(TlsFailed):
        connect(replace(there.address, scheme="tls"), name="ann", password=PASSWORD)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectRefused):
        connect(f"tcp://ann@localhost:{port}", password=PASSWORD)
    with pytest.raises(HostUnknown):
        connect("tcp://ann@host.invalid", password=PASSWORD)
    with pytest.raises(HostUnknown):
        connect(Address("tls", "я" * 70, 1, "ann"), password=PASSWORD)


# --- hostile servers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("play", "error"), HOSTILE)
def test_a_hostile_server_is_refused_and_gets_nothing_more(
    play: Callable[[Peer], None], error: type[AntiphonError]
) -> None:
    with fake(lambda peer: assert_nothing_more(peer, lambda: play(peer))) as there, pytest.raises(error):
        connect(there.address, name="ann", password=PASSWORD)


def test_no_verifier_is_made_with_absurd_parameters() -> None:
    def play(peer: Peer) -> None:
        peer.hello(scram=Scram(salt_length=32, iterations=1))
        control = peer.control()
        peer.send(encode(Kind.IDENTIFY, control.id, b'{"name":"ann","free":true}'))
        assert_nothing_more(peer)

    with fake(play) as there, pytest.raises(ProtocolError):
        connect(there.address, name="ann", password=PASSWORD, register=True)


def test_a_last_visit_that_is_no_moment_is_refused() -> None:
    opened = welcome(None, "")
    assert SessionInfo.of(opened).last_visit is None
    with pytest.raises(ProtocolError):
        SessionInfo.of(
            Welcome(**{name: getattr(opened, name) for name in opened.__struct_fields__} | {"last_visit": "x"})
        )


# --- a session with a server that is made up ----------------------------------------------------------------


def let_in(peer: Peer, **fields: object) -> None:
    """Greet, and open a session for whoever asks first."""
    peer.hello(**fields)
    peer.send(peer.conversation.welcome(peer.control().id, welcome(None, ""), bytes(16)))


def inside(there: Fake, timeout: float = 20) -> Session:
    """Return a session with a fake that lets in whoever asks; its link does not come back."""
    known = KnownServers(Path("nothing"))
    reached = dial(there.address, known, timeout)
    opened = reached.connection.request(Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=b""))
    assert isinstance(opened, Welcome)
    return Session(
        reached.connection, opened, BlockingReconnector(there.address, known, reached, give_up=0), timeout
    )


def message(peer: Peer) -> Frame:
    """Return the client's next message; heartbeats are passed over."""
    while True:
        event = peer.next()
        assert isinstance(event, Frame), event
        if event.kind == Kind.MESSAGE:
            return event


def unknown(session: Session) -> BaseException | None:
    """Ask what will have no answer; return why."""
    with pytest.raises(OutcomeUnknown) as caught:
        session.ask("hello")
    return caught.value.__cause__


def unknown_of_many(session: Session) -> BaseException | None:
    """Do the same, with many."""
    with pytest.raises(OutcomeUnknown) as caught:
        list(session.ask_many("ab"))
    return caught.value.__cause__


def goodbye(peer: Peer) -> str:
    """Return why the client leaves; that it takes back what it asked is passed over."""
    control = peer.next()
    while isinstance(control, Frame) and control.kind == Kind.CANCEL:
        control = peer.next()
    assert isinstance(control, Control), control
    return str(getattr(control.body, "reason", ""))


def test_every_answer_to_one_message_comes_from_its_stream() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        first = message(peer)
        peer.send(
            b"".join(encode_message(first.id, str(number)) for number in range(3)) + encode(Kind.END, first.id)
        )
        second = message(peer)
        peer.send(encode_message(second.id, "a") + encode_message(second.id, b"b", LAST))
        assert goodbye(peer) == "left"

    with fake(play) as there, inside(there) as session:
        assert list(session.ask_stream("1")) == ["0", "1", "2"]
        assert list(session.ask_stream("2")) == ["a", b"b"]


def test_many_messages_are_at_most_256_ahead_of_the_answers() -> None:
    taken: list[object] = []

    def play(peer: Peer) -> None:
        let_in(peer)
        for _ in range(2):
            asked = [message(peer) for _ in range(WINDOW)]
            peer.send(b"".join(peer.conversation.answer(frame.id, frame.payload) for frame in asked))

    def messages() -> Iterator[str]:
        for number in range(2 * WINDOW):
            assert number < len(taken) + WINDOW
            yield str(number)

    with fake(play) as there, inside(there) as session:
        for answer in session.ask_many(messages()):
            taken.append(answer)  # noqa: PERF402 - it is looked at meanwhile
    assert len(taken) == 2 * WINDOW


def test_messages_of_a_list_are_sent_in_one_write_and_those_of_a_generator_as_they_come() -> None:
    came = threading.Event()

    def play(peer: Peer) -> None:
        let_in(peer)
        peer.conversation.feed(peer.sock.recv(65536))  # what one write has brought comes as one piece
        asked = []
        while (event := peer.conversation.next()) is not None:
            assert isinstance(event, Frame)
            asked.append(event)
        assert len(asked) == 100
        peer.send(b"".join(peer.conversation.answer(frame.id, frame.payload) for frame in asked))
        first = message(peer)
        came.set()
        peer.send(b"".join(peer.conversation.answer(frame.id, frame.payload) for frame in (first, message(peer))))

    def messages() -> Iterator[str]:
        yield "first"
        assert came.wait(60)
        yield "second"

    with fake(play) as there, inside(there) as session:
        texts = [str(number) for number in range(100)]
        assert list(session.ask_many(texts)) == texts
        assert list(session.ask_many(messages())) == ["first", "second"]


def test_a_stream_that_is_left_early_disturbs_nobody() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        first = message(peer)
        peer.send(encode_message(first.id, "0") + encode_message(first.id, "1"))
        second = message(peer)
        peer.send(
            encode_message(first.id, "2") + encode(Kind.END, first.id) + encode_message(second.id, "x", LAST)
        )
        third = message(peer)
        peer.send(encode_message(third.id, "y") + encode_message(third.id, "z", LAST))
        assert goodbye(peer) == "left"

    with fake(play) as there, inside(there) as session:
        for answer in session.ask_stream("1"):
            assert answer == "0"
            break
        assert session.ask("2") == "x"
        assert session.ask("3") == "y", "the first one"


def test_what_the_server_says_unasked_is_iterated_over() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        asked = message(peer)
        pushed = [
            encode_message(0, "one", LAST),
            encode_message(asked.id, "answer", LAST),
            encode_message(0, b"two"),
        ]
        peer.send(b"".join(pushed))
        message(peer)
        peer.send(encode_message(0, "three") + peer.conversation.bye("left"))

    with fake(play) as there, inside(there) as session:
        assert session.ask("hello") == "answer"
        assert session.receive() == "one"
        session.send("more")
        pushes = iter(session)
        assert (next(pushes), next(pushes)) == (b"two", "three")
        with pytest.raises(ConnectionLost):  # a goodbye that answers none, and gives no reason
            next(pushes)


def test_a_server_that_speaks_while_we_send_is_heard_before_it_listens() -> None:
    size, count = 1 << 20, 12  # more than two sockets hold

    def play(peer: Peer) -> None:
        let_in(peer, limits=Limits(message=size * count, heartbeat=20.0, silence=40.0))
        peer.send(encode_message(0, bytes(size)) * count)
        before = len(peer.received)
        while len(peer.received) < before + size * count and peer._read():
            pass
        peer.send(peer.conversation.bye("left"))

    with fake(play) as there, inside(there) as session:
        session.send(bytes(size * count))
        assert [len(push) for _, push in zip(range(count), session, strict=False)] == [size] * count


def test_a_session_that_went_on_elsewhere_ends_the_iteration_with_the_reason() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        peer.send(encode_message(0, "one") + peer.conversation.bye("replaced"))

    with fake(play) as there, inside(there) as session:
        pushes = iter(session)
        assert next(pushes) == "one"
        calls: list[Callable[[], object]] = [lambda: next(pushes), lambda: session.ask("x"), session.heartbeat]
        for call in calls:
            with pytest.raises(SessionReplaced):
                call()


def test_a_server_that_stops_still_answers_what_was_asked() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        asked = message(peer)
        peer.send(peer.conversation.bye("drained"))
        assert goodbye(peer) == "drained"
        peer.send(peer.conversation.answer(asked.id, "last"))

    with fake(play) as there, inside(there) as session:
        assert session.ask("hello") == "last"
        calls: list[Callable[[], object]] = [lambda: session.ask("more"), session.receive]
        for call in calls:
            with pytest.raises(ServerStopping):
                call()


def test_a_server_that_stops_between_many_messages_answers_those_it_took() -> None:
    stopping = threading.Event()

    def play(peer: Peer) -> None:
        let_in(peer)
        asked = [message(peer), message(peer)]
        peer.send(peer.conversation.bye("drained"))
        stopping.set()
        assert goodbye(peer) == "drained"
        peer.send(b"".join(peer.conversation.answer(frame.id, frame.payload) for frame in asked))

    def messages() -> Iterator[str]:
        yield from ("one", "two")
        assert stopping.wait(60)
        yield from ("three", "four")

    with fake(play) as there, inside(there) as session:
        answers = session.ask_many(messages())
        assert (next(answers), next(answers)) == ("one", "two")
        with pytest.raises(ServerStopping):
            next(answers)


def test_heartbeats_are_sent_while_an_answer_is_waited_for() -> None:
    def play(peer: Peer) -> None:
        let_in(peer, limits=Limits(message=1024, heartbeat=0.1, silence=40.0))
        asked = message(peer)
        for _ in range(3):
            event = peer.next()
            assert isinstance(event, Frame)
            assert event.kind == Kind.HEARTBEAT
        peer.send(peer.conversation.answer(asked.id, "late"))

    with fake(play) as there, inside(there) as session:
        assert session.ask("hello") == "late"


def test_a_session_with_nothing_to_say_says_that_it_is_there_and_takes_what_came() -> None:
    pushed = threading.Event()

    def play(peer: Peer) -> None:
        let_in(peer)
        peer.send(encode_message(0, "news"))
        pushed.set()
        event = peer.next()
        assert isinstance(event, Frame)
        assert event.kind == Kind.HEARTBEAT
        peer.send(peer.conversation.bye("left"))

    with fake(play) as there, inside(there) as session:
        assert pushed.wait(60)
        session.heartbeat()
        assert session.receive() == "news"


def test_a_server_that_is_silent_is_given_up() -> None:
    def play(peer: Peer) -> None:
        let_in(peer, limits=Limits(message=1024, heartbeat=0.1, silence=0.3))
        peer.rest()

    with fake(play) as there, inside(there) as session:
        with pytest.raises(OutcomeUnknown):
            session.ask("hello")
        with pytest.raises(PeerSilent, match=r"Nothing was received for 0\.3 seconds"):
            session.ask("hello")


def test_a_session_that_was_silent_too_long_hears_why_it_was_cut() -> None:
    cut = threading.Event()

    def play(peer: Peer) -> None:
        let_in(peer)
        peer.send(peer.conversation.error(0, PeerSilent(seconds="40")))
        peer.sock.close()
        cut.set()

    with fake(play) as there, inside(there) as session:
        assert cut.wait(60)
        with pytest.raises(PeerSilent):
            send_on(session)


def send_on(session: Session) -> None:
    """Send until the system says that nobody takes it."""
    for _ in range(1000):
        session.send("hello")


def test_an_answer_that_comes_too_late_is_nobodys() -> None:
    late = threading.Event()

    def play(peer: Peer) -> None:
        let_in(peer)
        first = message(peer)
        assert late.wait(60)
        second = message(peer)
        peer.send(peer.conversation.answer(first.id, "first") + peer.conversation.answer(second.id, "second"))
        assert goodbye(peer) == "left"

    with fake(play) as there, inside(there) as session:
        with pytest.raises(TimedOut):
            session.ask("1", timeout=0.1)
        late.set()
        assert session.ask("2") == "second"


def test_a_server_that_drips_its_answer_does_not_extend_the_time() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        answer = memoryview(peer.conversation.answer(message(peer).id, "x" * 1000))
        stop = threading.Event()
        for at in range(len(answer)):  # 50 seconds
            if stop.wait(0.05):
                break
            peer.send(answer[at : at + 1].tobytes())

    with fake(play) as there:
        session = inside(there)
        with pytest.raises(TimedOut):
            session.ask("hello", timeout=0.3)
        session._connection.abort()


def test_what_nobody_takes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking_session, "BACKLOG_LIMIT", 10_000)

    def play(peer: Peer) -> None:
        let_in(peer)
        asked = message(peer)
        peer.send(encode_message(0, "") * 1000 + peer.conversation.answer(asked.id, "x"))
        peer.rest()

    with fake(play) as there, inside(there) as session:
        assert isinstance(unknown(session), PeerTooSlow)


def test_what_nobody_wants_any_more_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking_session, "BACKLOG_LIMIT", 10_000)

    def play(peer: Peer) -> None:
        let_in(peer)
        first = message(peer)
        peer.send(encode_message(first.id, "one"))
        second = message(peer)
        rest = encode_message(first.id, "x" * 900) * 20 + encode(Kind.END, first.id)
        peer.send(rest + peer.conversation.answer(second.id, "two") + peer.conversation.bye("left"))

    with fake(play) as there, inside(there) as session:
        answers = session.ask_stream("1")
        assert next(answers) == "one"
        del answers
        assert session.ask("2") == "two"


def test_what_is_taken_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking_session, "BACKLOG_LIMIT", 100_000)  # more than is read at once

    def play(peer: Peer) -> None:
        let_in(peer)
        for _ in range(3):
            asked = message(peer)
            peer.send(encode_message(asked.id, "x" * 900) * 200 + encode_message(asked.id, "", LAST))
        while isinstance(peer.next(), Frame):  # ACKs, before the goodbye
            pass
        peer.send(peer.conversation.bye("left"))

    with fake(play) as there, inside(there) as session:
        for _ in range(3):
            assert len(list(session.ask_stream("more"))) == 201


def test_a_text_of_the_servers_that_is_none_ends_the_connection() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        peer.send(encode(Kind.MESSAGE, message(peer).id, b"\xff", LAST | Flag.TEXT))
        peer.rest()

    with fake(play) as there, inside(there) as session:
        assert isinstance(unknown(session), NotText)


def test_a_server_that_vanishes_ends_every_wait() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        peer.sock.close()

    calls: list[Callable[[Session], object]] = [Session.receive, unknown, unknown_of_many]
    for call in calls:
        with fake(play) as there, inside(there) as session:
            with contextlib.suppress(ConnectionLost):
                assert isinstance(call(session), ConnectionLost)
            with pytest.raises(ConnectionLost):
                session.ask("more")


# --- leaving ------------------------------------------------------------------------------------------------


def test_a_block_that_fails_leaves_in_order() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        assert goodbye(peer) == "left"
        peer.send(peer.conversation.bye("left"))
        peer.rest()

    with fake(play) as there, pytest.raises(ZeroDivisionError), inside(there):
        raise ZeroDivisionError


def test_a_server_that_lets_our_goodbye_wait_is_left_without_one() -> None:
    def play(peer: Peer) -> None:
        let_in(peer)
        assert goodbye(peer) == "left"
        peer.rest()

    with fake(play) as there:
        inside(there, timeout=0.3).close()


def test_ctrl_c_says_goodbye_and_waits_for_nobody() -> None:
    interrupted = threading.Event()

    def play(peer: Peer) -> None:
        let_in(peer)
        assert goodbye(peer) == "left"
        assert interrupted.wait(60), "the client waits for us"

    with fake(play) as there:
        with pytest.raises(KeyboardInterrupt), inside(there):
            raise KeyboardInterrupt
        interrupted.set()
