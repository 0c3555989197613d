"""A home that was frozen for so long that others have taken its sessions over, and wakes."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.transport.endpoint import FROZEN_SECONDS
from support.desk import sent
from support.moving import Two, back, back_at_last, two_servers
from support.serving import seed


@pytest.fixture
def token(tmp_path: Path) -> bytes:
    (token,) = seed(tmp_path / "data")
    return token


@pytest.fixture
def two(tmp_path: Path, token: bytes) -> Iterator[Two]:
    with two_servers(tmp_path, "--plain") as servers:
        yield servers


@pytest.mark.parametrize("busy", [True, False])
def test_a_home_that_was_frozen_and_has_lost_its_session_does_nothing_more_for_it(
    two: Two, token: bytes, tmp_path: Path, busy: bool
) -> None:
    client, _ = back(two.home, token)
    gate = tmp_path / "gate"
    message = f"wait {gate}" if busy else "hello"
    sent(client, message)
    two.wait_for(f"run {message}")
    two.home.signal(signal.SIGSTOP)
    gate.touch()
    sent(client, "late")  # these bytes wait in its socket
    other, welcome = back_at_last(two.other, token, 0)
    assert welcome.received is None
    assert other.ask("elsewhere") == "elsewhere"
    two.home.signal(signal.SIGCONT)
    two.home.logged(" unfenced")
    client.closed()
    two.wait_for("closed ann")  # its channel is at an end
    assert other.ask("state") == "2"
    assert not two.ran(f"after {gate}"), "a step of its handler"
    assert not two.ran("run late"), "bytes in its socket"
    other.leave()


def test_a_home_that_was_frozen_and_has_lost_nothing_goes_on(two: Two, token: bytes) -> None:
    client, _ = back(two.home, token)
    sent(client, "slow 1")
    two.wait_for("run slow 1")
    two.home.signal(signal.SIGSTOP)
    sent(client, "late")
    time.sleep(FROZEN_SECONDS + 1)
    two.home.signal(signal.SIGCONT)
    two.home.logged(" unfenced")
    two.wait_for("run late")
    assert two.ran("after 1")
    client.leave()
