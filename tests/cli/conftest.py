"""Fixture: one server for the tests of this folder that do not change it, with an account for ann."""

from collections.abc import Iterator

import pytest

from support.processes import ServerProcess
from support.serving import seed


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run a server at log level debug whose only account at its start is ann's."""
    folder = tmp_path_factory.mktemp("server") / "data"
    seed(folder)
    with ServerProcess(folder, "--log-level", "debug") as server:
        yield server
