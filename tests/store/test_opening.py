"""`--store` names a store."""

from pathlib import Path

import pytest

from antiphon.errors import SettingInvalid, StoreUnusable
from antiphon.settings import ServerSettings, files_folder
from antiphon.store.files import FilesStore
from antiphon.store.opening import accounts_file, open_store
from antiphon.store.sql import SqlStore


async def test_sqlite_stands_in_the_data_folder(tmp_path: Path) -> None:
    store = await open_store("sqlite", tmp_path, serving=True)
    await store.close()
    assert isinstance(store, SqlStore)
    assert accounts_file("sqlite", tmp_path) == tmp_path / "accounts.db"
    assert accounts_file("sqlite", tmp_path).exists()


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


@pytest.mark.parametrize("store", ["", "files", "files:", "sqlite:x", "postgresql://x", "FILES:x", "people"])
def test_another_store_is_refused_in_one_sentence(store: str) -> None:
    for use in (files_folder, lambda store: ServerSettings(store=store)):
        with pytest.raises(SettingInvalid) as caught:
            use(store)
        assert str(caught.value) == f"--store: must be sqlite or files:DIR, not “{store}”"


def test_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="names the home folder of a user who does not exist"):
        files_folder("files:~nobody-of-that-name/people")


async def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "people").touch()
    with pytest.raises(StoreUnusable, match="people cannot be used: it is not a folder"):
        await open_store(f"files:{tmp_path}/people", tmp_path)
