"""Sessions: the token of every message, leaving, losing the link, taking it up again, the end."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antiphon.wire.bodies import Error, Resume, ServerBye, Welcome
from antiphon.wire.frames import HEADER, Frame, encode
from antiphon.wire.kinds import TOKEN_SIZE, Flag, Kind
from support.joined import JoinedClient, JoinedServer, joined
from support.processes import PASSWORD
from support.serving import seed

handled: list[str | bytes] = []
"""What has reached the service of `server`."""


def note(message: str | bytes) -> str | bytes:
    handled.append(message)
    return message


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sessions") / "data"


@pytest.fixture(scope="module")
def pool(data: Path) -> Iterator[bytes]:
    """Sessions of one who never signs in, which would end all but ten of them; each test takes its own."""
    seed(data)
    return iter(seed(data, "inside", sessions=40))


@pytest.fixture(scope="module")
def server(data: Path, pool: Iterator[bytes]) -> Iterator[JoinedServer]:
    with joined(data, note, plain=True) as running:
        yield running


@pytest.fixture
def token(pool: Iterator[bytes]) -> bytes:
    return next(pool)


def refusal(client: JoinedClient) -> Error:
    event = client.body()
    assert isinstance(event, Error), event
    return event


def resumed(server: JoinedServer, token: bytes) -> str:
    """Return what becomes of a RESUME: "welcome", or the code of the refusal."""
    with server.client() as client:
        client.hello()
        body = client.resume(token)
        return body.code if isinstance(body, Error) else "welcome"


# --- the token of every message -----------------------------------------------------------------------------


def random_token(server: JoinedServer, own: bytes, other: bytes) -> bytes:
    return secrets.token_bytes(TOKEN_SIZE)


def truncated_token(server: JoinedServer, own: bytes, other: bytes) -> bytes:
    return own[:-1]


def no_token(server: JoinedServer, own: bytes, other: bytes) -> bytes:
    return b""


def zeros(server: JoinedServer, own: bytes, other: bytes) -> bytes:
    return bytes(TOKEN_SIZE)


def altered_token(server: JoinedServer, own: bytes, other: bytes) -> bytes:
    return own[:-1] + bytes([own[-1] ^ 1])


def token_of_another_session(server: JoinedServer, own: bytes, other: bytes) -> bytes:
    return other


def token_of_an_ended_session(server: JoinedServer, own: bytes, other: bytes) -> bytes:
    with server.session(other) as client:
        client.leave()
    return other


@pytest.mark.parametrize(
    "forge",
    [
        random_token, truncated_token, no_token, zeros, altered_token, token_of_another_session,
        token_of_an_ended_session,
    ],
)  # fmt: skip
def test_a_message_without_its_token_is_refused_alike_and_never_reaches_the_service(
    server: JoinedServer, pool: Iterator[bytes], forge: Callable[[JoinedServer, bytes, bytes], bytes]
) -> None:
    own, other = next(pool), next(pool)
    forged = forge(server, own, other)
    with server.session(own) as client:
        first = "one" if own.endswith(b"a") else "a"  # or it would complete the truncated token
        id = client.message_with(forged, f"{first} message long enough to hold the bytes of a token")
        client.send(client.conversation.message("the next one")[1])
        refused = refusal(client)
        assert (refused.code, refused.wait) == ("token-refused", 0)
        assert client.answer(id + 1) == "the next one"
        client.leave()
    assert handled[-1] == "the next one"
    assert not any("long enough" in str(message) for message in handled)


def test_all_these_refusals_are_the_same_bytes(server: JoinedServer, pool: Iterator[bytes]) -> None:
    own, other = next(pool), next(pool)
    told = set()
    for forge in (random_token, zeros, altered_token, token_of_another_session, token_of_an_ended_session):
        with server.session(own) as client:
            client.message_with(forge(server, own, other), "x")
            told.add(refusal(client))
    assert len(told) == 1


def test_a_frame_too_short_for_a_token_ends_the_connection_and_reaches_nobody(
    server: JoinedServer, token: bytes
) -> None:
    before = len(handled)
    with server.session(token) as client:
        client.send(encode(Kind.MESSAGE, 1, token[:8]))
        assert client.ended_with() == "frame-invalid"
    assert len(handled) == before


def test_the_third_wrong_token_ends_the_connection_and_not_the_session(server: JoinedServer, token: bytes) -> None:
    before = len(handled)
    with server.session(token) as client:
        for _ in range(3):
            client.message_with(secrets.token_bytes(TOKEN_SIZE), "x")
        client.send(client.conversation.message("too late")[1])
        assert [refusal(client).code for _ in range(3)] == ["token-refused"] * 2 + ["too-many-refusals"]
        client.closed()
    assert len(handled) == before
    assert resumed(server, token) == "welcome"


def test_a_token_is_fresh_at_each_sign_in_and_never_the_clients_choice(server: JoinedServer, token: bytes) -> None:
    tokens = {token}
    for _ in range(2):
        with server.client() as client:
            welcome = client.sign_in("ann", PASSWORD)
            assert welcome.token is not None
            assert len(welcome.token) == TOKEN_SIZE
            client.message_with(token, "the token of an earlier session of the same person")
            assert refusal(client).code == "token-refused"
            tokens.add(welcome.token)
            client.leave()
    assert len(tokens) == 3


def test_a_sign_in_that_names_its_own_token_is_refused(server: JoinedServer) -> None:
    chosen = b"0123456789abcdef"
    with server.client() as client:
        client.hello()
        assert resumed(server, chosen) == "session-ended"
        body = b'{"mechanism":"SCRAM-SHA-256","data":"","token":"MDEyMzQ1Njc4OWFiY2RlZg=="}'
        client.send(encode(Kind.AUTHENTICATE, 1, body))
        assert client.ended_with() == "body-invalid"
    assert resumed(server, chosen) == "session-ended"


def test_only_a_hash_of_the_token_is_kept(data: Path, server: JoinedServer) -> None:
    with server.client() as client:
        token = client.sign_in("ann", PASSWORD).token
        assert token is not None
        client.ask("hello")
        files = [path for path in data.rglob("*") if path.is_file()]
        assert {"sessions.db", "server.log", "secret.key"} <= {path.name for path in files}
        for path in files:
            kept = path.read_bytes()
            assert token not in kept, path
            assert token.hex() not in kept.decode("latin-1").lower(), path
        client.leave()


# --- leaving, and a link that is lost -----------------------------------------------------------------------


def test_after_goodbye_the_token_is_refused(server: JoinedServer, token: bytes) -> None:
    with server.session(token) as client:
        client.leave()
    assert resumed(server, token) == "session-ended"


def test_a_goodbye_other_than_leaving_keeps_the_session(server: JoinedServer, token: bytes) -> None:
    with server.session(token) as client:
        client.send(client.conversation.bye("drained"))
        client.closed()
    assert resumed(server, token) == "welcome"


def test_a_link_that_is_lost_keeps_the_session_and_its_token(server: JoinedServer, token: bytes) -> None:
    with server.session(token) as client:
        assert client.ask("before") == "before"
    with server.session(token) as client:
        assert client.token == token
        assert client.ask("after") == "after"


def test_resume_answers_without_a_token(server: JoinedServer, token: bytes) -> None:
    with server.client() as client:
        client.hello()
        welcome = client.resume(token)
        assert isinstance(welcome, Welcome)
        assert (welcome.name, welcome.first, welcome.token, welcome.data) == ("inside", False, None, None)


def test_a_resume_takes_the_session_away_from_the_connection_that_holds_it(
    server: JoinedServer, token: bytes
) -> None:
    with server.session(token) as old, server.session(token) as new:
        farewell = old.body()
        assert farewell == ServerBye(reason="replaced")
        old.closed()
        assert new.ask("mine now") == "mine now"


def test_what_the_old_connection_still_sends_is_not_handled(server: JoinedServer, token: bytes) -> None:
    with server.session(token) as old, server.session(token) as new:
        old.send(old.conversation.message("from the old one")[1])
        old.closed()
        assert new.ask("from the new one") == "from the new one"
    assert "from the old one" not in handled


def test_a_resume_inside_a_session_ends_the_connection(server: JoinedServer, token: bytes) -> None:
    with server.session(token) as client:
        client.send(client.conversation.resume(token, Resume())[1])
        assert client.ended_with() == "frame-unexpected"


def test_a_wrong_token_leaves_the_way_open_for_the_right_one(server: JoinedServer, token: bytes) -> None:
    with server.client() as client:
        client.hello()
        refused = client.resume(secrets.token_bytes(TOKEN_SIZE))
        assert isinstance(refused, Error)
        assert isinstance(client.resume(token), Welcome)


# --- over a restart -----------------------------------------------------------------------------------------


def test_a_session_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    token = seed(tmp_path / "data")[0]
    for _ in range(2):
        with joined(tmp_path / "data") as server:
            assert resumed(server, token) == "welcome"


# --- the end of a session -----------------------------------------------------------------------------------


def test_a_push_is_handled_and_not_answered(server: JoinedServer, token: bytes) -> None:
    with server.session(token) as client:
        body = token + b"pushed"
        client.send(HEADER.pack(8 + len(body), Kind.MESSAGE, Flag.TEXT, 0, 0) + body)
        assert client.ask("asked") == "asked"
    assert handled[-2:] == ["pushed", "asked"]


def test_a_push_with_a_wrong_token_is_dropped_without_a_word(server: JoinedServer, token: bytes) -> None:
    with server.session(token) as client:
        client.send(encode(Kind.MESSAGE, 0, bytes(TOKEN_SIZE) + b"forged push"))
        assert client.ask("asked") == "asked"
    assert b"forged push" not in handled


def test_many_who_take_up_one_session_leave_it_with_one(server: JoinedServer, token: bytes) -> None:
    clients = [server.client() for _ in range(8)]
    for client in clients:
        client.hello()
        client.send(client.conversation.resume(token, Resume())[1])
    assert all(isinstance(client.body(), Welcome) for client in clients)
    for client in clients:
        client.send(client.conversation.message("mine?")[1])
    holders = [client for client in clients if isinstance(client.next(), Frame)]  # the others get BYE
    for client in clients:
        client.close()
    assert len(holders) == 1


def test_a_session_ends_after_its_time_in_all_also_while_it_is_in_use(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with joined(tmp_path / "data", session_total=600) as server:
        with server.client() as client:
            welcome = client.sign_in("ann", PASSWORD)
            assert welcome.token is not None
            assert welcome.lifetimes.total == 600
            client.idle(599)
            assert client.ask("x") == "x"
            assert client.body() == ServerBye(reason="expired")
            client.closed()
            assert 600 <= server.now < 601
        assert resumed(server, welcome.token) == "session-ended"


def test_a_session_without_a_connection_ends_after_its_time(tmp_path: Path) -> None:
    long, short = seed(tmp_path / "data", "ann", age=61)[0], seed(tmp_path / "data", "bob", age=1)[0]
    with joined(tmp_path / "data", session_unheld=60) as server:
        assert resumed(server, long) == "session-ended"
        assert resumed(server, short) == "welcome"


def test_a_session_that_is_held_does_not_end_for_want_of_a_connection(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", session_unheld=60) as server, server.session(token) as holder:
        holder.idle(200)
        assert holder.ask("x") == "x"
        assert resumed(server, token) == "welcome"


def test_the_time_without_a_connection_begins_when_it_is_lost(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", session_unheld=300) as server:
        unheld = server.settings.session_unheld
        client = server.session(token)
        client.idle(60)
        client.cut()
        server.let_pass(unheld - 10)
        client = server.session(token)  # longer than that after it was opened
        client.cut()
        server.let_pass(unheld + 10)
        assert resumed(server, token) == "session-ended"
