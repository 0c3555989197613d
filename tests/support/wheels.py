"""The wheel of this tree, without the parts in C: `tests/test_build.py` compiles them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.documents import ROOT

SOURCES = ("src", "packaging", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE")


def built(folder: Path) -> Path:
    """Build the wheel in a new folder, from a copy of the tree; return its path."""
    tree = folder / "tree"
    tree.mkdir(parents=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    environment = os.environ | {"CC": "false"}
    subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, timeout=200)
    (wheel,) = folder.glob("*.whl")
    return wheel
