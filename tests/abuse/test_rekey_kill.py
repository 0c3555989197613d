"""`kill -9` of a rekeying (issue 3, part 5): no account is lost, and the next rekeying finishes it."""

import os
import subprocess
import sys
from pathlib import Path

from antiphon.wire.bodies import Welcome
from support.documents import ROOT
from support.key_rings import enrol, lost, ring_of
from support.processes import ANTIPHON, PASSWORD, ServerProcess, clean_environment, run_antiphon
from support.raw import RawClient

NAMES = [f"person{number}" for number in range(50)]


def test_killed_at_any_step_it_loses_no_account_and_is_finished_by_the_next(tmp_path: Path) -> None:
    enrol(tmp_path / "template", NAMES)
    done = subprocess.run(
        [sys.executable, "-m", "support.rekey_kills", tmp_path / "template", tmp_path / "data"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    left = done.stdout.splitlines()
    assert left[0] == "[1]"  # killed before the first step
    assert left.count("[1, 2]") > 5
    assert left[-1] == "[2]"  # finished before the kill
    assert left == sorted(left, key=["[1]", "[1, 2]", "[2]"].index)


def test_the_command_killed_in_the_middle_leaves_a_server_on_which_everybody_signs_in(tmp_path: Path) -> None:
    data = tmp_path / "data"
    enrol(data, [*NAMES, *(f"more{number}" for number in range(1000))])
    with ServerProcess(data, "--plain") as server:
        process = subprocess.Popen(
            [ANTIPHON, "accounts", "rekey", "--data", data],
            env=clean_environment(tmp_path),
            stderr=subprocess.PIPE,
        )
        while len(ring_of(data).sealing_keys) == 1:
            assert process.poll() is None
        process.kill()
        process.communicate()
        assert sorted(ring_of(data).sealing_keys) == [1, 2]
        assert lost(data) == []
        for name in (NAMES[0], "more999"):
            with RawClient(server.address) as client:
                client.hello()
                assert isinstance(client.authenticate(name, PASSWORD), Welcome)
        again = run_antiphon("accounts", "rekey", "--data", data, home=tmp_path)
        assert again.returncode == 0
        assert "Key 2 is in use now." in again.stderr
        with RawClient(server.address) as client:
            client.hello()
            assert isinstance(client.authenticate(NAMES[0], PASSWORD), Welcome)
    assert sorted(ring_of(data).sealing_keys) == [2]
    assert lost(data) == []
