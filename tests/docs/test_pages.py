"""Tests of `make docs`: the pages build without a warning, and describe every public name."""

import subprocess
import sys
import zlib
from pathlib import Path

from support.documents import PAGES, ROOT
from support.reference_table import public_names

ELSEWHERE = "-1"
"""Sphinx's priority for the original name of an object that is documented under another name."""


def test_the_documents_become_pages_without_a_warning_and_hold_every_public_name(tmp_path: Path) -> None:
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-W",
            "--keep-going",
            "-d",
            tmp_path / "trees",
            "docs",
            tmp_path / "pages",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
    )
    assert (built.returncode, built.stderr) == (0, "")
    for document in PAGES:
        page = tmp_path / "pages" / document.relative_to(ROOT / "docs").with_suffix(".html")
        assert page.stat().st_size > 1000
    in_pages = names_in(tmp_path / "pages" / "objects.inv")
    assert public_names() == {name for name in in_pages if name.rpartition(".")[0] not in in_pages}


def names_in(inventory: Path) -> set[str]:
    """Return the Python names that the pages describe, without modules."""
    packed = inventory.read_bytes().split(b"\n", 4)[4]
    entries = (line.split() for line in zlib.decompress(packed).decode().splitlines())
    return {
        name
        for name, kind, priority, *_ in entries
        if kind.startswith("py:") and kind != "py:module" and priority != ELSEWHERE
    }
