"""Tests of the client written from docs/protocol.md alone: it signs in to a real server and refuses fake ones."""

import contextlib
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

import reference_client
from antiphon.address import Address
from antiphon.data.certificate import VALIDITY
from antiphon.errors import PasswordInvalid
from antiphon.identity.certificates import binding_of, fingerprint_of
from antiphon.identity.passwords import saslprepared
from antiphon.wire.frames import Payload, encode, encode_message
from antiphon.wire.kinds import Allowed, Kind
from reference_client import Client, Refused
from support.documents import ROOT
from support.fake_servers import Peer, fake
from support.processes import PASSWORD, ServerProcess, clean_environment
from support.serving import Serving, seed, serving

SCRIPT = Path(reference_client.__file__)
LAST = reference_client.LAST


def at(address: Address) -> Client:
    return Client(address.host, address.port, str(address.fingerprint))


def refused(result: "subprocess.CompletedProcess[str]") -> str:
    """Return the one sentence that the program printed at its end."""
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr
    return result.stderr


def run(
    address: str, tmp_path: Path, messages: str = "", password: str = PASSWORD
) -> "subprocess.CompletedProcess[str]":
    """Run the client with a Python that has none of our packages."""
    return subprocess.run(
        [sys.executable, "-I", SCRIPT, address],
        input=messages,
        capture_output=True,
        env=clean_environment(tmp_path, ANTIPHON_PASSWORD=password),
        text=True,
        encoding="utf-8",
        timeout=150,
        check=False,
    )


# --- a real server ------------------------------------------------------------------------------------------


def test_the_program_signs_in_asks_and_prints_the_answers(tmp_path: Path) -> None:
    seed(tmp_path / "data", "Вадим")
    with ServerProcess(tmp_path / "data") as server:
        address = str(replace(server.address, name="Вадим"))
        first = run(address, tmp_path, "hello\nПривет, мир\n\n")
        assert (first.returncode, first.stdout) == (0, "hello\nПривет, мир\n\n"), first.stderr
        assert first.stderr == "Welcome, Вадим! This is your first visit.\n"
        assert "Name or password is wrong." in refused(run(address, tmp_path, password="an entirely other one"))
        other = str(replace(server.address, fingerprint="sha256:" + "A" * 43))
        assert "this may be an impostor" in refused(run(other, tmp_path, "secret\n"))


def test_every_answer_is_taken_and_the_session_is_left(tmp_path: Path) -> None:
    answers: dict[Payload, Payload | None] = {"none": None, "bytes": b"\x00\xff", "long": "x" * 100_000}
    (other,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", lambda message: answers.get(message, message)) as server:
        client = at(server.address)
        welcome = client.sign_in("ann", PASSWORD)
        assert (welcome["name"], welcome["first"]) == ("ann", True)
        asked = [list(client.ask(message)) for message in (b"hello", b"none", b"bytes", b"long", b"")]
        assert asked == [[b"hello"], [], [b"\x00\xff"], [b"x" * 100_000], [b""]]
        client.leave()
        assert is_over(server, client.token)
        assert not is_over(server, other)


def is_over(server: Serving, token: bytes) -> bool:
    with server.client() as raw:
        raw.hello()
        return getattr(raw.resume(token), "code", "") == "session-ended"


# --- servers that are none ----------------------------------------------------------------------------------


def meet(play: Callable[[Peer], None], folder: Path, act: Callable[[Client], object]) -> None:
    """Check that the client refuses a fake server and sends it nothing after `play`."""

    def play_and_listen(peer: Peer) -> None:
        play(peer)
        assert peer.rest() == b""

    with fake(play_and_listen, folder) as there:
        client = at(there.address)
        with contextlib.closing(client.sock):
            act(client)


def sign_in(sentence: str) -> Callable[[Client], None]:
    def act(client: Client) -> None:
        with pytest.raises(Refused, match=sentence):
            client.sign_in("ann", PASSWORD)
        assert client.token == b""

    return act


def test_a_wrong_fingerprint_is_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    def listen(peer: Peer) -> None:
        assert peer.rest() == b""

    with fake(listen, tmp_path / "data") as there, pytest.raises(Refused, match="impostor"):
        Client(there.address.host, there.address.port, "sha256:" + "A" * 43)


@pytest.mark.parametrize("iterations", [4095, 1_000_001])
def test_too_many_rounds_of_hashing_and_too_few_are_refused(iterations: int, tmp_path: Path) -> None:
    def ask(peer: Peer) -> None:
        peer.hello()
        peer.challenge(iterations)

    meet(ask, tmp_path / "data", sign_in("not safe to answer"))


@pytest.mark.parametrize("data", [b"v=" + b64encode(bytes(32)), b"", None])
def test_a_server_without_proof_is_refused(data: bytes | None, tmp_path: Path) -> None:
    def let_in(peer: Peer) -> None:
        peer.hello()
        peer.challenge(4096)
        peer.welcome(data)

    meet(let_in, tmp_path / "data", sign_in("could not prove"))


def test_a_nonce_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    def replay(peer: Peer) -> None:
        peer.hello()
        challenge = b64encode(b"r=" + b"A" * 60 + b",s=c2FsdHNhbHQ=,i=4096")
        peer.send(encode(Kind.CHALLENGE, peer.control().id, b'{"data":"' + challenge + b'"}'))

    meet(replay, tmp_path / "data", sign_in("not safe to answer"))


def test_a_nonce_to_which_the_server_adds_too_little_is_refused(tmp_path: Path) -> None:
    def echo(peer: Peer) -> None:
        peer.hello()
        control = peer.control()
        nonce = getattr(control.body, "data", b"").rpartition(b"r=")[2]
        challenge = b64encode(b"r=" + nonce + b"A" * 19 + b",s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096")
        peer.send(encode(Kind.CHALLENGE, control.id, b'{"data":"' + challenge + b'"}'))

    meet(echo, tmp_path / "data", sign_in("not safe to answer"))


def test_a_frame_that_claims_4_gib_is_refused(tmp_path: Path) -> None:
    def claim(peer: Peer) -> None:
        peer.hello()
        peer.control()
        peer.send(b"\xff" * 12)

    meet(claim, tmp_path / "data", sign_in("does not speak"))


def test_what_it_does_not_know_is_passed_over_and_a_stream_is_taken_whole(tmp_path: Path) -> None:
    def play(peer: Peer) -> None:
        peer.send(encode(0x80, 0, b"news") + peer.conversation.heartbeat())
        peer.hello()
        peer.conversation.reader.admit(
            {int(Kind.MESSAGE): Allowed(0, 1024)}
        )  # without a sign-in there is no token
        for _ in range(2):
            frame = peer.next()
            assert frame is not None
            peer.send(
                encode(0x80, 7, b"news", 0xFF) + encode_message(0, "pushed", LAST) + peer.conversation.heartbeat()
            )
            peer.send(encode_message(frame.id, "one") + encode_message(frame.id, "two"))
            peer.send(encode(Kind.END, frame.id))

    def ask(client: Client) -> None:
        assert list(client.ask(b"hello")) == [b"one", b"two"]
        assert list(client.ask(b"hello")) == [b"one", b"two"]

    meet(play, tmp_path / "data", ask)


# --- its own reading of certificates and passwords ----------------------------------------------------------


@pytest.mark.parametrize("function", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_certificates_are_read_as_the_library_reads_them(kind: str, function: hashes.SHA256) -> None:
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "antiphon")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + VALIDITY)
    der = built.sign(key, function).public_bytes(Encoding.DER)
    assert reference_client.fingerprint_of(der) == fingerprint_of(der)
    assert reference_client.binding_of(der) == binding_of(der)


@given(st.text(min_size=1, max_size=20))
@example("pass\u00adword")  # a soft hyphen is removed
@example("pass\u200bword")  # removed, although it is among the spaces too
@example("a\u00a0b")  # a wide space becomes a space
@example("ªⅨ")
@example("א1")  # right-to-left, but not at the end
@example("\u0627\u0031\u0628")
@example("a\u0627")
def test_passwords_are_prepared_as_the_library_prepares_them(text: str) -> None:
    try:
        expected = saslprepared(text)
    except PasswordInvalid:
        with pytest.raises(Refused):
            reference_client.saslprep(text)
    else:
        assert reference_client.saslprep(text) == expected


def test_it_needs_the_standard_library_only() -> None:
    lines = SCRIPT.read_text("utf-8").splitlines()
    imported = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported <= sys.stdlib_module_names
    assert SCRIPT.parent == ROOT / "examples"


def test_without_an_address_it_says_how_it_is_used(tmp_path: Path) -> None:
    bare = subprocess.run([sys.executable, "-I", SCRIPT], capture_output=True, text=True, check=False, timeout=150)
    assert "reference_client.py 'tls://ann@localhost:7862" in refused(bare)
    assert "the address is not valid" in refused(run("tls://ann@localhost:99999#sha256:x", tmp_path))
