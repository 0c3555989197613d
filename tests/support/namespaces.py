"""Scripts with mounts, processes and a network of their own, as root; what they start ends with them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.left_out import left_out

APART = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
PACKAGES = {"ip": "iproute2", "ps": "procps", "nsenter": "util-linux"}
"""What the scripts use, and the package of Debian that it is in."""


def run_apart(
    script: str, environment: dict[str, str], folder: Path, what: str, seconds: float = 220
) -> subprocess.CompletedProcess[str]:
    """Run a script of bash that shows `what`; leave the test out if it cannot be run here."""
    if os.geteuid() != 0:
        pytest.skip("only root can make namespaces")
    for program, package in PACKAGES.items():
        if shutil.which(program) is None:
            left_out(what, f"apt install {package}")
    if subprocess.run([*APART, "true"], check=False, timeout=60).returncode:
        pytest.skip("this system makes no namespaces")
    command = [*APART, "bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )
