"""The telephone list: the script does the same alone and behind sign-in."""

import subprocess
from pathlib import Path

from support.documents import ROOT

SCRIPT = ROOT / "examples" / "phones.sh"


def said(folder: Path, name: str, *lines: str) -> list[str]:
    """Run the script with `lines` as its input; return its output."""
    done = subprocess.run(
        ["sh", SCRIPT],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "ANTIPHON_NAME": name},
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_it_keeps_numbers_and_who_gave_them(tmp_path: Path) -> None:
    assert said(tmp_path, "ann", "find Вадим", "add Вадим +4930123", "help") == [
        "nobody of that name",
        "added",
        "find NAME, add NAME NUMBER",
    ]
    assert said(tmp_path, "bob", "add Bo 7; rm -rf .", "find вадим", "find -v", "add Bo 7", "find bo") == [
        "a number has digits only: add NAME NUMBER",
        "Вадим +4930123 (from ann)",
        "nobody of that name",
        "added",
        "Bo 7 (from bob)",
    ]
