"""Runs the load generator (load.c) on its own core."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from c_programs import build
from processes import Cores, RunningServer, pinned


@dataclass(frozen=True)
class Load:
    """What to send and what must come back; `requests` and `prologues` hold one equal part for each connection."""

    requests: bytes
    """A batch for each connection: written at once, and again when all its replies have come."""
    replies: bytes
    """The replies to a batch, on any connection."""
    prologues: bytes = b""
    """Bytes that each connection sends once, before its first batch."""
    prologue_frames: int = 0
    """Frames that come back before the first reply."""
    acknowledgements: bytes = b""
    """The acknowledgement of each connection, sent before a batch; its last bytes become the number of frames."""
    acknowledge_every: int = 0
    """Bytes of replies after which the next acknowledgement is sent."""
    prologue_ends: str = ""
    """The last bytes that come back before the first reply."""


@dataclass(frozen=True)
class Figures:
    """The measurements of one run of the generator."""

    batches_per_s: float
    p50_us: float
    p99_us: float
    """Microseconds from the write of a batch to the last byte of its replies."""
    load_core_share: float
    """Share of its core that the generator used, 0 to 1; near 1 the generator was the limit, not the server."""
    server_core_share: float
    """Share of its core that the server used, 0 to 1; of several cores their sum."""


@dataclass(frozen=True)
class Run:
    """The parameters of a run of the generator."""

    connections: int
    seconds: float
    warmup: float
    core: Cores
    folder: Path
    """Folder for the files that the generator reads."""
    secure: bool = False


def measure(load: Load, server: RunningServer, run: Run) -> Figures:
    """Run the generator against a server of this machine; exit if it fails."""
    files = {"request": load.requests, "reply": load.replies, "prologue": load.prologues}
    options: dict[str, object] = {
        "port": server.port, "connections": run.connections, "seconds": run.seconds,
        "warmup": run.warmup, "prologue-frames": load.prologue_frames, "prologue-ends": load.prologue_ends,
    }  # fmt: skip
    if load.acknowledge_every:
        files["acknowledgement"] = load.acknowledgements
        options["acknowledge-every"] = load.acknowledge_every
    for name, content in files.items():
        path = run.folder / name
        path.write_bytes(content)
        options[name] = path
    command = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command += [part for pid in server.pids() for part in ("--server", str(pid))]
    command += ["--request-each", "--prologue-each", *(["--tls"] if run.secure else [])]
    done = subprocess.run(
        pinned(run.core, build("load"), *command),
        capture_output=True,
        text=True,
        timeout=60 + run.warmup + run.seconds,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: the load generator failed: {done.stderr.strip()}")
    result = json.loads(done.stdout)
    if not result["messages_per_s"]:
        raise SystemExit("bench: no answer came back; the server hangs, or --seconds is too short.")
    return Figures(*(result[name] for name in ("messages_per_s", "p50_us", "p99_us", "own_core", "server_core")))
