"""Nodes: servers with a data folder each, on one PostgreSQL database, that reach each other at relay addresses."""

import shutil
from collections import Counter
from pathlib import Path

from support import clock_off
from support.moving import service_in
from support.processes import ANTIPHON, ServerProcess

PORTS = "127.0.0.1:21000-21999"
"""Relay address of every node: each process takes the next free port."""


def node(
    folder: Path, name: str, database: str, *options: str, off: float = 0, **environment: str
) -> ServerProcess:
    """Start the node `name` of the service in `folder`, with the key ring of `folder / "one"`.

    Its clock is `off` by so many seconds.
    """
    data = folder / name
    if not data.exists():
        data.mkdir(0o700)
        shutil.copy(folder / "one" / "secret.key", data)
    return ServerProcess(
        data, "--plain", "--host", "127.0.0.1", "--store", database, "--relay-address", PORTS, *options,
        service_in(folder), program=(clock_off.__file__, str(off)) if off else (ANTIPHON,), **environment,
    )  # fmt: skip


def ran(folder: Path) -> Counter[str]:
    """Return how often the service has run each message, on all nodes."""
    lines = (folder / "runs").read_text("utf-8").splitlines()
    return Counter(line.removeprefix("run ") for line in lines if line.startswith("run "))
