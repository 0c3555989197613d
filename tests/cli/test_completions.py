"""Tests of `antiphon completions` in the shells themselves, and of the declaration that they are made from."""

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from rich.console import Console

from antiphon.cli.main import app
from antiphon.cli.reference import bash, fish, zsh
from antiphon.cli.reference.declaration import Command
from antiphon.services import load
from antiphon.services.loading import BUILT_IN
from support.left_out import left_out
from support.processes import clean_environment, run_antiphon

FILES = ["shop.py", "two words.txt", "folder/inner.toml"]
TYPED = [
    ("antiphon ac\tim\tsh\t", "accounts import shop.py"),
    ("antiphon accounts import two\t--sep\t,", "accounts import two words.txt --separator ,"),
    ("antiphon serve ch\t--acc\tid\t", "serve chat --access identify"),
    ("antiphon serve --conf\tfol\tinn\t", "serve --config folder/inner.toml"),
    ("antiphon connect localhost --password-f\tsho\t", "connect localhost --password-file shop.py"),
    ("antiphon accounts show list --no-i\t", "accounts show list --no-input"),  # an account may be called `list`
    ("antiphon demo --explain=sh\t", "demo --explain=short"),
    ("antiphon ping --compare sh\ttwo\t", "ping --compare shop.py two words.txt"),
    ("antiphon serve --data f\t", "serve --data folder"),
    ("antiphon config sh\tser\t", "config show serve"),
    ("antiphon completions z\t", "completions zsh"),
]
"""What a person types, and what the command is given then, without a space or / at the end."""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory, whole: Command) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("scripts")

    def made(shell: str) -> Path:
        path = folder / f"_{'antiphon' if shell == 'zsh' else shell}"
        path.write_text({"bash": bash.script, "zsh": zsh.script, "fish": fish.script}[shell](whole), "utf-8")
        return path

    return made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def there(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        left_out(f"completion in {shell}", f"apt install {shell}")
    return found


def flags(command: Command) -> list[str]:
    return [flag for option in command.options for flag in (*option.names, *option.opposites)]


def test_the_declaration_is_what_the_help_shows(whole: Command) -> None:
    for command in whole.every():
        out = io.StringIO()
        app.help_print(list(command.name), console=Console(file=out, width=500))
        rows = re.findall(r"^│ +(?:\* +)?(\S.*?)  ", out.getvalue(), re.MULTILINE)
        shown = {flag for row in rows for flag in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row)}
        assert {*flags(command)} - {"--help", "-h", "--version"} == shown - {"--help", "-h", "--version"}, (
            command.name
        )
        words = {row.split()[0] for row in rows} - shown
        assert {argument.word for argument in command.arguments} == {word for word in words if word.isupper()}


def test_the_command_prints_the_script(script: Callable[[str], Path], tmp_path: Path) -> None:
    done = run_antiphon("completions", "zsh", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == script("zsh").read_text("utf-8")


def test_every_service_that_is_offered_is_there() -> None:
    for name in BUILT_IN:
        load(name)


def type_lines(shell: "pexpect.spawn[str]") -> list[str]:
    given = []
    for line, _ in TYPED:
        shell.sendline(line)
        shell.expect(r"GIVEN<([^>$]*)>\r\n")
        given.append(shell.match[1].rstrip().rstrip("/"))
    return given


@pytest.mark.parametrize(
    ("shell", "options", "start"),
    [
        ("bash", ["--norc", "--noprofile", "-i"], "source {0}; PS1=; bind 'set bell-style none'"),
        ("zsh", ["-f", "-i"], "PS1=; fpath+=({0.parent}); autoload -U compinit; compinit -u -D"),
    ],
)
def test_what_is_typed_is_completed(
    script: Callable[[str], Path], place: Path, shell: str, options: list[str], start: str
) -> None:
    terminal = pexpect.spawn(
        there(shell),
        options,
        cwd=place,
        env=clean_environment(place, TERM="dumb"),
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 200),
    )
    terminal.delaybeforesend = None
    try:
        terminal.sendline(start.format(script(shell)) + '; antiphon() { echo "GIVEN<$*>"; }; echo rea""dy')
        terminal.expect("ready\r\n")
        given = [text.replace("=", " ") for text in type_lines(terminal)]  # zsh puts = behind an option
        assert given == [text.replace("=", " ") for _, text in TYPED]
    finally:
        terminal.close(force=True)


def test_bash_offers_every_command_and_option(script: Callable[[str], Path], whole: Command, place: Path) -> None:
    asked = 'echo "$name|$commands|$options"'
    names = (" ".join(command.name) for command in whole.every())
    lines = [f"source {script('bash')}", *(f"name='{name}'; _antiphon_command; {asked}" for name in names)]
    shown = subprocess.run(
        [there("bash"), "-c", "\n".join(lines)], check=True, capture_output=True, text=True
    ).stdout
    assert shown.splitlines() == [
        f"{' '.join(each.name)}|{','.join(below.name[-1] for below in each.commands)}|{','.join(flags(each))}"
        for each in whole.every()
    ]


def test_fish_offers_every_command_option_and_file(
    script: Callable[[str], Path], whole: Command, place: Path
) -> None:
    asked: dict[str, set[str]] = {}
    for command in whole.every():
        words = " ".join(["antiphon", *command.name])
        asked[f"{words} -"] = {*flags(command)}
        if command.commands:
            asked[f"{words} "] = {below.name[-1] for below in command.commands}
    asked |= {
        "antiphon accounts import s": {"shop.py"},
        "antiphon serve ": {"echo", "chat", *FILES[:2], "folder/"},
        "antiphon serve --config folder/": {"folder/inner.toml"},
        "antiphon serve --access ": {"anyone", "identify", "authenticate"},
        "antiphon serve --data f": {"folder/"},
        "antiphon serve --port ": set(),
        "antiphon accounts show list --no-i": {"--no-input"},
        "antiphon demo --explain=s": {"--explain=short"},
        "antiphon connect ": set(),
    }
    lines = [f"source {script('fish')}", *(f"echo '?'; complete -C '{line}'" for line in asked)]
    done = subprocess.run(
        [there("fish"), "--no-config", "-c", "\n".join(lines)],
        check=True,
        capture_output=True,
        text=True,
        cwd=place,
        env=clean_environment(place, TERM="dumb"),
    )
    answers = [{line.split("\t")[0] for line in part.splitlines()} for part in done.stdout.split("?\n")[1:]]
    for answer in answers:
        answer.discard("--explain=")  # fish offers it with a value and without
    assert dict(zip(asked, answers, strict=True)) == asked
