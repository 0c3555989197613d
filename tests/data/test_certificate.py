import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from antiphon.data import folder as folder_module
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
from antiphon.errors import (
    CertificateKeyLocked,
    CertificateTooWeak,
    CertificateUnusable,
    FolderUnsafe,
    FolderUnusable,
)
from antiphon.identity.certificates import binding_of, fingerprint_of

MAKER = """
import sys
from pathlib import Path
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
print("ready", flush=True)
sys.stdin.readline()
print(load_or_make(DataFolder.open(Path(sys.argv[1])), []).fingerprint)
"""


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder.open(tmp_path / "data")


def parsed(folder: DataFolder) -> x509.Certificate:
    pem = folder.read_private("certificate.pem")
    assert pem is not None
    return x509.load_pem_x509_certificate(pem)


def put(
    folder: DataFolder,
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey,
    password: bytes = b"",
) -> None:
    """Put an operator's own pair into the folder."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "own")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=1))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA384()
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    folder.write_private("certificate.pem", builder.sign(key, algorithm).public_bytes(Encoding.PEM))
    folder.write_private("certificate.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """Return the client's side after a whole handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    unfinished = [client, server]
    for _ in range(4):
        for side in list(unfinished):
            try:
                side.do_handshake()
                unfinished.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert not unfinished
    return client


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "xn--e1afmkfd.xn--p1ai", "10.1.2.3"])
def test_a_client_that_is_given_the_certificate_accepts_its_hosts(folder: DataFolder, host: str) -> None:
    certificate = load_or_make(folder, ["пример.рф", "10.1.2.3", "*", "", "0.0.0.0"])
    client = handshake(
        certificate.context, ssl.create_default_context(cafile=folder.path / "certificate.pem"), host
    )
    assert client.version() == "TLSv1.3"
    der = client.getpeercert(binary_form=True)
    assert der is not None
    assert certificate.fingerprint == fingerprint_of(der)
    assert certificate.binding == binding_of(der)


def test_each_name_stands_in_it_once_and_only_what_is_one(folder: DataFolder) -> None:
    load_or_make(folder, ["localhost", "*", "", "a" * 64, "::1"])
    names = parsed(folder).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = names.get_values_for_type(x509.DNSName)
    assert sorted(hosts) == sorted({"localhost", socket.gethostname()})
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_a_name_that_it_does_not_carry_is_not_accepted(folder: DataFolder) -> None:
    certificate = load_or_make(folder, ["*"])
    client = ssl.create_default_context(cafile=folder.path / "certificate.pem")
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        handshake(certificate.context, client, "other.example")


def test_nothing_below_tls_1_3_is_spoken(folder: DataFolder) -> None:
    certificate = load_or_make(folder, [])
    client = ssl.create_default_context(cafile=folder.path / "certificate.pem")
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        handshake(certificate.context, client, "localhost")


def test_no_ticket_is_given_that_would_hide_the_certificate(folder: DataFolder) -> None:
    assert load_or_make(folder, []).context.num_tickets == 0


def test_what_is_made_is_as_the_design_says(folder: DataFolder) -> None:
    load_or_make(folder, [])
    made = parsed(folder)
    key = made.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert made.subject.rfc4514_string() == "CN=antiphon"
    now = datetime.now(UTC)
    assert made.not_valid_before_utc < now - timedelta(hours=23)
    assert timedelta(days=3650) < made.not_valid_after_utc - now < timedelta(days=3653)


def test_two_certificates_have_nothing_in_common(folder: DataFolder, tmp_path: Path) -> None:
    other = DataFolder.open(tmp_path / "other")
    assert load_or_make(folder, []).fingerprint != load_or_make(other, []).fingerprint
    assert parsed(folder).serial_number != parsed(other).serial_number


def test_it_is_made_once_and_kept(folder: DataFolder) -> None:
    first, second = load_or_make(folder, []), load_or_make(folder, ["later.example"])
    assert (first.fingerprint, first.binding) == (second.fingerprint, second.binding)


def test_a_key_without_a_certificate_stays(folder: DataFolder) -> None:
    first = load_or_make(folder, [])
    (folder.path / "certificate.pem").unlink()
    second = load_or_make(folder, [])
    assert first.fingerprint == second.fingerprint
    assert first.binding != second.binding


def test_it_is_made_under_the_lock(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "LOCK_SECONDS", 0.01)
    other = DataFolder.open(folder.path)
    write_private = folder.write_private
    written = []

    def write(name: str, data: bytes) -> None:
        with pytest.raises(FolderUnusable), other.lock():
            pass
        written.append(name)
        write_private(name, data)

    monkeypatch.setattr(folder, "write_private", write)
    load_or_make(folder, [])
    assert written == [
        "certificate.key",
        "certificate.pem",
    ]  # a crash between them leaves what can be gone on from


def test_servers_that_start_together_share_one_certificate(tmp_path: Path) -> None:
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKER, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    assert all(maker.stdout and maker.stdout.readline() for maker in makers)
    for maker in makers:
        assert maker.stdin
        maker.stdin.write("go\n")
        maker.stdin.flush()
    fingerprints = {maker.communicate()[0] for maker in makers}
    assert [maker.returncode for maker in makers] == [0] * 4
    assert len(fingerprints) == 1


def test_an_operators_own_pair_is_served(folder: DataFolder) -> None:
    put(folder, ec.generate_private_key(ec.SECP384R1()))
    der = parsed(folder).public_bytes(Encoding.DER)
    certificate = load_or_make(folder, [])
    assert certificate.fingerprint == fingerprint_of(der)
    assert certificate.binding == binding_of(der)
    assert len(certificate.binding) == 48


@pytest.mark.parametrize("name", ["certificate.pem", "certificate.key"])
def test_what_others_can_read_stops_the_start(folder: DataFolder, name: str) -> None:
    load_or_make(folder, [])
    (folder.path / name).chmod(0o640)
    with pytest.raises(FolderUnsafe, match=name):
        load_or_make(folder, [])


@pytest.mark.parametrize("name", ["certificate.pem", "certificate.key"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\n"])
def test_what_is_damaged_stops_the_start(folder: DataFolder, name: str, content: bytes) -> None:
    load_or_make(folder, [])
    folder.write_private(name, content)
    with pytest.raises(CertificateUnusable, match="damaged"):
        load_or_make(folder, [])
    assert folder.read_private(name) == content


def test_a_damaged_key_without_a_certificate_stops_the_start(folder: DataFolder) -> None:
    folder.write_private("certificate.key", b"garbage")
    with pytest.raises(CertificateUnusable, match="damaged"):
        load_or_make(folder, [])


def test_a_key_of_another_certificate_stops_the_start(folder: DataFolder, tmp_path: Path) -> None:
    other = DataFolder.open(tmp_path / "other")
    for each in (folder, other):
        load_or_make(each, [])
    folder.write_private("certificate.key", other.read_private("certificate.key") or b"")
    with pytest.raises(CertificateUnusable, match="its key is another one's"):
        load_or_make(folder, [])


def test_a_certificate_without_its_key_stops_the_start(folder: DataFolder) -> None:
    load_or_make(folder, [])
    (folder.path / "certificate.key").unlink()
    with pytest.raises(CertificateUnusable, match="its key is missing"):
        load_or_make(folder, [])


def test_an_encrypted_key_stops_the_start_and_asks_nothing(folder: DataFolder) -> None:
    put(folder, ec.generate_private_key(ec.SECP256R1()), password=b"secret")
    with pytest.raises(CertificateKeyLocked) as told:
        load_or_make(folder, [])
    assert "certificate.key is locked with a password. Save it without one" in str(told.value)
    assert "damaged" not in str(told.value)


def test_an_encrypted_key_without_a_certificate_is_told_so_too(folder: DataFolder) -> None:
    put(folder, ec.generate_private_key(ec.SECP256R1()), password=b"secret")
    (folder.path / "certificate.pem").unlink()
    with pytest.raises(CertificateKeyLocked):
        load_or_make(folder, [])
    assert not (folder.path / "certificate.pem").exists()


def test_a_short_key_is_told_as_too_short_and_not_as_damaged(folder: DataFolder) -> None:
    put(folder, rsa.generate_private_key(public_exponent=65537, key_size=1024))
    with pytest.raises(CertificateTooWeak) as told:
        load_or_make(folder, [])
    assert "is intact, but too weak for TLS: its key is too short." in str(told.value)
    assert "move it" not in str(told.value)


@pytest.mark.parametrize("curve", [ec.SECP256K1, ec.SECP224R1])
def test_a_key_of_a_kind_that_tls_does_not_take_is_told_so(
    folder: DataFolder, curve: type[ec.EllipticCurve]
) -> None:
    put(folder, ec.generate_private_key(curve()))
    with pytest.raises(
        CertificateUnusable, match=r"TLS 1\.3 takes no key of this kind; take ECDSA P-256 or RSA\."
    ):
        load_or_make(folder, [])


def test_of_a_damaged_pair_it_is_told_which_file_it_is(folder: DataFolder) -> None:
    load_or_make(folder, [])
    key, certificate = (folder.read_private(name) or b"" for name in ("certificate.key", "certificate.pem"))
    folder.write_private("certificate.key", key[:-60])
    with pytest.raises(CertificateUnusable, match=r"certificate\.pem cannot be used: its key is damaged\."):
        load_or_make(folder, [])
    folder.write_private("certificate.key", key)
    folder.write_private("certificate.pem", certificate[:-60])
    with pytest.raises(CertificateUnusable, match=r"certificate\.pem cannot be used: it is damaged\."):
        load_or_make(folder, [])


def test_a_key_of_another_kind_is_anothers_and_not_damaged(folder: DataFolder) -> None:
    put(folder, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    key = folder.read_private("certificate.key") or b""
    put(folder, ec.generate_private_key(ec.SECP256R1()))
    folder.write_private("certificate.key", key)
    with pytest.raises(CertificateUnusable, match="its key is another one's"):
        load_or_make(folder, [])


def test_a_chain_in_the_wrong_order_is_told(folder: DataFolder) -> None:
    put(folder, ec.generate_private_key(ec.SECP256R1()))
    issuer = folder.read_private("certificate.pem") or b""
    put(folder, ec.generate_private_key(ec.SECP256R1()))
    folder.write_private("certificate.pem", issuer + (folder.read_private("certificate.pem") or b""))
    with pytest.raises(CertificateUnusable, match="the certificate of its key does not stand first in it"):
        load_or_make(folder, [])


def test_a_certificate_without_a_channel_binding_stops_the_start(folder: DataFolder) -> None:
    put(folder, ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(CertificateUnusable, match="no channel binding"):
        load_or_make(folder, [])


def test_the_dates_of_the_certificate_are_known(folder: DataFolder) -> None:
    certificate = load_or_make(folder, [])
    assert timedelta(hours=23) < datetime.now(UTC) - certificate.valid_from < timedelta(hours=25)
    assert timedelta(days=3650) < certificate.expires_at - datetime.now(UTC) < timedelta(days=3653)
