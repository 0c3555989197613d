"""Tests of `antiphon man`: what the pages say, and that groff and `man` read them without a complaint."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from antiphon.cli.main import app, main
from antiphon.cli.reference.declaration import Command, declared
from antiphon.cli.reference.man_page import EXIT_CODES, page, page_name, text
from antiphon.errors import every_error
from support.left_out import left_out
from support.processes import clean_environment, run_antiphon


def there(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        left_out("manual pages as they are shown", f"apt install {package}")
    return found


def formatted(roff: str) -> str:
    """Return a page as groff shows it, without a warning."""
    done = subprocess.run(
        [there("groff", "groff-base"), "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=100n"],
        input=roff,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, whole: Command) -> Path:
    folder = tmp_path_factory.mktemp("man")
    done = run_antiphon("man", folder, home=folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"Manual pages written to {folder}/man1: {len(list(whole.every()))}.\n"
    return folder / "man1"


def test_a_page_shows_all_of_its_command(pages: Path, whole: Command) -> None:
    for command in whole.every():
        check_page(pages / f"{page_name(command)}.1", command)


def check_page(path: Path, command: Command) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    shown = formatted(path.read_text("utf-8"))
    joined = " ".join(shown.split())
    lines = [line.strip() for line in shown.splitlines()]
    for part in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "SEE ALSO"):
        assert part in lines, part
    if command.options[1:]:
        assert {"EXIT STATUS", "ENVIRONMENT", "FILES"} <= {*lines}
    for option in command.options:
        flags = ", ".join((*option.names, *option.opposites))
        assert any(line.startswith(flags or option.word) or f", {flags}" in line for line in lines), flags
        assert " ".join(option.help.split()) in joined
        assert option.group in {*lines, "Parameters"}
    for below in command.commands:
        assert f"{page_name(below)}(1)" in lines
    examples = command.about.partition("For example:\n")[2]
    assert [line.strip() for line in examples.splitlines() if line.strip()] == [
        line for line in lines[lines.index("EXAMPLES") + 1 : lines.index("SEE ALSO")] if line
    ]


def test_nothing_that_a_text_says_is_taken_for_a_request() -> None:
    said = ". .TP .nosuch 'exec 'x' a\\b \\n \\*x --a-b -c sign-in ~/x ^ `y` \"z\" Müller сеанс --- %"
    shown = formatted(
        f'.TH X 1 "" "" ""\n.SH NAME\nx \\- y\n.SH DESCRIPTION\n{text(said)}\n.PP\n{text(".so x")}\n'
    )
    assert said in shown.replace("\u2010", "-")
    assert ".so x" in shown


def test_man_itself_has_nothing_to_complain_of(pages: Path) -> None:
    for name in ("antiphon.1", "antiphon-serve.1"):
        done = subprocess.run(
            [there("man", "man-db"), "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", pages / name],
            capture_output=True,
            text=True,
            check=True,
            env=clean_environment(pages, LC_ALL="C.UTF-8", MANROFFSEQ="", MANWIDTH="80"),
        )
        assert done.stderr == ""
        assert done.stdout


def test_every_exit_code_is_explained() -> None:
    assert {error.exit_code for error in every_error()} | {0, 130} == {*EXIT_CODES}


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = run_antiphon("man", tmp_path / "no" / "man", home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"There is no folder {tmp_path}/no/man. Make it (mkdir -p ")
    assert not (tmp_path / "no").exists()


def test_two_runs_write_the_same(whole: Command) -> None:
    serve = whole.commands[0]
    assert page(serve, whole) == page(declared(app["serve"], ("serve",)), whole)


def test_a_missing_folder_is_named_as_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["man", f"{tmp_path}/missing"]) == 2
    assert " ".join(capsys.readouterr().err.split()) == (
        f"There is no folder {tmp_path}/missing. Make it (mkdir -p {tmp_path}/missing), or name another one."
    )
    assert not (tmp_path / "missing").exists()
