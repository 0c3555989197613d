"""A store of files as a server has it open, and once more as a command has it beside the server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.store.files import FilesStore, open_files


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """The folder that a person may look into."""
    return tmp_path / "people"


@pytest.fixture
async def store(people: Path, tmp_path: Path) -> AsyncIterator[FilesStore]:
    opened = await open_files(people, tmp_path, serving=True)
    yield opened
    await opened.close()


@pytest.fixture
async def command(store: FilesStore, people: Path, tmp_path: Path) -> AsyncIterator[FilesStore]:
    opened = await open_files(people, tmp_path)
    yield opened
    await opened.close()
