"""An upgrade killed at each of its steps: `python -m support.upgrade_kills VERSION PLACE`.

The steps are each statement that SQLAlchemy executes, each commit and each rename. Each kill ends a forked
process, right before a step; its folder stays at PLACE, under the number of the step. In the last one the upgrade
went to its end.
"""

import asyncio
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import sqlalchemy

from antiphon.store.sql import open_sqlite
from support.old_stores import make_old
from support.rekey_kills import forked


def kill_at(last: int) -> None:
    """Kill this process with SIGKILL at the step numbered `last`."""
    left = itertools.count(last, -1)

    def counting(function: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            if next(left) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)

        return counted

    for owner, name in (
        (sqlalchemy.Connection, "exec_driver_sql"),
        (sqlalchemy.Connection, "commit"),
        (os, "replace"),
    ):
        setattr(owner, name, counting(getattr(owner, name)))


async def opened(folder: Path) -> None:
    """Open the store in `folder` and close it."""
    await (await open_sqlite(folder)).close()


def main(version: int, place: Path) -> None:
    """Kill upgrades until one gets to its end."""
    for step in itertools.count():
        folder = place / str(step)
        folder.mkdir(mode=0o700)
        make_old(folder, version)

        def work(step: int = step, folder: Path = folder) -> None:
            kill_at(step)
            asyncio.run(opened(folder))

        status = forked(work)
        if status == 0:
            return
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"step {step} failed")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
