"""How a connection comes about: who is tried again, who is not, and whom the authorities vouch for."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from antiphon.client.aio.dial import dial
from antiphon.client.trust import KnownServers, Standing
from antiphon.data.certificate import Certificate
from antiphon.errors import NotAntiphon, ServerKeyChanged, TimedOut, TlsFailed, VersionUnsupported
from antiphon.identity.certificates import fingerprint_of
from support.certificate_authority import issue_certificate
from support.fake_servers import Peer, faked
from support.processes import ServerProcess


async def test_a_server_that_drops_us_at_once_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.client.dialling.DROP_SECONDS", 60)  # a busy machine is late
    calls: list[Peer] = []

    def drop_twice(peer: Peer) -> None:
        calls.append(peer)
        if len(calls) > 2:
            peer.hello()
            peer.rest()

    async with faked(drop_twice) as there:
        dialled = await dial(there.address, KnownServers(tmp_path / "known"), 60)
        dialled.connection.abort()
    assert len(calls) == 3
    assert dialled.standing is Standing.PINNED, "plain TCP has no key"


async def test_a_server_that_always_drops_us_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.client.dialling.PAUSES", (0.01, 0.01))
    monkeypatch.setattr("antiphon.client.dialling.DROP_SECONDS", 60)  # as above
    async with faked(lambda peer: None) as there:
        with pytest.raises(NotAntiphon):
            await dial(there.address, KnownServers(tmp_path / "known"), 60)
        assert len(there.peers) == 3


async def test_a_server_that_waits_before_it_drops_us_is_not_a_busy_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.client.dialling.DROP_SECONDS", 0.1)

    def wait(peer: Peer) -> None:
        peer.sock.settimeout(0.3)
        peer.rest()

    async with faked(wait) as there:
        with pytest.raises(NotAntiphon):
            await dial(there.address, KnownServers(tmp_path / "known"), 60)
        assert len(there.peers) == 1


async def test_a_server_that_says_nothing_is_given_up_in_time(tmp_path: Path) -> None:
    async with faked(assert_nothing_came) as there:
        with pytest.raises(TimedOut):
            await dial(there.address, KnownServers(tmp_path / "known"), 0.2)
        assert len(there.peers) == 1


def assert_nothing_came(peer: Peer) -> None:
    assert peer.rest() == b""


async def test_a_server_of_later_versions_is_told_as_such(tmp_path: Path) -> None:
    async with faked(lambda peer: peer.hello(versions=[2, 3])) as there:
        with pytest.raises(VersionUnsupported) as caught:
            await dial(there.address, KnownServers(tmp_path / "known"), 60)
    assert "Supported versions: 2, 3." in str(caught.value)


async def test_authorities_vouch_for_the_key_that_was_shown_and_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, _ = issue_certificate(tmp_path / "d")
    known = KnownServers(tmp_path / "known")
    with ServerProcess(tmp_path / "d") as server:
        assert (await standing(server, known)) is Standing.UNKNOWN
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert (await standing(server, known)) is Standing.VOUCHED
        known.remember("localhost", "sha256:" + "A" * 43)
        with pytest.raises(ServerKeyChanged):  # what is known counts for more than an authority
            await standing(server, known)


async def standing(server: ServerProcess, known: KnownServers) -> Standing:
    """Return what speaks for a server whose address carries no fingerprint."""
    dialled = await dial(replace(server.address, fingerprint=None), known, 60)
    dialled.connection.abort()
    await dialled.connection.closed
    return dialled.standing


async def test_a_certificate_that_no_sign_in_can_be_bound_to_is_refused_in_a_sentence(tmp_path: Path) -> None:
    async with faked(assert_nothing_came, ed25519_certificate(tmp_path)) as there:
        with pytest.raises(TlsFailed, match="its certificate is of a kind that no sign-in can be bound to"):
            await dial(there.address, KnownServers(tmp_path / "known"), 60)
    assert not (tmp_path / "known").exists()


def ed25519_certificate(folder: Path) -> Certificate:
    """Return a certificate whose signature has no hash function (RFC 5929, 4.1 leaves its binding undefined)."""
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    signed = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1)
    ).sign(key, None)
    pem = folder / "pair.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(private + signed.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return Certificate(context, fingerprint_of(signed.public_bytes(Encoding.DER)), b"")
