"""`ServerProcess` and the fixture that starts one: a service in worker processes, loaded by its name."""

import os
from collections.abc import Callable

import pytest

from antiphon.errors import UsageError
from antiphon.testing import ServerProcess


def process(_: str) -> str:
    """Return the number of the process that serves."""
    return str(os.getpid())


def test_two_people_are_served_by_two_workers(antiphon_server: Callable[..., ServerProcess]) -> None:
    server = antiphon_server(process, workers=2, message_limit=2048)
    assert isinstance(server, ServerProcess)
    served = {server.connect(name).ask("") for name in ("ann", "bob")}
    assert len(served) == 2
    assert str(os.getpid()) not in served
    assert (server.folder / "server.log").exists()


def test_one_that_does_not_start_says_why(antiphon_server: Callable[..., ServerProcess]) -> None:
    with pytest.raises(RuntimeError, match=r"did not start(.|\n)*nowhere"):
        antiphon_server("nowhere.py:answer", workers=1)


def test_what_no_other_process_can_find_is_refused() -> None:
    with pytest.raises(UsageError, match="by name"):
        ServerProcess(lambda message: message)
