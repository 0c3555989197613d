import grp
import os
import pwd
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.address import Address
from antiphon.data import folder as folder_module
from antiphon.data.folder import DataFolder, data_folder
from antiphon.errors import FolderOfAnother, FolderUnsafe, FolderUnusable, KeyRingUnusable
from antiphon.files import write_atomically

RING_MAKER = """
import os, sys
from pathlib import Path
from antiphon.data.folder import DataFolder
print("ready", flush=True)
sys.stdin.readline()
print(DataFolder.open(Path(sys.argv[1])).key_ring(os.urandom).token_key.hex())
"""


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder.open(tmp_path / "data")


@pytest.fixture(params=[0, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the test under the widest and the narrowest umask."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def no_room() -> Iterator[None]:
    """Let no file grow, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_this_users_own_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder().is_relative_to(tmp_path)
    assert DataFolder.open().path == data_folder()


def test_folder_and_files_are_private_whatever_the_umask(tmp_path: Path, umask: None) -> None:
    folder = DataFolder.open(tmp_path / "data")
    folder.write_private("file", b"content")
    folder.key_ring(os.urandom)
    assert mode(folder.path) == 0o700
    assert {mode(path) for path in folder.path.iterdir()} == {0o600}


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = DataFolder.open(Path("data"))
    monkeypatch.chdir("/")
    folder.write_private("file", b"content")
    assert (tmp_path / "data" / "file").read_bytes() == b"content"


def test_what_is_written_is_read(folder: DataFolder) -> None:
    assert folder.read_private("file") is None
    for content in (b"first", b""):
        folder.write_private("file", content)
        assert folder.read_private("file") == content
    assert [path.name for path in folder.path.iterdir()] == ["file"]


@pytest.mark.parametrize("bits", [0o040, 0o004, 0o020, 0o002])
def test_a_file_that_others_can_use_is_refused(folder: DataFolder, bits: int) -> None:
    folder.write_private("file", b"content")
    (folder.path / "file").chmod(0o600 | bits)
    with pytest.raises(FolderUnsafe, match="can be read or written by others"):
        folder.read_private("file")


def test_a_symbolic_link_is_refused(folder: DataFolder, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"content")
    target.chmod(0o600)
    (folder.path / "file").symlink_to(target)
    with pytest.raises(FolderUnsafe, match="is a symbolic link"):
        folder.read_private("file")
    with pytest.raises(FolderUnsafe, match="is a symbolic link"):
        folder.write_private("file", b"other")
    assert target.read_bytes() == b"content"


def test_a_symbolic_link_in_place_of_the_lock_is_refused(folder: DataFolder, tmp_path: Path) -> None:
    (folder.path / "lock").symlink_to(tmp_path / "target")
    with pytest.raises(FolderUnsafe, match="lock is a symbolic link"), folder.lock():
        pass
    assert not (tmp_path / "target").exists()


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(folder: DataFolder) -> None:
    os.mkfifo(folder.path / "file", 0o600)
    with pytest.raises(FolderUnsafe, match="is not a plain file"):
        folder.read_private("file")


def test_what_belongs_to_another_user_is_refused(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_private("file", b"content")
    another = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)
    with pytest.raises(FolderUnsafe, match="belongs to another user"):
        folder.read_private("file")
    with pytest.raises(FolderUnsafe, match="belongs to another user"):
        DataFolder.open(folder.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_is_told_to_run_the_command_as_the_user_whose_folder_it_is(
    folder: DataFolder, tmp_path: Path
) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder.path, nobody.pw_uid, nobody.pw_gid)
    for path in (folder.path, folder.path / "below" / "new"):
        with pytest.raises(FolderOfAnother) as caught:
            DataFolder.open(path)
        assert caught.value.full() == (
            f"{path} belongs to nobody, and you are root. "
            "Put sudo -u nobody before the command, and it runs as that user."
        )
        assert "chmod" not in str(caught.value)
    os.chown(folder.path, 54321, -1)
    with pytest.raises(FolderOfAnother, match="Put sudo -u '#54321' before"):
        DataFolder.open(folder.path)
    (folder.path / "own").mkdir()
    with pytest.raises(FolderUnsafe, match="belongs to another user, who could replace") as other:
        DataFolder.open(folder.path / "own")
    assert not isinstance(other.value, FolderOfAnother), "the folder is root's own"


@pytest.mark.parametrize("bits", [0o020, 0o002])
def test_a_folder_that_others_can_write_to_is_refused(folder: DataFolder, bits: int) -> None:
    folder.path.chmod(0o700 | bits)
    with pytest.raises(FolderUnsafe, match="can be written to by others"):
        DataFolder.open(folder.path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(FolderUnusable, match="it is not a folder"):
            DataFolder.open(path)


def test_a_full_disk_leaves_the_old_content(folder: DataFolder, request: pytest.FixtureRequest) -> None:
    folder.write_private("file", b"old")
    request.getfixturevalue("no_room")
    with pytest.raises(FolderUnusable, match="too large"):
        folder.write_private("file", b"new")
    assert folder.read_private("file") == b"old"
    assert [path.name for path in folder.path.iterdir()] == ["file"]


def test_a_folder_that_is_gone_is_said(folder: DataFolder) -> None:
    folder.path.rmdir()
    with pytest.raises(FolderUnusable):
        folder.write_private("file", b"content")


def test_writing_is_flushed_to_the_disk_before_it_counts(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(source: str, target: Path) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    folder.write_private("file", b"content")
    assert steps == ["file", "rename", "folder"]


def test_a_file_beside_the_folder_can_be_written_so_too(tmp_path: Path) -> None:
    write_atomically(tmp_path / "port", b"7862\n")
    assert (tmp_path / "port").read_bytes() == b"7862\n"
    with pytest.raises(FolderUnusable):
        write_atomically(tmp_path / "missing" / "port", b"7862\n")


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "port"
    os.mkfifo(pipe)  # for root, a device could be replaced just as well
    with pytest.raises(FolderUnusable, match="not a plain file"):
        write_atomically(pipe, b"7862\n")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_the_lock_keeps_others_out_and_can_be_taken_again_inside(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "LOCK_SECONDS", 0.1)
    other = DataFolder.open(folder.path)
    with folder.lock():
        with folder.lock():
            pass
        with pytest.raises(FolderUnusable, match="another process keeps it locked"), other.lock():
            pass
    with other.lock():
        pass


def test_the_key_ring_is_made_once_and_kept(folder: DataFolder) -> None:
    made = folder.key_ring(os.urandom)
    again = DataFolder.open(folder.path).key_ring(os.urandom)
    assert (made.token_key, made.mock_key) == (again.token_key, again.mock_key)


def test_the_key_ring_is_made_under_the_lock(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "LOCK_SECONDS", 0.01)
    other = DataFolder.open(folder.path)

    def random(size: int) -> bytes:
        with pytest.raises(FolderUnusable), other.lock():
            pass
        return os.urandom(size)

    folder.key_ring(random)


def test_servers_that_start_together_share_one_key_ring(tmp_path: Path) -> None:
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", RING_MAKER, str(tmp_path / "new" / "data")],
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
    keys = {maker.communicate()[0] for maker in makers}
    assert [maker.returncode for maker in makers] == [0] * 4
    assert len(keys) == 1


def test_a_ring_is_never_made_beside_accounts_that_need_another(folder: DataFolder) -> None:
    folder.write_private("accounts.db", b"")
    with pytest.raises(KeyRingUnusable, match="it is missing"):
        folder.key_ring(os.urandom)
    assert folder.read_private("secret.key") is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_damaged_ring_is_refused_and_stays(folder: DataFolder, content: bytes) -> None:
    folder.write_private("secret.key", content)
    with pytest.raises(KeyRingUnusable):
        folder.key_ring(os.urandom)
    assert folder.read_private("secret.key") == content


def test_a_ring_that_others_can_read_is_refused(folder: DataFolder) -> None:
    folder.key_ring(os.urandom)
    (folder.path / "secret.key").chmod(0o644)
    with pytest.raises(FolderUnsafe):
        folder.key_ring(os.urandom)


def test_the_last_port_is_remembered(folder: DataFolder) -> None:
    assert folder.last_port is None
    folder.last_port = 7863
    assert DataFolder.open(folder.path).last_port == 7863


@pytest.mark.parametrize("content", [b"", b"x", b"0", b"-1", b"65536", b"9" * 9000, b"\xff"])
def test_what_is_no_last_port_is_ignored(folder: DataFolder, content: bytes) -> None:
    folder.write_private("port", content)
    assert folder.last_port is None


def test_a_last_port_that_cannot_be_written_stops_nothing(folder: DataFolder, no_room: None) -> None:
    folder.last_port = 7863
    assert folder.last_port is None


@pytest.mark.parametrize("host", ["localhost", "2001:db8::7", "школа.рф"])
def test_the_last_address_is_remembered_without_its_fingerprint(folder: DataFolder, host: str) -> None:
    assert folder.last_address is None
    address = Address("tls", host, 7863)
    folder.last_address = replace(address, fingerprint="sha256:" + "A" * 43)
    assert DataFolder.open(folder.path).last_address == address


@pytest.mark.parametrize("content", [b"", b"://", b"http://x", b"tls://a b", b"tls://a:0", b"\xff"])
def test_what_is_no_last_address_is_ignored(folder: DataFolder, content: bytes) -> None:
    folder.write_private("address", content)
    assert folder.last_address is None


def test_a_last_address_that_cannot_be_written_stops_nothing(folder: DataFolder, no_room: None) -> None:
    folder.last_address = Address("tls", "localhost", 7863)
    assert folder.last_address is None


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_folder_that_others_could_replace_is_refused_before_anything_is_made(tmp_path: Path, mode: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    for path in (shared / "data", shared / "between" / "data"):
        with pytest.raises(FolderUnsafe, match="shared can be written to by others, so they could replace"):
            DataFolder.open(path)
    assert list(shared.iterdir()) == []
    shared.chmod(0o1777)
    DataFolder.open(shared / "data")


def test_a_link_that_others_could_replace_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "link").symlink_to(tmp_path)
    shared.chmod(0o777)
    with pytest.raises(FolderUnsafe, match="shared can be written to by others"):
        DataFolder.open(shared / "link" / "data")


def test_what_a_link_leads_to_is_checked_as_well(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "between").mkdir(parents=True)
    shared.chmod(0o777)
    (tmp_path / "link").symlink_to(shared / "between")
    with pytest.raises(FolderUnsafe, match="shared can be written to by others"):
        DataFolder.open(tmp_path / "link" / "data")


def test_the_private_group_of_this_user_may_write_above_and_no_other(tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o770)
    os.chown(above, -1, pwd.getpwuid(os.geteuid()).pw_gid)
    DataFolder.open(above / "data")
    if os.geteuid() == 0:
        other = next(group.gr_gid for group in grp.getgrall() if group.gr_gid and group.gr_name != "root")
        os.chown(above, -1, other)
        with pytest.raises(FolderUnsafe, match="above can be written to by others"):
            DataFolder.open(above / "data")


def test_folders_above_that_are_made_are_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        DataFolder.open(tmp_path / "between" / "data")
    finally:
        os.umask(before)
    assert mode(tmp_path / "between") == 0o700
