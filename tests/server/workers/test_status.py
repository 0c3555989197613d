"""The status endpoint of a server with workers: figures of all, also of those that have ended or are frozen."""

import os
import signal
from pathlib import Path

from antiphon.blocking import connect
from support.metrics import figures, get
from support.moving import until
from support.workers import WorkersProcess


def test_figures_are_of_all_workers_and_outlive_them(tmp_path: Path) -> None:
    with WorkersProcess(tmp_path / "data", "--status", "127.0.0.1:0") as server:
        place = str(server.start["status"])
        with connect(str(server.address), name="ann") as one, connect(str(server.address), name="bea") as two:
            pids = {int(str(session.ask("who?"))) for session in (one, two) for _ in range(5)}
        assert len(pids) == 2
        until(lambda: figures(place)["antiphon_messages_total"] == 10)
        killed, frozen = pids
        os.kill(frozen, signal.SIGSTOP)
        try:
            os.kill(killed, signal.SIGKILL)
            until(lambda: figures(place)["antiphon_faults_total worker-died"] == 1)
            assert get(place, "/healthz")[0] == 200
            now = figures(place)  # the frozen one would be waited for in vain
        finally:
            os.kill(frozen, signal.SIGCONT)
        assert (now["antiphon_messages_total"], now["antiphon_handler_seconds_count"]) == (10, 10)
        assert now["antiphon_sign_ins_total"] == 2
