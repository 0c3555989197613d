"""docs/installing.md: its commands are run, as they are shown, on a copy of this system that is gone afterwards.

The copy is a mount namespace in which changes below /etc, /opt, /srv and /var go to memory, with processes and a
network of its own. What pip would download is lent by the environment of the tests.
"""

import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE, load_or_make
from antiphon.data.folder import DataFolder
from support.documents import ROOT, blocks, read
from support.left_out import left_out
from support.namespaces import run_apart
from support.units import BACKUP, SERVICE, directives
from support.wheels import built

WHAT = "the commands of docs/installing.md"
NEEDED = {"systemd-sysusers": "systemd", "fail2ban-regex": "fail2ban"}
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
LENT = "/srv/lent"
COPY = """
mount -t tmpfs tmpfs /mnt
for folder in etc opt srv var; do
    mkdir /mnt/$folder /mnt/$folder.work
    mount -t overlay overlay -o lowerdir=/$folder,upperdir=/mnt/$folder,workdir=/mnt/$folder.work /$folder
done
ip link set lo up
"""
LEND = f"""
mkdir {LENT}
mount --bind {sysconfig.get_path("purelib")} {LENT}
for packages in /opt/antiphon/.venv/lib/python*/site-packages; do echo {LENT} >$packages/lent.pth; done
"""
AS_UNIT = "setpriv --reuid antiphon --regid antiphon --init-groups env -C / HOME=/var/lib/antiphon "
"""What systemd does about the user of a unit, without a process in between."""
START = AS_UNIT + "{command} >/srv/start.txt &\nserver=$!\nuntil [ -s /srv/start.txt ]; do sleep 0.05; done\n"
VISIT = """
as_antiphon invite bob --public-address localhost >/srv/code.txt
echo 'four walls and a roof' >/srv/password.txt
cd /srv
echo hello | /opt/antiphon/.venv/bin/antiphon connect --invitation-file code.txt --password-file password.txt
"""
LOOK = """
echo "server: $(ps -o user= -p $server)"
echo "backups: $(cd /var/backups/antiphon && echo *)"
cd /var
echo "open to others: $(find {lib,log,backups}/antiphon ! -type s '(' ! -user antiphon -o -perm /077 ')')"
kill -TERM $server && wait $server
"""


def free_python() -> Path:
    """Return the folder of a Python that every user may run, of the version for which packages are lent."""
    pythons = [path for path in (Path(sys.executable).resolve(), Path("/usr/bin") / PYTHON) if path.is_file()]
    free = (
        each.parent for each in pythons if all(above.stat().st_mode & 0o005 == 0o005 for above in each.parents)
    )
    found = next(free, None)
    if found is None:
        left_out(WHAT, f"install a {PYTHON} that every user may run")
    return found


def commands_shown() -> list[str]:
    """Return the blocks that a test can run, in their order."""
    found = [block for block in blocks(read("docs/installing.md")) if block.language == "bash"]
    assert {block.about for block in found} == {"as-root"}
    return [block.text for block in found]


def script() -> str:
    """Return all of it as one script, with what systemd would do in between."""
    unit, backup = (shlex.split(directives(each)["ExecStart"][0]) for each in (SERVICE, BACKUP))
    steps = [COPY]
    for text in commands_shown():
        steps.append(text)
        if "pip install" in text:
            steps.append(LEND)
        if "$share/antiphon.service" in text:
            steps.append(START.format(command=shlex.join(unit)))
    by_hand = shlex.join(backup).replace("$$", "$").replace("%%", "%")
    return "\n".join([*steps, VISIT, AS_UNIT + by_hand, LOOK])


def test_the_wheel_brings_the_files_of_packaging_that_the_page_names(tmp_path: Path) -> None:
    wheel = built(tmp_path / "built")
    (shared,) = {name.partition("/share/antiphon/")[0] for name in names_in(wheel) if "/share/antiphon/" in name}
    brought = {name.removeprefix(f"{shared}/share/antiphon/") for name in names_in(wheel) if shared in name}
    files = (path for path in (ROOT / "packaging").rglob("*") if path.is_file())
    assert brought == {path.relative_to(ROOT / "packaging").as_posix() for path in files}
    named = {word for text in commands_shown() for word in re.findall(r"\$share/(\S+)", text)}
    assert named
    assert named <= brought
    assert shared.endswith(".data/data"), "below the environment, where the page says"


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as packed:
        return packed.namelist()


def test_the_commands_are_ones_that_a_shell_reads() -> None:
    subprocess.run(["bash", "-n"], input=script(), text=True, check=True, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of an administrator who has a wheel and a certificate."""
    shutil.copy(built(tmp_path / "built"), tmp_path)
    load_or_make(DataFolder.open(tmp_path / "made"), [])
    shutil.copy(tmp_path / "made" / CERTIFICATE_FILE, tmp_path / "fullchain.pem")
    shutil.copy(tmp_path / "made" / KEY_FILE, tmp_path / "privkey.pem")
    return tmp_path


@pytest.mark.long
@pytest.mark.timeout(320)
def test_the_commands_of_the_page_end_in_a_server_for_others(folder: Path) -> None:
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            left_out(WHAT, f"apt install {package}")
    environment = {
        "PATH": f"{free_python()}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/srv",
        "LANG": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
    }
    done = run_apart(script(), environment, folder, WHAT, seconds=300)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "\nport: 7862 is free\n" in told, "what `serve --check` says at its end"
    assert "all is well" in told, "what `status` says"
    assert "antiphon1://ann@chat.example.org:7862/" in told
    *_, answer, server, backups, open_to_others = done.stdout.splitlines()
    assert answer == "hello", "what bob was told, who came with a code"
    assert server == "server: antiphon"
    assert re.fullmatch(r"backups: antiphon-[1-7]\.tar antiphon\.keys first\.tar", backups)
    assert open_to_others == "open to others: "
