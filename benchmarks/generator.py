"""The load generator: builds load.c where that has not been done, and runs it on a core of its own."""

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from processes import pinned

SOURCE = Path(__file__).with_name("load.c")
PROGRAM = SOURCE.with_suffix("")


def build() -> None:
    """Compile load.c, unless the program is there and newer; leave with one sentence where that cannot be done."""
    if PROGRAM.exists() and PROGRAM.stat().st_mtime > SOURCE.stat().st_mtime:
        return
    compiler = shlex.split(os.environ.get("CC") or "cc")
    command = [*compiler, "-O2", "-o", str(PROGRAM), str(SOURCE), "-lssl", "-lcrypto"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        problem = f"there is no {compiler[0]}"
    else:
        if done.returncode == 0:
            return
        problem = next((line for line in done.stderr.splitlines() if "error" in line), "the compiler failed")
    raise SystemExit(
        f"bench: the load generator cannot be built ({problem.strip()}); it needs a C compiler and the headers "
        "of OpenSSL: apt install gcc libc6-dev libssl-dev (on Debian), dnf install gcc openssl-devel (on Fedora)."
    )


@dataclass(frozen=True)
class Load:
    """What is sent and what must come back; `requests` and `prologues` hold an equal piece for each connection."""

    requests: bytes
    """A batch for each connection: sent in one write, and again when all of its replies have come."""
    reply_bytes: int
    """Bytes of the replies to one batch."""
    prologues: bytes = b""
    """What is sent once, before the first batch."""
    prologue_frames: int = 0
    """Frames that come back before the first reply."""


@dataclass(frozen=True)
class Figures:
    """What one run of the generator has measured."""

    batches_per_s: float
    p50_us: float
    p99_us: float
    """From the writing of a batch to the last byte of its replies."""
    load_core_share: float
    """How much of its core the generator took, from 0 to 1: near 1 it was the limit, not the server."""


def measure(
    load: Load,
    port: int,
    *,
    connections: int,
    secure: bool,
    seconds: float,
    warmup: float,
    core: int,
    folder: Path,
) -> Figures:
    """Run the generator against a port of this machine; leave with what it says where it fails."""
    requests, prologues = folder / "requests", folder / "prologues"
    requests.write_bytes(load.requests)
    prologues.write_bytes(load.prologues)
    options = {
        "--port": port, "--connections": connections, "--seconds": seconds, "--warmup": warmup,
        "--request": requests, "--reply-bytes": load.reply_bytes,
        "--prologue": prologues, "--prologue-frames": load.prologue_frames,
    }  # fmt: skip
    command = [str(part) for option in options.items() for part in option]
    command += ["--request-each", "--prologue-each", *(["--tls"] if secure else [])]
    done = subprocess.run(
        pinned(core, PROGRAM, *command),
        capture_output=True,
        text=True,
        timeout=60 + warmup + seconds,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: the load generator failed: {done.stderr.strip()}")
    told = json.loads(done.stdout)
    if not told["messages_per_s"]:
        raise SystemExit("bench: no answer came back; the server stands still, or --seconds is too short.")
    return Figures(told["messages_per_s"], told["p50_us"], told["p99_us"], told["own_core"])
