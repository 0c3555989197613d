"""The command `antiphon` on a machine whose clock is off: `clock_off.py SECONDS COMMAND…`."""

import importlib
import pkgutil
import sys
import time
from datetime import datetime, timedelta, tzinfo
from functools import partial

import antiphon
from antiphon.cli.main import run


class _AnyTime(type):
    """Takes every time for an instance."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


class Off(datetime, metaclass=_AnyTime):
    """`datetime`, whose now is off."""

    seconds = 0.0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a time like any other
        """Return what the clock shows."""
        return datetime.now(tz) + timedelta(seconds=cls.seconds)


def _shown(true: object, off: float) -> float:
    return true() + off  # type: ignore[operator, no-any-return]  # it is `time.time`


def set_clock(off: float) -> None:
    """Set the clock of this process, for Antiphon's modules and for the log."""
    Off.seconds = off
    time.time = partial(_shown, time.time, off)
    for module in pkgutil.walk_packages(antiphon.__path__, "antiphon."):
        if not module.name.endswith("__main__"):
            found = importlib.import_module(module.name)
            if getattr(found, "datetime", None) is datetime:
                setattr(found, "datetime", Off)  # noqa: B010 - a name that a module has imported


if __name__ == "__main__":
    set_clock(float(sys.argv.pop(1)))
    run()
