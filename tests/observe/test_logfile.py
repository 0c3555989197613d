import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.errors import FolderUnsafe, FolderUnusable
from antiphon.observe.logfile import LogFile, LogWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


@pytest.fixture
def room() -> Iterator[None]:
    """Restore the limit of file sizes after a test that has lowered it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def set_room(size: int) -> None:
    """Limit file sizes to `size` bytes, as on a disk that fills up; -1 for no limit."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def lost(count: int) -> str:
    return f"lost {count}"


def open_files() -> list[str]:
    """Return the paths of the open files of this process."""
    return [str(link.readlink()) for link in list(Path("/proc/self/fd").iterdir()) if link.is_symlink()]


def written_by(file: LogFile, *lines: bytes) -> list[int]:
    counts = [file.write(line) for line in lines]
    file.close()
    return counts


@pytest.mark.parametrize("mask", [0, 0o777])
def test_the_file_is_private_whatever_the_umask(path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        written_by(LogFile(path), b"line\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_mode_that_an_operator_has_set_stays(path: Path) -> None:
    path.touch()
    path.chmod(0o640)
    written_by(LogFile(path), b"line\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_lines_are_appended(path: Path) -> None:
    written_by(LogFile(path), b"1\n", b"2\n3\n")
    written_by(LogFile(path), b"4\n")
    assert path.read_bytes() == b"1\n2\n3\n4\n"


def test_a_symbolic_link_is_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "target")
    with pytest.raises(FolderUnsafe, match="is a symbolic link"):
        LogFile(path)
    assert not (tmp_path / "target").exists()


def test_another_users_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.touch()
    another = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)
    with pytest.raises(FolderUnsafe, match="belongs to another user"):
        LogFile(path)


def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "server.log"):
        with pytest.raises(FolderUnusable):
            LogFile(path)


def test_a_pipe_without_a_reader_is_refused_and_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(FolderUnusable):
        LogFile(path)


def test_a_file_that_was_renamed_is_made_again(path: Path) -> None:
    file = LogFile(path)
    file.write(b"before\n")
    path.rename(path.with_suffix(".1"))
    assert file.write(b"after\n") == 0
    assert [name for name in open_files() if "server" in name] == [str(path)]
    file.close()
    assert path.with_suffix(".1").read_bytes() == b"before\n"
    assert path.read_bytes() == b"after\n"


def test_a_link_put_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    file = LogFile(path)
    path.unlink()
    path.symlink_to(tmp_path / "target")
    assert written_by(file, b"1\n2\n") == [2]
    assert not (tmp_path / "target").exists()


def test_what_a_full_disk_does_not_take_is_counted() -> None:
    assert written_by(LogFile(Path("/dev/full")), b"1\n", b"2\n3\n") == [1, 2]


def test_a_file_removed_to_make_room_is_let_go(path: Path, room: None) -> None:
    file = LogFile(path)
    set_room(4)
    assert file.write(b"12345\n") == 1
    path.unlink()
    assert written_by(file, b"ok\n") == [0]
    assert path.read_bytes() == b"ok\n"


def test_a_line_cut_short_by_a_full_disk_does_not_run_into_the_next(path: Path, room: None) -> None:
    file = LogFile(path)
    set_room(8)
    assert file.write(b"whole\ncut short\nlost\n") == 2
    assert file.write(b"lost\n") == 1
    set_room(-1)
    assert written_by(file, b"next\n") == [0]
    assert path.read_bytes() == b"whole\ncu\nnext\n"


MANY_WRITERS = """
import sys
from pathlib import Path
from antiphon.observe.logfile import LogFile

file = LogFile(Path(sys.argv[1]))
sys.stdin.readline()
for batch in range(200):
    lines = [f"{sys.argv[2]} {batch} {line} " + "x" * 50 for line in range(1 + batch % 90)]
    assert file.write("".join(f"{line}\\n" for line in lines).encode()) == 0
"""


def test_several_processes_write_to_one_file_while_it_is_rotated(path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", MANY_WRITERS, path, name], stdin=subprocess.PIPE)
        for name in ("one", "two", "three")
    ]
    for writer in writers:
        assert writer.stdin
        writer.stdin.write(b"go\n")
        writer.stdin.close()
    rotated: list[Path] = []
    while any(writer.poll() is None for writer in writers):
        if path.exists() and path.stat().st_size > 300_000:
            rotated.append(path.rename(path.with_suffix(f".{len(rotated)}")))
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert rotated
    lines = [line for each in (*rotated, path) if each.exists() for line in each.read_text().split("\n")[:-1]]
    expected = [
        f"{name} {batch} {line} " + "x" * 50
        for name in ("one", "two", "three")
        for batch in range(200)
        for line in range(1 + batch % 90)
    ]
    assert sorted(lines) == sorted(expected), "a record was lost, mixed or torn"


def test_a_line_that_another_process_has_left_torn_does_not_run_into_the_next(path: Path) -> None:
    file = LogFile(path)
    file.write(b"one\n")
    with path.open("ab") as other:
        other.write(b"tw")
    assert written_by(file, b"three\n", b"four\n") == [0, 0]
    with path.open("ab") as other:
        other.write(b"fi")
    written_by(LogFile(path), b"six\n")
    assert path.read_bytes() == b"one\ntw\nthree\nfour\nfi\nsix\n"


def test_closing_writes_what_waits(path: Path) -> None:
    writer = LogWriter(LogFile(path), lost)
    for number in range(5000):
        writer.put(str(number))
    writer.close()
    assert path.read_text().split() == [str(number) for number in range(5000)]


class NotedFile(LogFile):
    """A file that records each write."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written: list[bytes] = []

    def write(self, lines: bytes) -> int:
        self.written.append(lines)
        return super().write(lines)


def test_what_comes_within_a_moment_is_written_together_and_closing_waits_for_no_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.observe.logfile.GATHER_SECONDS", 60)
    file = NotedFile(path)
    writer = LogWriter(file, lost)
    writer.put("one")
    while not writer._queue.empty():  # the thread has taken it and waits for more
        threading.Event().wait(0.01)
    for line in ("two", "three"):
        writer.put(line)
    writer.close()
    assert file.written == [b"one\ntwo\nthree\n"]


def test_a_line_is_rendered_by_the_thread_and_one_that_cannot_be_is_counted(path: Path) -> None:
    def broken() -> str:
        raise ValueError

    writer = LogWriter(LogFile(path), lost)
    writer.put("one")
    writer.put(broken)
    writer.put(lambda: f"two, by {threading.current_thread().name}")
    while "two" not in path.read_text():
        threading.Event().wait(0.01)
    writer.put("three")
    writer.close()
    text = path.read_text()
    assert text.replace("lost 1\n", "") == "one\ntwo, by log\nthree\n"
    assert text.count("lost 1\n") == 1


def test_what_comes_after_closing_is_dropped(path: Path) -> None:
    writer = LogWriter(LogFile(path), lost)
    writer.close()
    writer.put("late")
    writer.close()
    assert writer._queue.empty()
    assert path.read_bytes() == b""


class StuckFile(LogFile):
    """A file on a disk that blocks until `answers` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked = threading.Event()
        self.answers = threading.Event()

    def write(self, lines: bytes) -> int:
        self.asked.set()
        self.answers.wait()
        return super().write(lines)


def test_a_stuck_disk_blocks_nobody_and_what_is_dropped_is_told(path: Path) -> None:
    file = StuckFile(path)
    writer = LogWriter(file, lost, size=10)
    writer.put("first")
    assert file.asked.wait(60)
    for number in range(25):
        writer.put(str(number))
    file.answers.set()
    writer.close()
    assert path.read_text().split("\n") == ["first", "lost 15", *map(str, range(10)), ""]


def test_a_stuck_disk_does_not_stop_the_closing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.observe.logfile.CLOSE_SECONDS", 0.2)
    file = StuckFile(path)
    writer = LogWriter(file, lost, size=1)
    writer.put("first")
    assert file.asked.wait(60)
    writer.put("second")
    writer.close()
    assert path.read_bytes() == b""
    file.answers.set()


def test_what_a_full_disk_has_swallowed_is_told_when_there_is_room(path: Path, room: None) -> None:
    file = StuckFile(path)
    writer = LogWriter(file, lost)
    set_room(0)
    file.answers.set()
    writer.put("swallowed")
    while not writer.lost:  # the thread has tried
        threading.Event().wait(0.01)
    set_room(-1)
    writer.put("written")
    writer.close()
    assert path.read_text() == "lost 1\nwritten\n"
    assert (writer.lost, writer.dropped) == (0, 1)
