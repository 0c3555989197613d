"""Tests of `support/left_out.py`: a test that is left out is told of at the end of the run, and fails on CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.left_out import left_out, pytest_sessionfinish

ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""To load in no time; pytest-xdist alone, because reports come from other processes in `make test`."""
SUITE = """
import pytest
from support.left_out import left_out

@pytest.mark.parametrize("number", range(2))
def test_pictures(number):
    left_out("what a page looks like", "apt install chromium")

def test_bans():
    left_out("what is banned", "apt install fail2ban")

def test_of_another_system():
    pytest.skip("not on this system")

def test_that_runs():
    pass
"""


def test_what_is_left_out_is_told_below_the_last_line_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from support.left_out import pytest_sessionfinish\n")
    (tmp_path / "test_suite.py").write_text(SUITE)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin", "-n", "1", "-p", "no:cacheprovider"),
            *("-c", "/dev/null", "--rootdir", tmp_path, "-o", f"pythonpath={Path(__file__).parent}", tmp_path),
        ],
        env={name: value for name, value in os.environ.items() if name != "CI"} | ALONE,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lines = run.stdout.splitlines()
    assert run.returncode == 0, run.stdout + run.stderr
    assert lines[-3].startswith("1 passed, 4 skipped")
    assert sorted(lines[-2:]) == [
        "Left out: what a page looks like (apt install chromium)",
        "Left out: what is banned (apt install fail2ban)",
    ]


def test_on_ci_it_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt install fail2ban"):
        left_out("what is banned", "apt install fail2ban")


def test_these_tests_tell_it_too(pytestconfig: pytest.Config) -> None:
    hooks = pytestconfig.pluginmanager.hook.pytest_sessionfinish.get_hookimpls()
    assert pytest_sessionfinish in [each.function for each in hooks]
