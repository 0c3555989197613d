"""What stands on the disk (promises 3, 14 and 22): nothing that opens an account but the key ring, and nobody."""

import os
from pathlib import Path

import pytest

from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, make_verifier
from antiphon.wire.bodies import Credential, Identified, Register, Welcome
from antiphon.wire.kinds import Kind
from support.key_rings import change_keys, in_store, ring_of
from support.log_records import spellings
from support.processes import PASSWORD
from support.serving import serving


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_no_file_but_the_key_ring_holds_what_opens_an_account(data: Path) -> None:
    kept = make_verifier(Password(PASSWORD), os.urandom(SALT_SIZE), ITERATIONS)
    with serving(data) as server, server.client() as client:
        hello = client.hello()
        assert (hello.scram.salt_length, hello.scram.iterations) == (SALT_SIZE, ITERATIONS) == (32, 600_000)
        credential = Credential(
            salt=kept.salt, iterations=ITERATIONS, stored_key=kept.stored_key, server_key=kept.server_key
        )
        body = client.request(Kind.REGISTER, Register(name="ann", credential=credential))
        assert body == Identified(name="ann", free=False)
        welcome = client.authenticate("ann", PASSWORD)
        assert isinstance(welcome, Welcome)
        before = ring_of(data)
        change_keys(data)
        after = ring_of(data)
        files = {
            path.name: path.read_bytes() for path in data.iterdir() if path.is_file()
        }  # while it runs: with what SQLite keeps
    del files["secret.key"]
    assert {"accounts.db", "accounts.db-wal", "sessions.db", "server.log", "certificate.key"} <= set(files)
    secrets = [PASSWORD.encode(), kept.salt, kept.stored_key, kept.server_key, welcome.token or b""]
    for ring in (before, after):
        secrets += [ring.token_key, ring.mock_key, *ring.sealing_keys.values()]
    for secret in secrets:
        for name, content in files.items():
            assert secret not in content, name
            for spelling in spellings(secret):
                assert spelling.encode("utf-8", "surrogatepass") not in content, name


def test_tokens_and_keys_come_from_the_systems_generator(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bytes] = []
    draw = os.urandom

    def urandom(size: int) -> bytes:
        drawn.append(draw(size))
        return drawn[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    with serving(data, plain=True) as server, server.client() as client:
        token = client.sign_in("ann", PASSWORD, new=True).token
        client.leave()
    ring = ring_of(data)
    assert token in drawn
    assert len(token) == 16
    assert {ring.token_key, ring.mock_key, ring.sealing_keys[1]} <= set(drawn)


def test_a_new_server_knows_nobody(data: Path) -> None:
    with serving(data, plain=True):
        assert in_store(data, lambda store: store.accounts.overviews()) == []
    assert sorted(path.name for path in data.glob("*.db")) == ["accounts.db", "sessions.db"]
