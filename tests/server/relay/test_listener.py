"""The relay socket under attack: by another user, with what is no part or comes out of order, and in numbers."""

import contextlib
import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from antiphon.server.relay.link import RELAY_VERSION, WINDOW, Part
from antiphon.server.relay.listener import OPEN_SECONDS
from antiphon.server.relay.opening import Opening
from antiphon.wire.bodies import Resume
from antiphon.wire.conversation import ClientConversation
from antiphon.wire.frames import encode_message
from antiphon.wire.kinds import KIB
from support.joined import joined
from support.moving import descriptors, resident, until
from support.processes import ServerProcess
from support.serving import Honest, in_session, seed

LATE = 60.0
"""Seconds within which even a busy machine must have acted."""
NOBODY = 65534
MANY = 1000
CONNECTS_AS_ANOTHER = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setuid(int(sys.argv[2]))
near = socket.socket(socket.AF_UNIX)
near.settimeout(60)
try:
    near.connect(sys.argv[3])
    near.sendall(bytes([1, 0, 0, 0, 0]))
    print(near.recv(100))
except OSError as error:
    print(type(error).__name__)
"""


def part(kind: int, payload: bytes = b"") -> bytes:
    """Return one part of a relay link."""
    return bytes([kind]) + len(payload).to_bytes(4) + payload


class Link:
    """The relaying end of a link, by hand."""

    def __init__(self, data: Path) -> None:
        """Connect to the only server of a data folder."""
        (path,) = (data / "relay").glob("*.sock")
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(OPEN_SECONDS + LATE)
        self.sock.connect(str(path))
        self._came = b""

    def say(self, *parts: bytes) -> None:
        """Send parts in one write."""
        self.sock.sendall(b"".join(parts))

    def hear(self) -> tuple[int, bytes]:
        """Return the next part."""
        while len(self._came) < 5 or len(self._came) < 5 + int.from_bytes(self._came[1:5]):
            came = self.sock.recv(65536)
            if not came:
                raise EOFError
            self._came += came
        end = 5 + int.from_bytes(self._came[1:5])
        kind, payload, self._came = self._came[0], self._came[5:end], self._came[end:]
        return kind, payload

    def ended(self) -> None:
        """Wait until the server has closed the link, and read what it said before."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                self.hear()
        self.sock.close()


def go(token: bytes, **fields: object) -> bytes:
    """Return a GO for the session of `token`, of a client that was accepted just now."""
    _, resume = ClientConversation().resume(token, Resume())
    values = {
        "version": RELAY_VERSION,
        "process": "another",
        "address": "192.0.2.7:7",
        "host": "192.0.2.7",
        "binding": None,
        "accepted_at": time.monotonic(),
        "can_half_close": True,
        "resume": resume,
    }
    return part(Part.GO, Opening(**values | fields).encode())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("listener") / "data"


@pytest.fixture(scope="module")
def tokens(data: Path) -> list[bytes]:
    return seed(data, sessions=60)


@pytest.fixture(scope="module")
def server(data: Path, tokens: list[bytes]) -> Iterator[ServerProcess]:
    with ServerProcess(data, "--plain", "--host", "127.0.0.1") as running:
        yield running
        assert " fault " not in running.log


def at_home(server: ServerProcess, tokens: list[bytes]) -> bytes:
    """Return the token of a session whose home is the server, without a connection."""
    token = tokens.pop()
    with in_session(server.address, token) as client:
        assert client.ask("hello") == "hello"
    return token


@pytest.fixture
def token(tokens: list[bytes]) -> bytes:
    return tokens.pop()


@pytest.fixture
def undisturbed(server: ServerProcess, token: bytes) -> Iterator[None]:
    """Have an honest client talk all the time; at the end everything is as it was."""
    before = descriptors(server)
    with Honest(server.address, token):
        yield
    until(lambda: descriptors(server) == before)


def test_another_user_s_process_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data") as home:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
        link = Link(tmp_path / "data")
        link.sock.setblocking(False)
        link.say(part(Part.OPEN), go(token))
        home.until(lambda: select.select([link.sock], [], [], 0)[0])
        with pytest.raises((EOFError, ConnectionError)):
            link.hear()
        link.sock.close()
        assert not home.connections
        assert home.sessions.held == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.usefixtures("undisturbed")
def test_another_user_cannot_even_connect(server: ServerProcess, data: Path) -> None:
    (path,) = (data / "relay").glob("*.sock")
    assert path.parent.stat().st_mode & 0o777 == 0o700

    def connecting() -> str:
        command = [sys.executable, "-c", CONNECTS_AS_ANOTHER, str(path.parent), str(NOBODY), path.name]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    assert connecting() == "PermissionError"
    path.parent.chmod(0o711)
    path.chmod(0o777)
    try:
        assert connecting() in ("b''", "ConnectionResetError", "BrokenPipeError")
    finally:
        path.parent.chmod(0o700)


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes(100),
        b"\xff" * 100,
        part(Part.DATA)[:1] + (WINDOW + 1).to_bytes(4),
        part(Part.GO)[:1] + b"\xff" * 4,
        part(Part.GO),
        part(Part.GO, b"\x98rubbish"),
        part(Part.GO, b"\xc0"),
        part(Part.OPEN) + part(Part.TAKEN, b"1"),
        part(Part.ADMITTED),
        part(Part.MOVED),
        part(Part.CLOSE),
        part(Part.DATA, b"early"),
    ],
)  # fmt: skip
def test_what_is_no_part_or_not_the_next_one_closes_the_link(data: Path, said: bytes) -> None:
    took: list[float] = []
    while not took or (took[-1] >= OPEN_SECONDS - 0.5 and len(took) < 4):  # a busy machine spoils some tries
        link = Link(data)
        began = time.monotonic()
        link.say(said)
        link.ended()
        took.append(time.monotonic() - began)
    assert took[-1] < OPEN_SECONDS - 0.5, "it was closed because it said nothing more"


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("version", [0, RELAY_VERSION + 1])
def test_an_opening_of_another_version_closes_the_link(
    server: ServerProcess, data: Path, token: bytes, version: int
) -> None:
    link = Link(data)
    link.say(part(Part.OPEN), go(token, version=version))
    link.ended()


@pytest.mark.usefixtures("undisturbed")
def test_a_link_on_which_nothing_begins_is_closed_after_a_while(data: Path) -> None:
    def lasted(said: bytes) -> float:
        """Say something on a link; return the seconds until it is closed."""
        began = time.monotonic()
        link = Link(data)
        link.say(said)
        link.ended()
        return time.monotonic() - began

    said = (b"", part(Part.OPEN)[:3], part(Part.OPEN), part(Part.OPEN) * 1000)
    with ThreadPoolExecutor(len(said)) as pool:
        for seconds in pool.map(lasted, said):
            assert OPEN_SECONDS - 0.5 < seconds < OPEN_SECONDS + LATE


@pytest.mark.usefixtures("undisturbed")
def test_a_second_go_changes_nothing(server: ServerProcess, data: Path, tokens: list[bytes]) -> None:
    first, second = at_home(server, tokens), tokens.pop()
    with in_session(server.address, second) as holder:
        link = Link(data)
        link.say(part(Part.OPEN), go(first), go(second), go(first))
        assert [link.hear()[0] for _ in range(3)] == [Part.READY, Part.ADMITTED, Part.DATA]
        link.say(go(second), part(Part.OPEN), part(Part.HAND_ON, b"?"))
        link.say(part(Part.DATA, encode_message(2, "hello", token=first)))
        while True:
            kind, payload = link.hear()
            if kind == Part.DATA:
                assert b"hello" in payload
                break
        assert holder.ask("mine") == "mine"
        link.sock.close()


@pytest.mark.usefixtures("undisturbed")
def test_bytes_before_go_resume_nothing(server: ServerProcess, data: Path, tokens: list[bytes]) -> None:
    token = tokens.pop()
    with in_session(server.address, token) as holder:
        link = Link(data)
        link.say(part(Part.OPEN), part(Part.DATA, b"early"), go(token))
        link.ended()
        assert holder.ask("mine") == "mine"


@pytest.mark.usefixtures("undisturbed")
def test_a_wrong_token_is_refused_on_a_link(data: Path) -> None:
    link = Link(data)
    link.say(part(Part.OPEN), go(bytes(16)))
    assert [link.hear()[0] for _ in range(2)] == [Part.READY, Part.REFUSED]
    link.ended()


@pytest.mark.usefixtures("undisturbed")
def test_bytes_beyond_the_credit_are_not_kept(server: ServerProcess, data: Path, tokens: list[bytes]) -> None:
    token = at_home(server, tokens)
    link = Link(data)
    link.say(part(Part.OPEN), go(token))
    assert [link.hear()[0] for _ in range(3)] == [Part.READY, Part.ADMITTED, Part.DATA]
    before = resident(server)
    data_part = part(Part.DATA, encode_message(2, bytes(60 * KIB), token=token))
    with contextlib.suppress(ConnectionError, TimeoutError):
        for _ in range(400):
            link.sock.sendall(data_part)
    assert resident(server) - before < 4 * 1024 * KIB
    link.sock.close()


def test_a_thousand_links_that_say_nothing_are_closed_and_disturb_nobody(
    server: ServerProcess, data: Path, token: bytes
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 2 * MANY), hard), hard))
    before = descriptors(server)
    with Honest(server.address, token):
        links = [Link(data) for _ in range(MANY)]
        began = time.monotonic()
        for link in links:
            link.ended()
        assert time.monotonic() - began < OPEN_SECONDS + LATE
    until(lambda: descriptors(server) == before)


def test_links_on_which_nothing_has_begun_are_closed_at_the_exit(tmp_path: Path) -> None:
    with joined(tmp_path / "data", plain=True) as server:
        links = [Link(tmp_path / "data") for _ in range(3)]
        links[0].say(part(Part.OPEN))
        server.let_pass(0.1)
        assert links[0].hear()[0] == Part.READY
    for link in links:
        link.ended()


def test_links_are_taken_again_after_the_descriptors_have_run_out(
    server: ServerProcess, data: Path, token: bytes, tokens: list[bytes]
) -> None:
    pid = server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with Honest(server.address, token):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (sum(descriptors(server).values()) + 20, limits[1]))
        links = [Link(data) for _ in range(100)]
        for link in links:
            link.sock.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        last = Link(data)
        last.say(part(Part.OPEN), go(tokens.pop()))
        assert last.hear()[0] == Part.READY
        last.sock.close()
