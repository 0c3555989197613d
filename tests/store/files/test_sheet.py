"""A file that others change while it is used: an editor, another process, a full disk."""

import os
import resource
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from antiphon.errors import FolderUnsafe, RowInvalid, StoreUnusable, TryLater
from antiphon.store.files import sheet as sheet_module
from antiphon.store.files.layout import NUMBER, TEXT, Layout
from antiphon.store.files.sheet import Sheet, WriteLock


@dataclass(frozen=True)
class Thing:
    name: str
    number: int


THINGS = Layout(row=Thing, columns={"name": TEXT, "number": NUMBER}, unique={"name": lambda row: row.name})
ONE, TWO = Thing("one", 1), Thing("two", 2)


def opened(folder: Path) -> Sheet[Thing]:
    sheet = Sheet(folder / "things.csv", THINGS, WriteLock(folder / "lock"))
    sheet.make()
    return sheet


@pytest.fixture
def sheet(tmp_path: Path) -> Sheet[Thing]:
    sheet = opened(tmp_path)
    sheet.write([ONE, TWO])
    return sheet


def edit(sheet: Sheet[Thing], text: str) -> None:
    """Write to the file as an editor does, a while ago."""
    sheet.path.write_text(text, "utf-8")
    os.utime(sheet.path, (time.time() - 1,) * 2)


def test_what_was_written_is_there_for_the_next(sheet: Sheet[Thing], tmp_path: Path) -> None:
    assert sheet.rows() == opened(tmp_path).rows() == [ONE, TWO]


def test_a_file_that_nobody_has_changed_is_not_read_again(
    sheet: Sheet[Thing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sheet, "_read", None)
    assert sheet.rows() is sheet.rows()


def test_a_row_taken_out_by_hand_is_gone(sheet: Sheet[Thing]) -> None:
    edit(sheet, "name,number\ntwo,2\n")
    assert sheet.rows() == [TWO]


@pytest.mark.parametrize("name", ["three", "t'ree"], ids=["another size", "the same size"])
def test_a_row_changed_by_hand_is_seen(sheet: Sheet[Thing], name: str) -> None:
    edit(sheet, f"name,number\none,1\n{name[:3]},2\n")
    assert sheet.rows() == [ONE, Thing(name[:3], 2)]


def test_an_editor_that_empties_the_file_first_is_waited_for(
    sheet: Sheet[Thing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet_module, "SETTLED_SECONDS", 0.5)  # a busy machine may pause who writes
    written = threading.Event()

    def editor() -> None:
        with sheet.path.open("w") as file:
            file.write("name,number\n")
            file.flush()  # as if both rows were gone
            written.set()
            time.sleep(0.05)  # what an editor takes; not waited for by the test
            file.write("one,1\ntwo,2\nthree,3\n")

    thread = threading.Thread(target=editor)
    thread.start()
    written.wait()
    assert sheet.rows() == [ONE, TWO, Thing("three", 3)]
    thread.join()


def test_what_another_process_of_ours_has_written_is_not_waited_for(
    sheet: Sheet[Thing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet_module, "SETTLED_SECONDS", 60.0)
    monkeypatch.setattr(sheet_module, "CHANGING_SECONDS", 0.0)
    other = opened(tmp_path)
    other.write([ONE])
    assert sheet.rows() == [ONE]


def test_an_editor_that_takes_the_file_away_first_is_waited_for(
    sheet: Sheet[Thing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet_module, "SETTLED_SECONDS", 0.5)  # as above
    aside = sheet.path.with_suffix(".bak")
    sheet.path.rename(aside)
    threading.Timer(0.05, aside.rename, [sheet.path]).start()
    assert sheet.rows() == [ONE, TWO]


def test_a_file_that_is_written_to_all_the_time_is_given_up(
    sheet: Sheet[Thing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet_module, "CHANGING_SECONDS", 0.1)
    monkeypatch.setattr(sheet_module, "SETTLED_SECONDS", 0.5)  # a busy machine may pause who writes
    begun, done = threading.Event(), threading.Event()

    def restless() -> None:
        while not done.wait(0.001):
            os.utime(sheet.path)
            begun.set()

    thread = threading.Thread(target=restless)
    thread.start()
    begun.wait()
    try:
        with pytest.raises(TryLater) as caught:
            sheet.rows()
        assert "somebody is writing to it" in str(caught.value.__cause__)
    finally:
        done.set()
        thread.join()


def test_a_file_that_is_gone_is_missed_and_not_made_anew(sheet: Sheet[Thing]) -> None:
    sheet.path.unlink()
    with pytest.raises(TryLater) as caught:
        sheet.rows()
    assert str(caught.value.__cause__).startswith(f"{sheet.path} cannot be used: it is missing.")
    assert not sheet.path.exists()


def test_what_cannot_be_read_is_named_and_left_as_it_is(sheet: Sheet[Thing], tmp_path: Path) -> None:
    edit(sheet, "name,number\none,1\ntwo,zwei\n")
    for _ in range(2):
        with pytest.raises(TryLater) as caught:
            sheet.rows()
        assert isinstance(caught.value.__cause__, RowInvalid)
        assert str(caught.value.__cause__).startswith(f"{sheet.path}, line 3: what stands under “number” cannot")
    with pytest.raises(RowInvalid):
        opened(tmp_path)
    assert sheet.path.read_text() == "name,number\none,1\ntwo,zwei\n"
    edit(sheet, "name,number\none,1\n")
    assert sheet.rows() == [ONE]


@pytest.fixture
def no_room() -> Iterator[None]:
    """Let no file grow, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_old_file_and_what_is_known_of_it(sheet: Sheet[Thing], no_room: None) -> None:
    before = sheet.path.read_bytes()
    with pytest.raises(TryLater) as caught:
        sheet.write([ONE])
    assert isinstance(caught.value.__cause__, StoreUnusable)
    assert sheet.rows() == [ONE, TWO]
    assert sheet.path.read_bytes() == before
    assert list(sheet.path.parent.glob(".*")) == []


@pytest.mark.parametrize("mask", [0, 0o777])
def test_files_are_private_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        opened(tmp_path).write([ONE])
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "things.csv": 0o600,
        "lock": 0o600,
    }


def test_a_file_that_an_editor_left_readable_is_made_private_again(sheet: Sheet[Thing]) -> None:
    edit(sheet, "name,number\n")
    sheet.path.chmod(0o644)
    assert sheet.rows() == []
    assert stat.S_IMODE(sheet.path.stat().st_mode) == 0o600


def test_a_file_that_others_can_write_to_is_not_believed(sheet: Sheet[Thing], tmp_path: Path) -> None:
    edit(sheet, "name,number\n")
    sheet.path.chmod(0o620)
    with pytest.raises(TryLater) as caught:
        sheet.rows()
    assert isinstance(caught.value.__cause__, FolderUnsafe)
    with pytest.raises(FolderUnsafe):
        opened(tmp_path)


def test_a_link_in_the_place_of_a_file_is_refused(sheet: Sheet[Thing], tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    sheet.path.rename(elsewhere)
    sheet.path.symlink_to(elsewhere)
    for use in (sheet.rows, lambda: sheet.write([ONE])):
        with pytest.raises(TryLater) as caught:
            use()
        assert isinstance(caught.value.__cause__, FolderUnsafe)
    with pytest.raises(FolderUnsafe, match="is a symbolic link"):
        opened(tmp_path)


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderUnsafe, match="is a symbolic link"):
        opened(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_crash_has_left_is_taken_away(sheet: Sheet[Thing], tmp_path: Path) -> None:
    (tmp_path / ".things.csv.abc.new").touch()
    opened(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"things.csv", "lock"}


def test_a_lock_that_another_keeps_is_try_later(sheet: Sheet[Thing], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet_module, "LOCK_SECONDS", 0.01)
    lock = WriteLock(sheet.path.with_name("lock"))
    with FileLock(sheet.path.with_name("lock")), pytest.raises(TryLater) as caught, lock.held():
        pass
    assert "another process keeps it locked" in str(caught.value.__cause__)
    with lock.held():
        pass


def test_what_is_raised_while_the_lock_is_held_comes_out_as_it_is(sheet: Sheet[Thing]) -> None:
    lock = WriteLock(sheet.path.with_name("lock"))
    error = StoreUnusable(path="x", problem="y")
    with pytest.raises(StoreUnusable) as caught, lock.held():
        raise error
    assert caught.value is error
