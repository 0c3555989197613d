"""The load generator (load.c), run on a core of its own."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from compiled import build
from processes import pinned


@dataclass(frozen=True)
class Load:
    """What is sent and what must come back; `requests` and `prologues` hold an equal piece for each connection."""

    requests: bytes
    """A batch for each connection: sent in one write, and again when all of its replies have come."""
    replies: bytes
    """The replies to a batch, on any connection."""
    prologues: bytes = b""
    """What is sent once, before the first batch."""
    prologue_frames: int = 0
    """Frames that come back before the first reply."""
    acknowledgements: bytes = b""
    """For each connection what it says in front of a batch, when it has received so much; ends with a number."""
    acknowledge_every: int = 0
    """Bytes of replies."""
    prologue_ends: str = ""
    """The end of what comes back before the first reply."""


@dataclass(frozen=True)
class Figures:
    """What one run of the generator has measured."""

    batches_per_s: float
    p50_us: float
    p99_us: float
    """From the writing of a batch to the last byte of its replies."""
    load_core_share: float
    """How much of its core the generator took, from 0 to 1: near 1 it was the limit, not the server."""
    server_core_share: float
    """How much of its core the server took."""


@dataclass(frozen=True)
class Run:
    """How the generator is run."""

    connections: int
    seconds: float
    warmup: float
    core: int
    folder: Path
    """For the files that it reads."""
    secure: bool = False


def measure(load: Load, port: int, server: int, run: Run) -> Figures:
    """Run the generator against a port of this machine and the process `server`; leave with what it says."""
    files = {"request": load.requests, "reply": load.replies, "prologue": load.prologues}
    options: dict[str, object] = {
        "port": port, "server": server, "connections": run.connections, "seconds": run.seconds,
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
    told = json.loads(done.stdout)
    if not told["messages_per_s"]:
        raise SystemExit("bench: no answer came back; the server stands still, or --seconds is too short.")
    return Figures(told["messages_per_s"], told["p50_us"], told["p99_us"], told["own_core"], told["server_core"])
