"""Tests of the tree itself: the commands of make, the shape of the files, the bounds of the dependencies."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import grimp
import pytest

from support.documents import ROOT, blocks, section

SOURCES = sorted((ROOT / "src").rglob("*.py"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
LINES_MOST = 420
LAYERS = "Floors: a module imports only from lower floors"
"""The contract of import-linter that CONTRIBUTING.md draws."""
LAZY = ("if TYPE_CHECKING:\n", "if not TYPE_CHECKING:\n")
"""The code with which the root package re-exports names lazily."""
"""Limit of a file's lines: a longer file holds two ideas."""


def said_by(*command: str) -> str:
    """Return the output of a command, run without the variables of an outer `make test`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    result = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=150)
    assert result.stderr == ""
    return result.stdout


# --- the words of make --------------------------------------------------------------------------------------


def words() -> set[str]:
    phony = re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert phony
    return set(phony[1].split()) - {"develop"}  # the set-up for test, check and format


def words_in(document: str) -> set[str]:
    """Return the commands that a document names in its code as `make word` or `make -s word`."""
    code = re.findall(r"^```.*?^```|`[^`\n]+`", document, re.MULTILINE | re.DOTALL)
    return {word for part in code for word in re.findall(r"\bmake (?:-s )?([a-z][a-z-]*)", part)}


def test_the_words_that_a_document_names_are_found_in_its_code_only() -> None:
    document = "make sense of `make run`, `A=b make -s test`\n```sh\nmake check\n```\nand make do.\n"
    assert words_in(document) == {"run", "test", "check"}


def test_help_is_the_default_word_and_lists_every_word() -> None:
    told = said_by("make")
    assert told == said_by("make", "help")
    assert set(re.findall(r"^ +make ([a-z-]+) +\S", told, re.MULTILINE)) == words()


def test_every_word_is_there() -> None:
    assert words() == {
        "help",
        "install",
        "run",
        "test",
        "browser",
        "pictures",
        "test-lowest",
        "fuzz",
        "abuse",
        "soak",
        "faults",
        "cluster",
        "check",
        "format",
        "bench",
        "docs",
        "wheel",
        "clean",
    }
    for word in words():
        assert re.search(rf"^{word}:", MAKEFILE, re.MULTILINE), word


@pytest.mark.parametrize("document", ["README.md", "README.ru.md", "CONTRIBUTING.md"])
def test_every_word_that_a_document_names_is_one_of_make(document: str) -> None:
    assert words_in((ROOT / document).read_text("utf-8")) - words() == set()


def test_contributing_explains_every_word() -> None:
    assert words() - words_in((ROOT / "CONTRIBUTING.md").read_text("utf-8")) == {"help"}


def test_clean_takes_what_was_built_and_kept_and_no_source(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    sources = ["src/antiphon/wire/_batch.c", "src/antiphon/wire/batch.py", "tests/test_x.py", "benchmarks/run.py"]
    made = [
        "src/antiphon/wire/_batch.cpython-311-x86_64-linux-gnu.so",
        "src/antiphon/wire/__pycache__/batch.pyc",
        "src/.mypy_cache/x",
        "src/antiphon/.ruff_cache/x",
        "examples/__pycache__/x.pyc",
        "tools/__pycache__/x.pyc",
        ".pytest_cache/x",
        ".hypothesis/x",
        ".venv/bin/python",
        "build/docs/index.html",
        "benchmarks/load",
    ]
    for name in sources + made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["make", "-s", "clean"], cwd=tmp_path, check=True, timeout=150)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"Makefile", *sources}


def test_python_keeps_what_it_has_compiled() -> None:
    probe = ["make", "-s", "--eval", 'probe: ; @echo "$$PYTHONDONTWRITEBYTECODE"', "probe"]
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    assert subprocess.check_output(probe, cwd=ROOT, env=env, text=True, timeout=30) == "\n"


def test_ci_says_check_test_and_browser() -> None:
    text = (ROOT / ".ci" / "run").read_text("utf-8")
    assert re.findall(r"^timeout .* make ([a-z-]+)$", text, re.MULTILINE) == ["check", "test", "browser"]


@pytest.mark.parametrize("script", [".ci/run", "tools/install.sh"])
def test_a_script_is_one_that_can_be_run(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    shell = path.read_text("utf-8").splitlines()[0].removeprefix("#!")
    assert said_by(shell, "-n", script) == ""


def test_a_python_that_is_too_old_is_refused_in_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = subprocess.run(
        ["sh", "tools/install.sh", str(tmp_path / "venv")],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(old)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == f"make: PYTHON={old} is not a Python of version 3.11 or later.\n"
    assert not (tmp_path / "venv").exists()


# --- the shape of the files ---------------------------------------------------------------------------------


def test_no_file_holds_two_ideas() -> None:
    assert [path for path in SOURCES if len(path.read_text("utf-8").splitlines()) > LINES_MOST] == []


def test_a_package_only_hands_names_on() -> None:
    for path in SOURCES:
        if path.name != "__init__.py":
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign):
                assert ast.unparse(node.targets[0]) in ("__all__", "_HANDED_ON"), path
            else:
                docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                lazy = path.parent.name == "antiphon" and ast.unparse(node).startswith(LAZY)
                imports = isinstance(node, ast.Import | ast.ImportFrom)
                assert docstring or lazy or imports, (path, ast.unparse(node))


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports for type checkers only count too: whoever reads one module must not have to read the other first."""
    graph = grimp.build_graph("antiphon", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError with the modules


# --- the lower bounds ---------------------------------------------------------------------------------------


def test_every_dependency_has_a_lower_bound_to_be_tested_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bounds = said_by(sys.executable, "tools/lowest.py").splitlines()
    optional = chain(*project["optional-dependencies"].values())
    assert len(bounds) == len([*project["dependencies"], *optional])
    assert all(re.fullmatch(r"[A-Za-z0-9-]+==[0-9.]+", bound) for bound in bounds)


# --- the floors ---------------------------------------------------------------------------------------------


def floors(contributing: str) -> list[str]:
    """Return the floors that a text draws, from the top: of each line what stands before two spaces."""
    drawing = next(block for block in blocks(section(contributing, "## The floors")) if not block.language)
    return [re.split(r" {2,}", line)[0] for line in drawing.text.splitlines()]


def test_what_explains_a_floor_is_not_part_of_it() -> None:
    text = "\n## The floors\n\n```\ncli    what prints\nclient | server    two wings\nerrors : wire\n```\n"
    assert floors(text) == ["cli", "client | server", "errors : wire"]


def test_contributing_draws_the_floors_that_are_enforced() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (contract,) = (contract for contract in linter["contracts"] if contract["name"] == LAYERS)
    assert floors((ROOT / "CONTRIBUTING.md").read_text("utf-8")) == contract["layers"]
