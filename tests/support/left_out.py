"""Tests that need a program which is not installed: they are left out, and the end of the run says how to have it.

Call `left_out` in the test or its fixture, where the program is missing:

    if shutil.which("tmux") is None:
        left_out("how the chat looks in tmux", "apt install tmux")

On CI (`CI` is set) that fails, because `.ci/run` installs what the tests need: nothing is left out unseen.
"""

import os
from collections.abc import Generator
from typing import NoReturn

import pytest

_MARK = "left out: "


def left_out(what: str, how: str) -> NoReturn:
    """Leave this test out: it shows `what`, and `how` says in a few words how to have what it needs."""
    __tracebackhide__ = True
    if os.environ.get("CI"):
        pytest.fail(f"{what}: on CI nothing is left out. Let .ci/run install it: {how}")
    pytest.skip(f"{_MARK}{what} ({how})")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Print what was left out below all that pytest prints, in one line each; `conftest.py` hands this hook on."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a process of pytest-xdist: the reports go to the one that prints
        return
    reasons = (str(report.longrepr[2]) for report in reporter.stats.get("skipped", []))
    marked = (reason.partition(_MARK)[2] for reason in reasons)
    for line in dict.fromkeys(filter(None, marked)):
        reporter.write_line(f"Left out: {line}", yellow=True)
