"""The file of known servers: by host and key, on any port, a line each that a person can read."""

from pathlib import Path

import pytest

from antiphon.address import Address
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import KnownServersUnusable, ServerKeyChanged

KEY = "sha256:" + "A" * 43
OTHER = "sha256:" + "B" * 42 + "A"


def at(host: str, fingerprint: str | None = None, port: int = 7862) -> Address:
    return Address("tls", host, port, None, fingerprint)


@pytest.fixture
def known(tmp_path: Path) -> KnownServers:
    return KnownServers(tmp_path / "folder" / "known_servers")


def test_nobody_is_known_at_first(known: KnownServers) -> None:
    assert known.standing(at("host"), KEY) is Standing.UNKNOWN
    assert not known.path.exists()


def test_a_remembered_key_is_known_on_any_port_and_for_its_host_only(known: KnownServers) -> None:
    known.remember("host", KEY)
    assert known.standing(at("host", port=1), KEY) is Standing.KNOWN
    assert known.standing(at("other"), KEY) is Standing.UNKNOWN


@pytest.mark.parametrize(
    ("remembered", "asked"), [("Host.", "host"), ("::1", "0:0:0:0:0:0:0:1"), ("127.0.0.1", "127.0.0.1")]
)
def test_one_host_in_two_spellings_is_one_host(known: KnownServers, remembered: str, asked: str) -> None:
    known.remember(remembered, KEY)
    assert known.standing(at(asked), KEY) is Standing.KNOWN


def test_another_key_of_a_known_host_is_refused_with_what_to_do(known: KnownServers) -> None:
    known.remember("host", KEY)
    with pytest.raises(ServerKeyChanged) as caught:
        known.standing(at("host"), OTHER)
    assert str(caught.value) == (
        f"The key of host is {OTHER}, and {KEY} was expected: this may be an impostor. Ask the operator. "
        f"If the change is real, connect to the new address, or remove the line of host from {known.path}."
    )


def test_a_host_may_have_several_keys(known: KnownServers) -> None:
    known.remember("host", KEY)
    known.remember("host", OTHER)
    assert known.standing(at("host"), KEY) is known.standing(at("host"), OTHER) is Standing.KNOWN


def test_what_the_address_carries_comes_before_what_is_known(known: KnownServers) -> None:
    known.remember("host", KEY)
    assert known.standing(at("host", OTHER), OTHER) is Standing.PINNED
    with pytest.raises(ServerKeyChanged):
        known.standing(at("host", OTHER), KEY)


def test_the_file_is_a_line_each_and_keeps_what_a_person_wrote(known: KnownServers) -> None:
    known.path.parent.mkdir()
    known.path.write_bytes(b"# mine\nhalf\n\xff\n")
    known.remember("host", KEY)
    known.remember("host", KEY)
    assert known.path.read_bytes() == b"# mine\nhalf\n\xff\n" + f"host {KEY}\n".encode()


def test_a_new_file_is_its_owners_alone_and_the_only_one(known: KnownServers) -> None:
    known.remember("host", KEY)
    assert [path.name for path in known.path.parent.iterdir()] == ["known_servers"]
    assert known.path.stat().st_mode & 0o077 == 0


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(KnownServersUnusable, match="cannot be used"):
        KnownServers(tmp_path).standing(at("host"), KEY)
    with pytest.raises(KnownServersUnusable, match="/proc/nothing/known_servers"):
        KnownServers(Path("/proc/nothing/known_servers")).remember("host", KEY)
