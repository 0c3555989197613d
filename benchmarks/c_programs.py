"""The programs in C, compiled when they are first needed."""

import os
import shlex
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = {"load": ["-lssl", "-lcrypto"], "echo": [], "answer": []}


def build(name: str) -> Path:
    """Return the program of `name`.c; compile it if it is missing or older than its source.

    Exit with one sentence if that fails.
    """
    program = HERE / name
    source = program.with_suffix(".c")
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shlex.split(os.environ.get("CC") or "cc")
    command = [*compiler, "-O2", "-o", str(program), str(source), *LIBRARIES[name]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        problem = f"there is no {compiler[0]}"
    else:
        if done.returncode == 0:
            return program
        problem = next((line for line in done.stderr.splitlines() if "error" in line), "the compiler failed")
    raise SystemExit(
        f"bench: {source.name} cannot be built ({problem.strip()}); it needs a C compiler and the headers "
        "of OpenSSL: apt install gcc libc6-dev libssl-dev (on Debian), dnf install gcc openssl-devel (on Fedora)."
    )
