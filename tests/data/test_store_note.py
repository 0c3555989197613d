"""The data folder notes which store it is used with."""

from pathlib import Path

import pytest

from antiphon.data.folder import DataFolder
from antiphon.data.store_note import STORE_FILE, note_store, noted_store, store_of
from antiphon.errors import FolderUnsafe, SettingInvalid
from antiphon.settings import ServerSettings
from support.log_records import records
from support.serving import serving

DATABASE = "postgresql://antiphon@db.example.org/antiphon"


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder.open(tmp_path / "data")


@pytest.mark.parametrize("store", ["sqlite", DATABASE, "files:/srv/мои люди"])
def test_what_is_noted_is_the_default(folder: DataFolder, store: str) -> None:
    assert noted_store(folder.path) is None
    assert store_of(ServerSettings(data=folder.path)) == "sqlite"
    assert note_store(folder, store) is None
    assert store_of(ServerSettings(data=folder.path)) == store
    assert store_of(ServerSettings(data=folder.path, store="files:/elsewhere")) == "files:/elsewhere"
    assert note_store(folder, store) is None, "the same again is no change"
    assert note_store(folder, "files:/elsewhere") == store


def test_files_inside_move_with_the_folder(folder: DataFolder, tmp_path: Path) -> None:
    note_store(folder, f"files:{folder.path}/people")
    moved = folder.path.rename(tmp_path / "moved")
    assert noted_store(moved) == f"files:{moved}/people"


def test_files_inside_are_the_same_by_every_path(folder: DataFolder, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder.path)
    for store in (f"files:{tmp_path}/link/people", f"files:{folder.path}/../data/people"):
        assert note_store(folder, store) is None
        assert noted_store(folder.path) == f"files:{folder.path}/people"
    assert note_store(folder, f"files:{tmp_path}/people") == f"files:{folder.path}/people"


def test_a_folder_of_files_of_an_earlier_version_has_no_note(folder: DataFolder) -> None:
    (folder.path / "accounts.csv").touch()
    (folder.path / "secret.key").touch()
    assert noted_store(folder.path) is None, "accounts.csv alone may be a file to import"
    (folder.path / "numbers.csv").touch()
    assert noted_store(folder.path) == store_of(ServerSettings(data=folder.path)) == f"files:{folder.path}"
    assert note_store(folder, f"files:{folder.path}") is None
    assert (folder.path / STORE_FILE).read_text() == "files:.\n"
    (folder.path / STORE_FILE).unlink()
    (folder.path / "accounts.db").touch()
    assert noted_store(folder.path) is None, "a server has begun a database there"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("oracle\n", "must be sqlite, files:DIR or postgresql://USER@HOST/DATABASE, not “oracle”"),
        ("postgresql://ann:secret@there/db\n", "a password in an address can be read"),
    ],
)
def test_a_note_that_names_no_store_is_refused_until_a_store_is_named(
    folder: DataFolder, written: str, told: str
) -> None:
    folder.write_private(STORE_FILE, written.encode())
    with pytest.raises(SettingInvalid) as caught:
        noted_store(folder.path)
    assert str(caught.value).startswith(f"{folder.path / STORE_FILE}: {told}")
    assert "secret" not in str(caught.value)
    assert note_store(folder, "sqlite") is None
    assert noted_store(folder.path) == "sqlite"


def test_a_note_that_others_can_write_is_refused(folder: DataFolder) -> None:
    note_store(folder, "sqlite")
    (folder.path / STORE_FILE).chmod(0o622)
    with pytest.raises(FolderUnsafe):
        noted_store(folder.path)


def test_a_missing_folder_notes_nothing(tmp_path: Path) -> None:
    assert noted_store(tmp_path / "missing") is None
    (tmp_path / "file").touch()
    assert noted_store(tmp_path / "file") is None


def test_a_relay_address_needs_a_database_whoever_names_it(folder: DataFolder) -> None:
    settings = ServerSettings(data=folder.path, relay_address="node1.example.org")
    assert settings.store is None
    with pytest.raises(SettingInvalid, match="only servers on one PostgreSQL database relay to each other"):
        ServerSettings(data=folder.path, relay_address="node1.example.org", store=store_of(settings))


def test_a_server_notes_its_store_and_tells_of_a_change(tmp_path: Path) -> None:
    people = f"files:{tmp_path}/people"
    with serving(tmp_path / "data"):
        pass
    assert noted_store(tmp_path / "data") == "sqlite"
    with serving(tmp_path / "data", store=people):
        pass
    with serving(tmp_path / "data") as last:
        assert last.server.settings.store == people
    told = [each.fields for each in records(tmp_path / "data" / "server.log") if each.event == "store-changed"]
    assert told == [f' was="sqlite" now="{people}"']
