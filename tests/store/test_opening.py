"""`--store` names a store."""

import os
from pathlib import Path

import pytest

from antiphon.errors import FolderUnusable, SettingInvalid, StoreUnusable
from antiphon.settings import ServerSettings
from antiphon.store.files import FilesStore
from antiphon.store.files.sheet import FILE_LIMIT
from antiphon.store.opening import accounts_file, open_store
from antiphon.store.sql import SqlStore
from antiphon.store_address import files_folder


async def test_sqlite_stands_in_the_data_folder(tmp_path: Path) -> None:
    store = await open_store("sqlite", tmp_path, serving=True)
    await store.close()
    assert isinstance(store, SqlStore)
    assert accounts_file("sqlite", tmp_path) == tmp_path / "accounts.db"
    assert (tmp_path / "accounts.db").exists()


@pytest.mark.parametrize("name", ["people", "мои люди", "a:b", "deep/er"])
async def test_files_stand_in_their_folder_and_sessions_in_the_data_folder(tmp_path: Path, name: str) -> None:
    spec = f"files:{tmp_path}/{name}"
    store = await open_store(spec, tmp_path, serving=True)
    await store.close()
    assert isinstance(store, FilesStore)
    assert accounts_file(spec, tmp_path) == tmp_path / name / "accounts.csv"
    assert {path.name for path in (tmp_path / name).iterdir() if path.suffix != ".lock"} == {
        "accounts.csv",
        "clients.txt",
        "invitations.csv",
        "numbers.csv",
    }
    assert (tmp_path / "sessions.db").exists()
    assert not (tmp_path / "accounts.db").exists()


def test_the_folder_is_taken_from_home_or_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files_folder("files:~/people") == tmp_path / "people"
    monkeypatch.chdir(tmp_path)
    assert files_folder("files:people") == tmp_path / "people"


@pytest.mark.parametrize("store", ["", "files", "files:", "sqlite:x", "mysql://x", "FILES:x", "people"])
def test_another_store_is_refused_in_one_sentence(store: str) -> None:
    for use in (files_folder, lambda store: ServerSettings(store=store)):
        with pytest.raises(SettingInvalid) as caught:
            use(store)
        assert str(caught.value) == (
            f"--store: must be sqlite, files:DIR or postgresql://USER@HOST/DATABASE, not “{store}”"
        )


def test_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="names the home folder of a user who does not exist"):
        files_folder("files:~nobody-of-that-name/people")


async def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "people").touch()
    with pytest.raises(StoreUnusable, match="people cannot be used: it is not a folder"):
        await open_store(f"files:{tmp_path}/people", tmp_path)


async def opened(store: str, data: Path) -> None:
    await (await open_store(store, data)).close()


async def test_a_start_that_was_cut_before_the_sessions_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "accounts.db").touch(0o600)  # as a crash leaves it
    await opened("sqlite", tmp_path)
    (tmp_path / "sessions.db").unlink()
    await opened("sqlite", tmp_path)


async def test_accounts_in_sqlite_are_begun_beside_the_sessions_of_a_store_of_files(tmp_path: Path) -> None:
    await opened(f"files:{tmp_path}/people", tmp_path)
    await opened("sqlite", tmp_path)
    (tmp_path / "accounts.db").unlink()
    await opened(f"files:{tmp_path}/people", tmp_path)
    with pytest.raises(
        FolderUnusable, match=r"accounts\.db cannot be used: it is missing, but sessions\.db is there"
    ):
        await opened("sqlite", tmp_path)


@pytest.mark.parametrize("left", ["numbers.csv", "clients.txt", "invitations.csv"])
async def test_accounts_in_a_file_are_not_begun_beside_other_files(tmp_path: Path, left: str) -> None:
    store = f"files:{tmp_path}/people"
    await opened(store, tmp_path)
    for path in (tmp_path / "people").iterdir():
        if path.name != left:
            path.unlink()
    with pytest.raises(StoreUnusable, match=f"accounts.csv cannot be used: it is missing, but {left} is there"):
        await opened(store, tmp_path)
    (tmp_path / "people" / left).unlink()
    await opened(store, tmp_path)


async def test_a_file_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    store = f"files:{tmp_path}/people"
    await opened(store, tmp_path)
    os.truncate(tmp_path / "people" / "accounts.csv", FILE_LIMIT + 1)  # a hole takes no room
    with pytest.raises(StoreUnusable, match=r"accounts\.csv cannot be used: it is larger than 128 MiB"):
        await opened(store, tmp_path)
