"""Tests of --explain: it shows every frame, no secret in any form, and no control sequence."""

import asyncio
import contextlib
import io
import json
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.client.aio.connect import session_on
from antiphon.client.aio.dial import dial
from antiphon.client.aio.password_change import PasswordChange
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers
from antiphon.identity.passwords import Password
from antiphon.printable import printable
from antiphon.terminal.console import Console
from antiphon.terminal.explain import DUMPED, Explainer, Watched, words
from antiphon.testing import FaultProxy
from antiphon.wire import bodies
from antiphon.wire.frames import HEADER, HEADER_SIZE, encode, encode_message
from antiphon.wire.kinds import TABLE, TOKEN_SIZE, Flag, Kind, Side
from antiphon.wire.secrecy import FIELDS
from support.bodies import BODIES
from support.log_records import spellings
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.sessions import server_here
from support.terminal import Terminal

ADDRESS = "tcp://localhost:7862"
TOKEN = bytes(range(0xA0, 0xA0 + TOKEN_SIZE))
TOKENS = {(row.sender, int(row.kind)) for row in TABLE if row.token}
NEW = "a staple of that battery"


class Paper(Console):
    """A console that records its messages."""

    def __init__(self, language: str) -> None:
        super().__init__(language, may_ask=False)
        self.out = io.StringIO()

    def tell(self, text: str, colour: int | None = None, hang: int = 0) -> None:
        with contextlib.redirect_stderr(self.out):
            super().tell(text, colour, hang)


class Listener:
    """Explains frames and records the explanation."""

    def __init__(self, language: str = "en", *, short: bool = False) -> None:
        self.paper = Paper(language)
        self.explainer = Explainer(self.paper, lambda: 0.0, short=short)

    def watched(self) -> Watched:
        return self.explainer.watch(ADDRESS)

    @property
    def text(self) -> str:
        return self.paper.out.getvalue()

    def take(self) -> list[str]:
        """Return the lines explained since the last call."""
        text, self.paper.out = self.text, io.StringIO()
        return text.splitlines()


@pytest.fixture
def listener() -> Listener:
    return Listener()


def one(side: Side, data: bytes, language: str = "en", *, short: bool = False) -> str:
    """Return the explanation of one frame."""
    listener = Listener(language, short=short)
    watched = listener.watched()
    (watched.sent if side is Side.CLIENT else watched.received)(data)
    return listener.text


# --- what is shown -------------------------------------------------------------------------------------------


def test_a_message_is_shown_in_words_and_in_bytes(listener: Listener) -> None:
    listener.watched().sent(encode_message(5, "Привет", token=TOKEN))
    assert listener.take() == [
        "[   0.000 s] -> MESSAGE  id 5  TEXT  length 36",
        "    A message to the service; its answers carry the same id.",
        "    The client may send it inside a session, with the session's token in front.",
        "    length 00 00 00 24 | kind 10 | flags 01 | reserved 00 00 | id 00 00 00 05",
        "    Text: Привет",
        "    000c  ** ** ** ** ** ** ** **  ** ** ** ** ** ** ** **  |****************|",
        "    001c  d0 9f d1 80 d0 b8 d0 b2  d0 b5 d1 82              |............|",
        "    Hidden: token.",
    ]


def test_a_control_body_is_shown_as_json_too(listener: Listener) -> None:
    listener.watched().received(encode(Kind.BYE, 0, b'{"reason":"closed","text":"at \\u001b six"}'))
    assert listener.take() == [
        "[   0.000 s] <- BYE  id 0  length 50",
        "    The server says goodbye: this is its last frame.",
        "    The server may send it at any time, without a token.",
        "    length 00 00 00 32 | kind 22 | flags 00 | reserved 00 00 | id 00 00 00 00",
        '    {"reason":"closed","text":"at \\u001b six"}',
        '    000c  7b 22 72 65 61 73 6f 6e  22 3a 22 63 6c 6f 73 65  |{"reason":"close|',
        '    001c  64 22 2c 22 74 65 78 74  22 3a 22 61 74 20 5c 75  |d","text":"at \\u|',
        '    002c  30 30 31 62 20 73 69 78  22 7d                    |001b six"}|',
    ]


def test_secrets_are_hidden_in_digits_letters_and_json_by_name(listener: Listener) -> None:
    listener.watched().received(encode(Kind.WELCOME, 3, bodies.encode(BODIES[Side.SERVER, Kind.WELCOME])))
    told = "\n".join(listener.take())
    assert '"token":"***"' in told
    assert '"data":"***"' in told
    assert told.endswith("    Hidden: token, data.")
    assert '22 ** ** ** ** ** **  ** ** ** ** ** ** ** **  |:"**************|' in told
    assert "ba** " not in told


def test_an_ack_tells_its_count(listener: Listener) -> None:
    listener.watched().sent(encode(Kind.ACK, 0, (6).to_bytes(8, "big"), token=TOKEN))
    assert "    Frames received: 6." in listener.take()


@pytest.mark.parametrize(
    ("id", "flags", "meaning"),
    [
        (5, Flag.LAST, "An answer, the last one for this id."),
        (5, 0, "An answer, but not the last one for this id."),
        (0, 0, "A push: the service sends it by itself; id 0 answers no message."),
    ],
)
def test_what_a_message_of_the_server_means_depends_on_id_and_flags(id: int, flags: int, meaning: str) -> None:
    assert f"    {meaning}\n" in one(Side.SERVER, encode_message(id, "x", flags))


@pytest.mark.parametrize(
    ("id", "meaning"),
    [(5, "nothing more comes for this id; the connection stays open"), (0, "with id 0: it ends the connection")],
)
def test_what_an_error_means_depends_on_its_id(id: int, meaning: str) -> None:
    assert meaning in one(Side.SERVER, encode(Kind.ERROR, id, b'{"code":"x","text":"y"}'))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.sender} {row.kind.name}")
def test_every_frame_of_the_table_has_its_words_in_every_language(
    row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = BODIES.get((row.sender, row.kind))
    data = encode(row.kind, 1, bodies.encode(body) if body else b"", token=TOKEN if row.token else b"")
    assert (row.sender, row.kind) in words.MEANINGS
    told = one(row.sender, data).splitlines()
    assert told[0].startswith(f"[   0.000 s] {'->' if row.sender is Side.CLIENT else '<-'} {row.kind.name}  id 1")
    assert ("session's token in front" in told[2]) == row.token
    assert one(row.sender, data, "ru").splitlines()[1:3] != told[1:3]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.sender} {row.kind.name}")
def test_every_frame_of_the_table_is_one_line_in_short(row: Any) -> None:
    body = BODIES.get((row.sender, row.kind))
    data = encode(row.kind, 1, bodies.encode(body) if body else b"", token=TOKEN if row.token else b"")
    for language in ("en", "ru"):
        (line,) = one(row.sender, data, language, short=True).splitlines()
        sign = "->" if row.sender is Side.CLIENT else "<-"
        assert re.fullmatch(rf"\[   0\.000 s\] {sign} {row.kind.name}  id 1  \S.*", line), line


@pytest.mark.parametrize(
    ("side", "data", "line"),
    [
        (Side.CLIENT, encode_message(5, "Привет", token=TOKEN), "-> MESSAGE  id 5  Привет"),
        (Side.SERVER, encode_message(5, b"\xff" * 9), "<- MESSAGE  id 5  bytes: 9"),
        (
            Side.SERVER,
            encode(Kind.ERROR, 3, b'{"code":"busy","text":"x\\n"}'),
            '<- ERROR  id 3  {"code":"busy","text":"x\\n"}',
        ),
        (Side.SERVER, encode(0x81, 7, b"secret"), "<- 0x81  id 7  A kind that this client does not know."),
        (Side.SERVER, b"HTTP/1.1 400 Bad Request", "<- ?"),
    ],
)
def test_in_short_a_message_is_its_text_and_an_error_what_it_holds(side: Side, data: bytes, line: str) -> None:
    assert one(side, data, short=True).splitlines()[0] == f"[   0.000 s] {line}"


def test_in_short_a_wrong_token_and_a_connection_are_told_in_one_line_too() -> None:
    listener = Listener(short=True)
    watched = listener.watched()
    watched.opened(None)
    watched.sent(encode(Kind.RESUME, 1, b"{}", token=TOKEN))
    watched.sent(encode_message(2, "x", token=TOKEN[:-1] + b"\x00"))
    watched.closed()
    assert [line.removeprefix("[   0.000 s] ") for line in listener.take()] == [
        "== connection 1 to tcp://localhost:7862  TCP",
        "-> RESUME  id 1  the session goes on here",
        "-> MESSAGE  id 2  wrong token  x",
        "== connection 1 is closed",
    ]


def test_a_connection_that_is_closed_for_a_question_is_explained_once(listener: Listener) -> None:
    with listener.explainer.before_question():
        pass  # no connection was open
    for _ in range(2):
        watched = listener.watched()
        with listener.explainer.before_question():
            watched.closed()
    first, why, second = listener.take()
    assert first == "[   0.000 s] == connection 1 is closed"
    assert why.startswith("    The client closes it before it asks you: you may type for longer than the server")
    assert second == "[   0.000 s] == connection 2 is closed"


def test_a_large_body_is_shortened_and_said_to_be(listener: Listener) -> None:
    listener.watched().received(encode_message(1, "й" * 10_000))
    told = listener.take()
    assert told[4] == "    Text: " + "й" * 200 + "…"
    assert len([line for line in told if "  d0 b9 d0" in line]) == DUMPED / 16
    assert told[-1] == f"    … and {20_000 - DUMPED} bytes more."


def test_what_is_text_by_its_flag_alone_does_no_harm() -> None:
    assert "Text: ab\\xff\n" in one(Side.SERVER, encode(Kind.MESSAGE, 1, b"ab\xff", flags=Flag.TEXT))


def test_bytes_that_are_no_text_are_shown_as_bytes_only() -> None:
    told = one(Side.SERVER, encode_message(1, b"\x00\xff"))
    assert "Text" not in told
    assert "    000c  00 ff                                             |..|" in told


def test_frames_that_come_in_pieces_and_together_are_told_one_by_one(listener: Listener) -> None:
    data = b"".join(encode_message(id, f"number {id}") for id in (1, 2, 3))
    for cut in range(len(data)):
        watched = listener.watched()
        watched.received(data[:cut])
        watched.received(data[cut:])
        told = listener.take()
        assert [line for line in told if "Text" in line] == [f"    Text: number {id}" for id in (1, 2, 3)]


def test_a_kind_that_is_not_known_is_hidden_whole(listener: Listener) -> None:
    listener.watched().received(encode(0x81, 7, b"secret", flags=0x42))
    assert listener.take() == [
        "[   0.000 s] <- 0x81  id 7  LAST  length 14",
        "    A kind that this client does not know.",
        "    length 00 00 00 0e | kind 81 | flags 42 | reserved 00 00 | id 00 00 00 07",
        "    000c  ** ** ** ** ** **                                 |******|",
        "    Hidden: ?.",
    ]


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n", HEADER.pack(7, 1, 0, 0, 0), HEADER.pack(9, 1, 0, 1, 0) + b"x"]
)
def test_what_is_no_frame_is_said_once_and_not_shown(listener: Listener, data: bytes) -> None:
    watched = listener.watched()
    watched.received(data)
    watched.received(encode_message(1, "hello"))
    assert listener.take() == [
        "[   0.000 s] <- ?",
        "    These bytes are not a frame: they are not shown, nor is anything after them.",
    ]


def test_a_spoiled_token_shows_where_it_is_and_not_what(listener: Listener) -> None:
    watched = listener.watched()
    watched.sent(encode(Kind.RESUME, 1, b"{}", token=TOKEN))
    watched.sent(encode_message(1, "x", token=TOKEN))
    assert "!!" not in "".join(listener.take())
    watched.sent(encode_message(2, "x", token=TOKEN[:-1] + b"\x00"))
    told = listener.take()
    assert "    The token is not this session's (!! marks the difference): the server will refuse it." in told
    assert "    000c  ** ** ** ** ** ** ** **  ** ** ** ** ** ** ** !!  |***************!|" in told


def test_the_token_of_welcome_is_the_one_to_compare_with(listener: Listener) -> None:
    watched = listener.watched()
    watched.received(encode(Kind.WELCOME, 1, b"nonsense"))
    watched.received(encode(Kind.WELCOME, 1, bodies.encode(BODIES[Side.SERVER, Kind.WELCOME])))
    listener.take()
    watched.sent(encode(Kind.CANCEL, 1, token=b"T" * 16))
    assert "!!" not in "".join(listener.take())
    watched.sent(encode(Kind.CANCEL, 1, token=b"T" * 15 + b"U"))
    assert "** !!  |***************!|" in "".join(listener.take())
    assert b"T" * 16 not in repr(watched).encode()


def test_a_connection_on_plain_tcp_is_called_what_it_is(listener: Listener) -> None:
    listener.watched().opened(None)
    listener.watched().opened(None)
    told = listener.take()
    assert told[0] == "[   0.000 s] == connection 1 to tcp://localhost:7862"
    assert told[2] == "    Plain TCP: anyone on the network can read all of this, secrets included."
    assert told[3] == "[   0.000 s] == connection 2 to tcp://localhost:7862"
    assert len(told) == 5, "the signs are explained once"


# --- what is not shown ----------------------------------------------------------------------------------------


def looks(told: str) -> Iterator[str]:
    """Yield what a reader can extract from an explanation: its text, and its columns and texts joined."""
    dump = list(re.finditer(r"^    [0-9a-f]{4}  (.{23})  (.{23})  \|(.*)\|$", told, re.MULTILINE))
    yield told
    yield "".join((each[1] + each[2]).replace(" ", "") for each in dump)
    yield "".join(each[3] for each in dump)
    yield re.sub(r"\s", "", told)


def windows(secret: bytes) -> set[str]:
    """Return every form, on the wire or as text, of each eight consecutive bytes of a secret."""
    parts = {secret[at : at + 8] for at in range(len(secret) - 7)}
    forms = {form for part in parts for form in (part.hex(), part.hex().upper(), repr(part)[2:-1])}
    return forms | {part.decode("latin-1") for part in parts if part.isascii() and part.decode().isprintable()}


def assert_hidden(secret: bytes, told: str) -> None:
    seen = list(looks(told))
    for form in spellings(secret) | windows(secret) | windows(b64encode(secret)):
        assert not any(form in look for look in seen), f"{form!r} is shown"


def with_secret(which: tuple[Side, int], secret: str) -> dict[str, Any]:
    """Return the body of a kind with a secret in every field that the table marks as secret, and in one more."""
    fields: dict[str, Any] = json.loads(bodies.encode(BODIES[which])) | {"unheard-of": secret}
    for path in FIELDS[which].secret - {"credential"}:
        outer, _, inner = path.rpartition(".")
        if outer:
            fields[outer] = (fields[outer] or {}) | {inner: secret}
        else:
            fields[inner] = secret
    return fields


@given(st.sampled_from(TABLE), st.integers(), st.sampled_from(["", "broken", "indented"]))
def test_no_secret_of_any_kind_is_ever_shown_prove_any_form(row: Any, seed: int, how: str) -> None:
    token, secret = sha256(f"token {seed}".encode()).digest()[:16], sha256(f"secret {seed}".encode()).digest()
    which = (row.sender, row.kind)
    payload = b""
    if which in BODIES:
        fields = with_secret(which, b64encode(secret).decode())
        payload = json.dumps(fields, indent=1 if how == "indented" else None).encode()
        payload = payload[: -1 if how == "broken" else None]
    for short in (False, True):
        told = one(row.sender, encode(row.kind, 1, payload, token=token if row.token else b""), short=short)
        assert_hidden(token, told)
        assert_hidden(secret, told)


@given(st.sampled_from(Side), st.integers(0, 255), st.integers())
def test_no_body_of_a_kind_out_of_place_is_shown(side: Side, kind: int, seed: int) -> None:
    secret = sha256(str(seed).encode()).digest()
    if (side, kind) not in {(row.sender, row.kind) for row in TABLE} or kind == Kind.END:
        assert_hidden(secret, one(side, encode(kind, 1, secret + b64encode(secret))))


@given(st.lists(st.binary(max_size=60) | st.sampled_from([encode(k, 1, b"\x1b[2J\r\n") for k in Kind])))
def test_whatever_comes_is_explained_and_moves_no_cursor(pieces: list[bytes]) -> None:
    listener = Listener()
    watched = listener.watched()
    for piece in pieces:
        watched.received(piece)
        watched.sent(encode_message(1, piece.decode("latin-1"), token=TOKEN))
    assert printable(listener.text, keep="\n") == listener.text


def test_a_message_cannot_pass_itself_off_as_a_frame() -> None:
    told = one(Side.SERVER, encode_message(0, "x\n[   0.000 s] <- BYE  id 0\u2028[  "))
    assert "Text: x\\n[   0.000 s] <- BYE  id 0\\u2028[  " in told


# --- on the wire ----------------------------------------------------------------------------------------------


class Recorder(Watched):
    """Explains frames and records them."""

    def __init__(self, explainer: Explainer, address: str, number: int) -> None:
        super().__init__(explainer, address, number)
        self.frames: list[tuple[Side, bytes]] = []
        self.beaten = asyncio.Event()

    def _explain(self, side: Side, frame: bytes | None) -> None:
        assert frame is not None
        self.frames.append((side, frame))
        super()._explain(side, frame)
        if {(each, Kind.HEARTBEAT) for each in Side} <= {(sender, data[4]) for sender, data in self.frames}:
            self.beaten.set()


def secrets_of(side: Side, frame: bytes) -> Iterator[bytes]:
    """Yield the secrets in a frame that went over the wire."""
    _, kind, *_ = HEADER.unpack_from(frame)
    body = frame[HEADER_SIZE:]
    if (side, kind) in TOKENS:
        yield body[:TOKEN_SIZE]
        body = body[TOKEN_SIZE:]
    for path in FIELDS[side, kind].secret if (side, kind) in FIELDS else ():
        value: Any = json.loads(body)
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str):
            yield b64decode(value)


async def nothing_then(message: str) -> AsyncIterator[str]:
    yield "one"
    if message == "for ever":
        await asyncio.Event().wait()


async def test_all_that_a_client_does_is_explained_and_no_secret_of_it(tmp_path: Path, listener: Listener) -> None:
    recorders: list[Recorder] = []

    def observe(address: str) -> Recorder:
        recorders.append(Recorder(listener.explainer, address, len(recorders) + 1))
        return recorders[-1]

    known = KnownServers(tmp_path / "known")
    options = {"plain": False, "heartbeat_seconds": 0.2, "registration": "open"}
    async with server_here(tmp_path / "data", nothing_then, **options) as server:
        proxy = await FaultProxy(server.addresses[0]).__aenter__()
        dialled = await dial(proxy.address, known, 10, observe)
        entry = SignIn(dialled.connection)
        await entry.identify("ann")
        await entry.register("ann", Password(PASSWORD))
        welcome = await entry.authenticate("ann", Password(PASSWORD))
        async with session_on(proxy.address, known, dialled, welcome) as session:
            assert await session.ask("hello") == "one"
            change = PasswordChange(session.connection, "ann", 10)
            await change.prove(Password(PASSWORD))
            await change.choose(Password(NEW))
            assert await session.end_others() == 0
            await proxy.cut()
            stream = session.ask_stream("for ever")
            assert await anext(stream) == "one"
            await stream.aclose()  # type: ignore[attr-defined] # it is a generator
            await recorders[-1].beaten.wait()
        await proxy.__aexit__(None, None, None)
    frames = [each for recorder in recorders for each in recorder.frames]
    went = [(side, Kind(frame[4])) for side, frame in frames]
    assert set(went) == {(row.sender, row.kind) for row in TABLE} - {(Side.SERVER, Kind.ERROR)}
    told = listener.text
    heads = re.findall(r"^\[ +[\d.]+ s\] (->|<-) (\w+).*  length (\d+)$", told, re.MULTILINE)
    assert [(sign, kind) for sign, kind, _ in heads] == [
        ("->" if side is Side.CLIENT else "<-", kind.name) for side, kind in went
    ]
    assert [int(length) for _, _, length in heads] == [int.from_bytes(frame[:4], "big") for _, frame in frames]
    assert dialled.connection.binding is not None
    for once in ("TLS is ready: TLSv1.3, ", str(dialled.fingerprint), dialled.connection.binding.hex()):
        assert told.count(once) == 2, once
    assert told.index("connection 1 is closed") < told.index("connection 2 to tls://127.0.0.1:")
    secrets = {secret for side, frame in frames for secret in secrets_of(side, frame)}
    assert len(secrets) >= 10, "tokens, proofs, keys"
    told = told.replace("tls-server-end-point", "")  # it is in SCRAM's messages too, and public
    for secret in secrets | {PASSWORD.encode(), NEW.encode()}:
        assert_hidden(secret, told)


# --- at a terminal and in a pipe ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run a server that expects a heartbeat from its clients twice a second."""
    folder = tmp_path_factory.mktemp("lively") / "data"
    with ServerProcess(folder, "--heartbeat-seconds", "1") as server:
        yield server


def test_in_a_pipe_the_answers_stay_clean_and_nothing_is_spoiled(lively: ServerProcess, tmp_path: Path) -> None:
    done = run_antiphon(
        "connect", str(lively.address), "--explain", "--name", "ann", "--register", "-v", home=tmp_path,
        stdin="hello\n/spoil\n//spoil two\n", ANTIPHON_PASSWORD=PASSWORD,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "hello\n/spoil\n//spoil two\n")
    heads = re.findall(r"^\[.*?\] (->|<-) (\w+)", done.stderr, re.MULTILINE)
    assert [f"{sign} {kind}" for sign, kind in heads[:9]] == [
        "<- HELLO", "-> IDENTIFY", "<- IDENTIFY", "-> REGISTER", "<- REGISTER",
        "-> AUTHENTICATE", "<- CHALLENGE", "-> CHALLENGE", "<- WELCOME",
    ]  # fmt: skip
    assert [f"{sign} {kind}" for sign, kind in heads[-2:]] == ["-> BYE", "<- BYE"]
    assert "\x1b" not in done.stderr
    assert "!!" not in done.stderr.partition("secret byte.")[2]
    assert PASSWORD not in done.stderr


def test_at_a_terminal_frames_stand_above_the_line_that_is_typed(lively: ServerProcess, tmp_path: Path) -> None:
    with Terminal("connect", str(lively.address), "--explain", home=tmp_path, NO_COLOR="") as terminal:
        terminal.shows("<- HELLO", "connection 1 is closed")  # no connection is held while a person types
        terminal.shows(
            "    The client closes it before it asks you: you may type for longer than the server waits"
        )
        terminal.answer("Name", "eve")
        terminal.shows("connection 2 to ", "-> IDENTIFY", "<- IDENTIFY", "connection 2 is closed")
        terminal.answer("New password:", PASSWORD)
        terminal.answer("Once more:", PASSWORD)
        terminal.shows("-> REGISTER", "-> AUTHENTICATE", "<- WELCOME", "Welcome, eve!")
        terminal.answer("eve>", "hello")
        terminal.shows("-> MESSAGE", "Text: hello", "<- MESSAGE", "Text: hello", "\nhello\r\n")
        terminal.asks("eve>")
        terminal.press("half a li")
        terminal.shows("-> HEARTBEAT", "the client is still there", "eve> half a li")
        terminal.enter("ne")
        terminal.shows("Text: half a line", "\nhalf a line\r\n")
        terminal.answer("eve>", "/spoil a secret?")
        terminal.shows(
            "one of its bits is flipped.",
            "-> MESSAGE",
            "The token is not this session's (!!",
            "** !!",
            "|***************!|",
        )
        terminal.shows("<- ERROR", '"code":"token-refused"', "was not handled.")
        terminal.answer("eve>", "exit")
        terminal.shows("-> BYE", "<- BYE", "You have left.")
        assert terminal.ends() == 0
        assert "\x1b[36m[" in terminal.raw
        assert PASSWORD not in terminal.screen
