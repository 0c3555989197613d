"""The documents become pages without a warning, as `make docs` builds them."""

import subprocess
import sys
from pathlib import Path

from support.documents import ROOT


def test_the_documents_become_pages_without_a_warning(tmp_path: Path) -> None:
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
        timeout=110,
    )
    assert (built.returncode, built.stderr) == (0, "")
    for document in (ROOT / "docs").glob("*.md"):
        assert (tmp_path / "pages" / document.with_suffix(".html").name).stat().st_size > 1000
