"""A rekeying killed at each of its steps: `python -m support.rekey_kills TEMPLATE PLACE`.

The steps are each fsync, rename and transaction. Each kill ends a forked process, which works on a copy of the
folder TEMPLATE at PLACE, right before a step. Standard output gets a line for each kill,
with the keys left in the ring.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from antiphon.data import rekey as rekey_module
from antiphon.store.sql.sqlite import SqliteDatabase
from support.key_rings import change_keys, lost, ring_of
from support.serving import verifier


class Steps:
    """Counts steps, and kills this process with SIGKILL at the step numbered `last`."""

    def __init__(self, last: int) -> None:
        self._left = last
        for name in ("fsync", "replace"):
            setattr(os, name, self._counting(getattr(os, name)))
        transact = SqliteDatabase._transact

        def counting(database: SqliteDatabase, work: Any) -> Any:
            self._step()
            return transact(database, work)

        SqliteDatabase._transact = counting  # type: ignore[assignment,method-assign]

    def _counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any) -> Any:
            self._step()
            return function(*arguments)

        return counting

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; return its status from `os.waitpid`."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - the parent gets no traceback
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def main(template: Path, place: Path) -> None:
    rekey_module.BATCH = 20
    verifier()  # hash the password once, before the forks
    step = 0

    def killed() -> None:
        Steps(step)
        change_keys(place)

    def mended() -> None:
        assert lost(place) == []
        change_keys(place)
        assert len(ring_of(place).sealing_keys) == 1
        assert lost(place) == []

    status = int(signal.SIGKILL)
    while status == signal.SIGKILL:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(template, place)
        status = forked(killed)
        print(sorted(ring_of(place).sealing_keys), flush=True)
        assert forked(mended) == 0, step
        step += 1
    assert status == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
