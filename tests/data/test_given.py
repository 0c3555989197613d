"""Files that the service manager gives: they come first, and are never made, changed or copied."""

import os
import secrets
import ssl
from pathlib import Path

import pytest

from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE, load_or_make
from antiphon.data.folder import KEY_RING_FILE, PORT_FILE, DataFolder
from antiphon.errors import CertificateUnusable, FolderUnsafe, KeyRingUnusable
from antiphon.identity.certificates import fingerprint_of
from antiphon.identity.keys import KeyRing

SECRETS = (KEY_RING_FILE, KEY_FILE, CERTIFICATE_FILE)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is given: the secrets of a data folder that is gone."""
    source = DataFolder.open(tmp_path / "source")
    source.key_ring(secrets.token_bytes)
    load_or_make(source, ["localhost"])
    folder = tmp_path / "given"
    folder.mkdir()
    for name in SECRETS:
        (source.path / name).rename(folder / name)
        (folder / name).chmod(0o440)  # as systemd has it: the group's bits stand for a list of access
    folder.chmod(0o500)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_what_is_given_is_used_and_nothing_of_it_is_in_the_data_folder(given: Path, tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path / "data")
    ring = KeyRing.parse((given / KEY_RING_FILE).read_bytes())
    assert folder.key_ring(secrets.token_bytes).token_key == ring.token_key
    der = ssl.PEM_cert_to_DER_cert((given / CERTIFICATE_FILE).read_text())
    assert load_or_make(folder, []).fingerprint == fingerprint_of(der)
    assert not [name for name in SECRETS if (folder.path / name).exists()]
    assert sorted(each.name for each in given.iterdir()) == sorted(SECRETS)


def test_it_comes_before_what_the_data_folder_has(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = load_or_make(DataFolder.open(tmp_path / "data"), []).fingerprint
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    folder = DataFolder.open(tmp_path / "data")
    ours, ring = load_or_make(folder, []).fingerprint, folder.key_ring(secrets.token_bytes)
    assert ours != theirs
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    assert load_or_make(folder, []).fingerprint == theirs
    assert folder.key_ring(secrets.token_bytes).token_key != ring.token_key


def test_no_other_file_is_read_there(given: Path, tmp_path: Path) -> None:
    given.chmod(0o700)
    (given / PORT_FILE).write_text("9000\n")
    assert DataFolder.open(tmp_path / "data").last_port is None


def test_one_that_is_not_given_is_that_of_the_data_folder(given: Path, tmp_path: Path) -> None:
    given.chmod(0o700)
    (given / CERTIFICATE_FILE).unlink()
    folder = DataFolder.open(tmp_path / "data")
    load_or_make(folder, [])  # a certificate of the key that is given: it holds no secret
    assert (folder.path / CERTIFICATE_FILE).exists()
    assert not (folder.path / KEY_FILE).exists()
    (given / KEY_FILE).unlink()
    with pytest.raises(CertificateUnusable, match="its key is missing"):
        load_or_make(folder, [])


def test_a_ring_that_is_given_cannot_be_changed_here(given: Path, tmp_path: Path) -> None:
    before = (given / KEY_RING_FILE).read_bytes()
    with pytest.raises(KeyRingUnusable, match="service manager"):
        DataFolder.open(tmp_path / "data").change_key_ring(lambda ring: ring.with_new_key(secrets.token_bytes))
    assert (given / KEY_RING_FILE).read_bytes() == before
    assert not (tmp_path / "data" / KEY_RING_FILE).exists()


@pytest.mark.parametrize("mode", [0o444, 0o460, 0o402])
def test_what_others_can_read_or_write_is_refused(given: Path, tmp_path: Path, mode: int) -> None:
    (given / KEY_RING_FILE).chmod(mode)
    with pytest.raises(FolderUnsafe, match="can be read or written by others"):
        DataFolder.open(tmp_path / "data").key_ring(secrets.token_bytes)


def test_a_link_is_refused_and_a_relative_folder_gives_nothing(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given.chmod(0o700)
    (given / KEY_RING_FILE).rename(given / "elsewhere")
    (given / KEY_RING_FILE).symlink_to(given / "elsewhere")
    with pytest.raises(FolderUnsafe, match="symbolic link"):
        DataFolder.open(tmp_path / "data").key_ring(secrets.token_bytes)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", os.path.relpath(given))
    folder = DataFolder.open(tmp_path / "data")
    folder.key_ring(secrets.token_bytes)
    assert (folder.path / KEY_RING_FILE).is_file()
