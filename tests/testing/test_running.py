"""`RunningServer`, and the pytest fixture that starts one."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from antiphon.errors import ServiceInvalid, SettingInvalid, SignInRefused
from antiphon.services import Session
from antiphon.testing import RunningServer


class ChatRoom:
    """A service that tells who has an open session."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def opened(self, session: Session) -> None:
        self.names.append(session.name)
        self.tasks.append(asyncio.create_task(asyncio.Event().wait()))  # type: ignore[arg-type] # never ends

    def closed(self, session: Session) -> None:
        self.names.remove(session.name)

    def received(self, message: str) -> str:
        return f"{message} {', '.join(self.names)}"


def test_people_sign_in_to_a_real_server_in_a_folder_of_its_own() -> None:
    hall = ChatRoom()
    with RunningServer(hall) as server:
        assert server.address.scheme == "tls"
        assert server.address.fingerprint is not None
        ann, bob = server.connect("ann"), server.connect("bob")
        assert ann.info.first
        assert ann.ask("here are") == "here are ann, bob"
        bob.close()
        with pytest.raises(SignInRefused):
            server.connect("bob", "not the password that it was")
        folder = server.folder
        assert (folder / "accounts.db").is_file()
    assert hall.names == []
    assert hall.tasks[0].cancelled()
    assert not folder.exists()
    assert "antiphon.testing" not in [thread.name for thread in threading.enumerate()]


def test_a_server_that_cannot_start_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ServiceInvalid), RunningServer(ChatRoom):
        pass
    with pytest.raises(SettingInvalid), RunningServer(session_total=0):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match="file"), RunningServer(folder=tmp_path / "file"):
        pass
    assert "antiphon.testing" not in [thread.name for thread in threading.enumerate()]


TESTS = """
import sys


def answer(message: str) -> str:
    return message.upper()


def test_before_the_fixture_nothing_is_loaded():
    assert "antiphon" in sys.modules
    assert not {"antiphon.server", "antiphon.testing", "antiphon.errors"} & sys.modules.keys()


def test_a_service(antiphon_server):
    server = antiphon_server(answer, plain=True)
    assert server.connect("ann").ask("hello") == "HELLO"
    other = antiphon_server()
    assert other.address.port != server.address.port
"""


def test_the_fixture_is_there_without_asking_and_costs_nothing_before(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
