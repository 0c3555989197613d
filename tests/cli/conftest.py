"""Fixtures: one server for the tests that do not change it, with an account for ann; the declared commands."""

from collections.abc import Iterator

import pytest

from antiphon.cli.main import app
from antiphon.cli.reference.declaration import Command, declared
from support.processes import ServerProcess
from support.serving import seed


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run a server at log level debug whose only account at its start is ann's."""
    folder = tmp_path_factory.mktemp("server") / "data"
    seed(folder)
    with ServerProcess(folder, "--log-level", "debug") as server:
        yield server


@pytest.fixture(scope="session")
def whole() -> Command:
    """Return the declaration of all commands."""
    return declared(app)
