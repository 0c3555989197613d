"""A data folder that is not as we left it is refused, and the sentence names what is wrong (issue 14, point 9)."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.attack import tell
from support.guessing import seed_names
from support.processes import ServerProcess
from support.serving import seed

MIB = 1024 * 1024
HUGE_CELL = 50 * MIB
READING_MOST = 4 * HUGE_CELL
"""Memory that reading a file with such a cell may take: the file itself, and little else."""


def refusal(folder: Path, *options: str) -> str:
    """Return what a server that does not start says on standard error; one that starts fails the test."""
    with pytest.raises(RuntimeError) as refused, ServerProcess(folder, "--plain", *options):
        pass
    assert "Traceback" not in str(refused.value)
    return str(refused.value)


def served(folder: Path, *options: str) -> None:
    """Serve from a folder for a moment."""
    with ServerProcess(folder, "--plain", *options):
        pass


# --- the lock -----------------------------------------------------------------------------------------------


def _folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_there(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("put", [_folder_there, _link_there])
def test_a_wrong_lock_file_is_called_by_its_name(tmp_path: Path, put: Callable[[Path], None]) -> None:
    seed(tmp_path / "data")
    put(tmp_path / "data" / "store.lock")
    said = refusal(tmp_path / "data")
    assert "store.lock" in said
    assert "accounts.db" not in said


# --- the folders above --------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["data", "between/data"])
def test_a_folder_below_one_that_anybody_may_write_to_is_refused(tmp_path: Path, below: str) -> None:
    shared = tmp_path / "shared"
    (shared / below).parent.mkdir(parents=True)
    shared.chmod(0o777)
    (shared / below).mkdir(mode=0o700)
    said = refusal(shared / below)
    assert str(shared) in said
    assert re.search(r"written to by others|belongs to another user", said), said


def test_a_folder_below_one_in_which_each_keeps_their_own_is_accepted(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)  # as /tmp
    served(shared / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_below_another_users_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "data").mkdir(parents=True, mode=0o700)
    os.chown(theirs, 65534, 65534)
    assert f"{theirs}" in refusal(theirs / "data")


# --- a cell that is too large -------------------------------------------------------------------------------


def _with_huge_cell(folder: Path) -> Path:
    """Put a line with a huge cell at the end of `accounts.csv`; return the file."""
    path = folder / "accounts.csv"
    with path.open("rb") as file:
        columns = file.readline().count(b",")
    with path.open("ab") as file:
        file.write("😀".encode() + b"a" * HUGE_CELL + b"," * columns + b"\n")  # 4 bytes a character to Python
    return path


def peak(pid: int) -> int:
    """Return the bytes that a process has held at the most."""
    (found,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE)
    return int(found) * 1024


def test_a_start_with_a_huge_cell_is_refused_with_its_line(tmp_path: Path) -> None:
    store = f"files:{tmp_path}/store"
    seed_names(tmp_path / "data", ["ann"], store)
    _with_huge_cell(tmp_path / "store")
    said = refusal(tmp_path / "data", "--store", store)
    assert "accounts.csv" in said
    assert re.search(r"\bline 3\b", said), said
    assert len(said) < 1000


def test_a_huge_cell_takes_little_memory_of_a_server_that_runs(tmp_path: Path) -> None:
    store = f"files:{tmp_path}/store"
    seed_names(tmp_path / "data", ["ann"], store)
    with ServerProcess(tmp_path / "data", "--plain", "--store", store) as server:
        before = peak(server.process.pid)
        _with_huge_cell(tmp_path / "store")
        server.logged(r"accounts\.csv.*line 3|line 3.*accounts\.csv")
        grown = peak(server.process.pid) - before
        tell("memory", grown=grown)
        assert grown < READING_MOST


# --- accounts that are gone ---------------------------------------------------------------------------------


def _missing(path: Path) -> None:
    path.unlink()
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)


def _empty(path: Path) -> None:
    _missing(path)
    path.touch(mode=0o600)


@pytest.mark.parametrize("spoil", [_missing, _empty])
@pytest.mark.parametrize("store", ["sqlite", "files"])
def test_accounts_that_are_gone_are_not_begun_anew(
    tmp_path: Path, store: str, spoil: Callable[[Path], None]
) -> None:
    kept_in = store if store == "sqlite" else f"files:{tmp_path}/store"
    path = tmp_path / "data" / "accounts.db" if store == "sqlite" else tmp_path / "store" / "accounts.csv"
    seed_names(tmp_path / "data", ["ann"], kept_in)
    served(tmp_path / "data", "--store", kept_in)
    spoil(path)
    said = refusal(tmp_path / "data", "--store", kept_in)
    assert path.name in said
    assert path.exists() == (spoil is _empty)  # and nothing was made in its place


@pytest.mark.parametrize("store", ["sqlite", "files"])
def test_a_folder_that_is_begun_anew_on_purpose_is_accepted(tmp_path: Path, store: str) -> None:
    """Where everything was taken away, the server begins again."""
    kept_in = store if store == "sqlite" else f"files:{tmp_path}/store"
    seed_names(tmp_path / "data", ["ann"], kept_in)
    for folder in ("data", "store"):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(tmp_path / folder)
    served(tmp_path / "data", "--store", kept_in)
