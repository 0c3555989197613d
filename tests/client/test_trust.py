"""The file of known servers: a line for each key of a host and port, which a person can read and write."""

import os
from pathlib import Path

import pytest

from antiphon.address import Address
from antiphon.client.addresses import ProvedKeys
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import FolderUnsafe, KnownServersUnusable, ServerKeyChanged, UsageError

KEY = "sha256:" + "A" * 43
OTHER = "sha256:" + "B" * 42 + "A"
THIRD = "sha256:" + "C" * 42 + "A"


def at(host: str, fingerprint: str | None = None, port: int = 7862) -> Address:
    return Address("tls", host, port, None, fingerprint)


@pytest.fixture
def known(tmp_path: Path) -> KnownServers:
    return KnownServers(tmp_path / "folder" / "known_servers")


def test_nobody_is_known_at_first(known: KnownServers) -> None:
    assert known.standing(at("host"), KEY) is Standing.UNKNOWN
    assert not known.path.exists()


def test_a_remembered_key_is_known_for_its_host_and_port_only(known: KnownServers) -> None:
    known.remember("host", KEY, 7862)
    assert known.standing(at("host"), KEY) is Standing.KNOWN
    assert known.standing(at("host", port=1), OTHER) is Standing.UNKNOWN
    assert known.standing(at("other"), OTHER) is Standing.UNKNOWN


def test_two_servers_of_one_host_are_both_known(known: KnownServers) -> None:
    known.remember("localhost", KEY, 7862)
    known.remember("localhost", OTHER, 7863)
    assert known.standing(at("localhost", port=7862), KEY) is Standing.KNOWN
    assert known.standing(at("localhost", port=7863), OTHER) is Standing.KNOWN
    with pytest.raises(ServerKeyChanged):
        known.standing(at("localhost", port=7863), KEY)


def test_a_line_without_a_port_is_for_every_port_that_has_no_line_of_its_own(known: KnownServers) -> None:
    known.remember("host", KEY)
    assert known.path.read_text() == f"host {KEY}\n", "as earlier versions wrote it"
    assert known.standing(at("host", port=1), KEY) is Standing.KNOWN
    with pytest.raises(ServerKeyChanged):
        known.standing(at("host", port=1), OTHER)
    known.remember("host", KEY, 1)
    assert known.path.read_text() == f"host {KEY}\n", "it is known already"
    known.remember("host", OTHER, 1)
    assert known.standing(at("host", port=1), OTHER) is Standing.KNOWN
    with pytest.raises(ServerKeyChanged, match=OTHER):
        known.standing(at("host", port=1), KEY)
    assert known.standing(at("host", port=2), KEY) is Standing.KNOWN


@pytest.mark.parametrize(
    ("remembered", "asked"), [("Host.", "host"), ("::1", "0:0:0:0:0:0:0:1"), ("127.0.0.1", "127.0.0.1")]
)
def test_one_host_in_two_spellings_is_one_host(known: KnownServers, remembered: str, asked: str) -> None:
    known.remember(remembered, KEY)
    assert known.standing(at(asked), KEY) is Standing.KNOWN


def test_another_key_of_a_known_host_is_refused_with_what_to_do(known: KnownServers) -> None:
    known.remember("host", KEY)
    known.remember("elsewhere", KEY, 7862)
    known.remember("host", THIRD, 7862)
    known.remember("host", KEY, 7863)
    with pytest.raises(ServerKeyChanged) as caught:
        known.standing(at("host"), OTHER)
    assert str(caught.value) == (
        f"The key of host is {OTHER}, and {THIRD} was expected: this may be an impostor. Ask the operator. "
        f"If the change is real, connect to the new address, or forget the old one: "
        f"antiphon known-servers forget host:7862 (lines of {known.path}: 1, 3)."
    )
    with pytest.raises(ServerKeyChanged) as caught:
        known.standing(at("host", THIRD), OTHER)
    assert str(caught.value).endswith("connect to the new address."), "the file has nothing to do with it"


def test_a_host_may_have_several_keys(known: KnownServers) -> None:
    known.remember("host", KEY)
    known.remember("host", OTHER)
    assert known.standing(at("host"), KEY) is known.standing(at("host"), OTHER) is Standing.KNOWN


def test_what_the_address_carries_comes_before_what_is_known(known: KnownServers) -> None:
    known.remember("host", KEY)
    assert known.standing(at("host", OTHER), OTHER) is Standing.PINNED
    with pytest.raises(ServerKeyChanged):
        known.standing(at("host", OTHER), KEY)


def test_an_address_may_carry_several_keys_and_then_no_other_counts(known: KnownServers) -> None:
    known.remember("host", THIRD)
    both = at("host", f"{KEY}+{OTHER}")
    assert known.standing(both, KEY) is known.standing(both, OTHER) is Standing.PINNED
    with pytest.raises(ServerKeyChanged) as caught:
        known.standing(both, THIRD)
    assert caught.value.fields["expected"] == f"{KEY}, {OTHER}"


def test_keys_in_one_line_are_those_of_one_server(known: KnownServers) -> None:
    known.remember("host", KEY)
    known.remember("host", f"{OTHER}+{THIRD}")
    known.remember("host", OTHER)
    assert [key.fingerprint for key in known.read()] == [KEY, f"{OTHER}+{THIRD}"]
    for each in (KEY, OTHER, THIRD):
        assert known.standing(at("host"), each) is Standing.KNOWN
    assert known.together(at("host"), THIRD) == {OTHER, THIRD}
    assert known.together(at("host"), KEY) == {KEY}
    assert known.together(at("elsewhere"), KEY) == set()


@pytest.mark.parametrize("first", [Standing.PINNED, Standing.KNOWN, Standing.VOUCHED, Standing.UNKNOWN])
def test_a_session_is_resumed_with_the_key_of_its_sign_in_or_another_one_of_that_server(
    known: KnownServers, first: Standing
) -> None:
    keys = ProvedKeys(known, at("host"), KEY, first)
    assert keys.standing(at("host"), KEY) is Standing.PINNED
    assert keys.standing(at("host", f"{KEY}+{OTHER}"), OTHER) is Standing.PINNED
    with pytest.raises(ServerKeyChanged):
        keys.standing(at("host", KEY), OTHER)
    if first is Standing.VOUCHED:  # authorities are asked again
        assert keys.standing(at("host"), OTHER) is Standing.UNKNOWN
        return
    for line in (KEY, OTHER, f"{OTHER}+{THIRD}"):  # merely known for the place
        known.remember("host", line)
        with pytest.raises(ServerKeyChanged):
            keys.standing(at("host"), OTHER)
    known.remember("host", f"{KEY}+{OTHER}")
    assert keys.standing(at("host"), OTHER) is Standing.KNOWN


def test_the_file_is_a_line_each_and_keeps_what_a_person_wrote(known: KnownServers) -> None:
    mine = f"# mine\n\nHOST:9 {KEY}  дома".encode() + b"\n#\xff\n  # indented"
    written(known, mine)
    known.remember("host", KEY, 7862)
    known.remember("host", KEY, 7862)
    assert known.path.read_bytes() == mine + f"\nhost:7862 {KEY}\n".encode()


def written(known: KnownServers, content: bytes, mode: int = 0o600) -> None:
    """Write the file as an editor would."""
    known.path.parent.mkdir()
    known.path.write_bytes(content)
    known.path.chmod(mode)


@pytest.mark.parametrize(
    "line",
    [
        f"host {KEY}",
        f"host:7862 {KEY}",
        f"host {KEY} old laptop",
        f"HOST.:7862\t{KEY} # of the school",
        f"\ufeffhost {KEY}",
        f"# first\r\nhost:7862 {KEY}\r",
    ],
)
def test_a_line_that_a_person_wrote_is_a_pin(known: KnownServers, line: str) -> None:
    written(known, f"{line}\n".encode())
    assert known.standing(at("host"), KEY) is Standing.KNOWN
    with pytest.raises(ServerKeyChanged):
        known.standing(at("host"), OTHER)


@pytest.mark.parametrize(
    "line",
    [
        "host",
        KEY,
        f"host: {KEY}",
        f"host:0 {KEY}",
        f"host:x {KEY}",
        f"[::1 {KEY}",
        f"tls://host:7862 {KEY}",
        f"host,other {KEY}",
        f"host {KEY[:-1]}",
        f"host {KEY},",
        f"host {KEY.upper()}",
        f"host ssh-ed25519 {KEY}",
        f"host\ufffd {KEY}",
    ],
)
def test_a_line_that_cannot_be_read_refuses_with_its_number(known: KnownServers, line: str) -> None:
    before = f"# mine\n{line}\n".encode()
    written(known, before)
    for act in (
        lambda: known.standing(at("host"), OTHER),
        lambda: known.remember("host", OTHER, 7862),
        lambda: known.forget("host", None),
    ):
        with pytest.raises(KnownServersUnusable, match="line 2 is not HOST:PORT and a key"):
            act()
    assert known.standing(at("host", OTHER), OTHER) is Standing.PINNED, "the address says which key it is"
    assert known.path.read_bytes() == before


def test_a_file_that_others_can_write_is_refused_and_one_that_they_can_read_is_closed_to_them(
    known: KnownServers,
) -> None:
    written(known, f"host {KEY}\n".encode(), mode=0o664)
    for act in (lambda: known.standing(at("host"), KEY), lambda: known.remember("host", OTHER, 7862)):
        with pytest.raises(FolderUnsafe, match="can be read or written by others"):
            act()
    known.path.chmod(0o644)
    assert known.standing(at("host"), KEY) is Standing.KNOWN
    assert known.path.stat().st_mode & 0o777 == 0o600


def test_a_symbolic_link_in_its_place_is_refused(known: KnownServers, tmp_path: Path) -> None:
    known.path.parent.mkdir()
    (tmp_path / "elsewhere").write_text(f"host {KEY}\n")
    known.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderUnsafe, match="is a symbolic link"):
        known.standing(at("host"), KEY)


def test_a_file_of_another_user_is_refused(known: KnownServers, monkeypatch: pytest.MonkeyPatch) -> None:
    written(known, f"host {KEY}\n".encode())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(FolderUnsafe, match="belongs to another user"):
        known.standing(at("host"), KEY)


def test_forgetting_removes_the_lines_that_concern_a_place_and_no_others(known: KnownServers) -> None:
    lines = ["# \u044f\n", f"host {KEY}\n", f"host:7862 {OTHER} mine\n", f"host:1 {KEY}\n", f"[::1]:2 {KEY}\n"]
    written(known, "".join(lines).encode())
    assert [key.line for key in known.forget("Host.", 7862)] == [2, 3]
    assert known.path.read_text() == "".join([lines[0], *lines[3:]])
    assert known.forget("host", 7862) == []
    assert [(key.host, key.port) for key in known.forget("0:0::1", None)] == [("::1", 2)]
    assert known.path.read_text() == lines[0] + lines[3]
    assert known.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("host", ["host", "школа.рф", "::1", "fe80::1%eth0", "127.0.0.1"])
def test_what_is_remembered_is_read_again(known: KnownServers, host: str) -> None:
    known.remember(host, KEY, 7862)
    assert [(key.host, key.port) for key in known.read()] == [(host, 7862)]
    assert known.standing(at(host), KEY) is Standing.KNOWN


def test_a_new_file_is_its_owners_alone_and_the_only_one(known: KnownServers) -> None:
    known.remember("host", KEY)
    assert [path.name for path in known.path.parent.iterdir()] == ["known_servers"]
    assert known.path.stat().st_mode & 0o077 == 0


def test_folders_that_are_made_for_it_are_its_owners_alone(tmp_path: Path) -> None:
    umask = os.umask(0o277)
    try:
        KnownServers(tmp_path / "one" / "two" / "known_servers").remember("host", KEY, 7862)
    finally:
        os.umask(umask)
    assert [(tmp_path / folder).stat().st_mode & 0o777 for folder in ("one", "one/two")] == [0o700, 0o700]


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(KnownServersUnusable, match="cannot be used"):
        KnownServers(tmp_path).standing(at("host"), KEY)
    with pytest.raises(KnownServersUnusable, match="/proc/nothing/known_servers"):
        KnownServers(Path("/proc/nothing/known_servers")).remember("host", KEY)


def test_without_a_home_folder_nobody_is_known_and_nothing_can_be_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("antiphon.client.trust.user_folder", lambda kind: None)
    known = KnownServers()
    assert known.standing(at("host"), KEY) is Standing.UNKNOWN
    with pytest.raises(UsageError, match="This user has no home folder: name a file with --known-servers"):
        known.remember("host", KEY, 7862)
