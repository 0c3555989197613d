"""systemd's own programs make the user and the folders of `packaging/`, in a root of the test's own."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.documents import ROOT
from support.left_out import left_out
from support.units import BACKUP, SERVICE, directives

FILES = ROOT / "packaging"
USERS, FOLDERS = "sysusers.d/antiphon.conf", "tmpfiles.d/antiphon.conf"


def run(program: str, root: Path, *options: str) -> int:
    """Run a program of systemd on another root; return its exit code."""
    path = shutil.which(program)
    if path is None:
        left_out("the user and the folders of a server under systemd", "apt install systemd")
    return subprocess.run([path, f"--root={root}", *options], check=False, timeout=60).returncode


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of a system with the files of `packaging/`, and the user that they name."""
    for name in (USERS, FOLDERS):
        (tmp_path / "etc" / name).parent.mkdir(parents=True)
        shutil.copy(FILES / name, tmp_path / "etc" / name)
    assert run("systemd-sysusers", tmp_path) == 0
    return tmp_path


def test_the_user_is_that_of_the_unit_and_nobody_can_sign_in_as_it(root: Path) -> None:
    unit = directives(SERVICE)
    name, _, number, _, _, home, shell = (root / "etc/passwd").read_text("utf-8").strip().split(":")
    assert [name] == unit["User"]
    assert home == f"/var/lib/{unit['StateDirectory'][0]}"
    assert shell == "/usr/sbin/nologin"
    assert 0 < int(number) < 1000, "a user of the system"


def test_the_folders_are_those_of_the_unit(root: Path) -> None:
    unit = directives(SERVICE)
    number = int((root / "etc/passwd").read_text("utf-8").split(":")[2])
    code = run("systemd-tmpfiles", root, "--create")
    for folder, kind in (("lib", "State"), ("log", "Logs")):
        (name,), (mode,) = unit[f"{kind}Directory"], unit[f"{kind}DirectoryMode"]
        made = (root / "var" / folder / name).stat()
        assert f"{made.st_mode & 0o7777:04o}" == mode == "0700"
        if os.geteuid() == 0:  # only root can give folders away
            assert (code, made.st_uid) == (0, number)


def test_the_commands_of_the_units_use_these_folders_alone() -> None:
    commands = [directives(unit)["ExecStart"][0] for unit in (SERVICE, BACKUP)]
    lines = (FILES / FOLDERS).read_text("utf-8").splitlines()
    folders = {line.split()[1] for line in lines if not line.startswith("#")}
    assert {"/".join(path.split("/")[:4]) for path in re.findall(r"/var/[\w./-]+", " ".join(commands))} == folders
    assert set(directives(BACKUP)["ReadWritePaths"][0].split()) == folders
