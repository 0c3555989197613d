"""A worker's process, as its supervisor sees it."""

import os
import signal
import time
from typing import cast

import msgspec
import pytest

from antiphon.errors import ServiceNotLoaded
from antiphon.server.topics.hub import Hub
from antiphon.server.workers.process import Owner, WorkerProcess
from server.workers.test_link import START


class Lost:
    """A supervisor that is told nothing but the end."""

    def lost(self, worker: WorkerProcess) -> None:
        """See `Owner`."""


async def test_what_a_worker_has_said_is_read_before_its_end_is_known() -> None:
    worker = WorkerProcess(cast("Owner", Lost()), Hub(os.urandom))
    worker.begin(0, msgspec.structs.replace(START, service="antiphon:nothing"))
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # the event loop stands still: nothing is read
    assert worker.has_ended()
    assert isinstance(worker.failure, ServiceNotLoaded)


async def test_ctrl_c_while_the_interpreter_starts_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    worker = WorkerProcess(cast("Owner", Lost()), Hub(os.urandom))
    for _ in range(100):
        os.kill(worker.pid, signal.SIGINT)
        time.sleep(0.01)
    assert not worker.has_ended()
    worker.discard()
    assert capfd.readouterr().err == ""
