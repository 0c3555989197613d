"""`make fuzz`: it finds a fault in C, reports it, and says what is missing if it cannot start.

The tests that it runs are part of `make test`; a whole round takes too long to run here again.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PART = "src/antiphon/wire/_answerer.c"
CHECK = "end - self->position < LENGTH_SIZE + length ||"
"""Without this check half a frame is read as a whole one."""
HALF_A_FRAME = """
from array import array
from antiphon.wire._batch import BatchAnswerer
frame = b"\\0\\0\\0\\x24\\x10\\0\\0\\0\\0\\0\\0\\1" + bytes(16)
BatchAnswerer(print, bytes, bytes(16), 100, 100)(array("B", frame) * 1, 0, len(frame))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the fuzzed tree."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/fuzz.py", tmp_path / "tools")
    return tmp_path


@pytest.fixture
def fuzz(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module of `make fuzz` for a copy of the tree; it has three seconds, by a fake clock."""
    found = importlib.util.spec_from_file_location("fuzz", tree / "tools/fuzz.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    for name, value in {"FUZZ_SECONDS": "3", "FUZZ_SEED": "7", "FUZZ_EXAMPLES": "5"}.items():
        monkeypatch.setenv(name, value)
    return module


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_it_reports_one_sentence(tree: Path, compiler: str) -> None:
    command = [sys.executable, "tools/fuzz.py"]
    env = os.environ | {"CC": compiler}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=150, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("make fuzz: ")
    assert compiler in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["FUZZ_SECONDS", "FUZZ_EXAMPLES", "FUZZ_SEED"])
def test_a_value_that_is_no_number_is_refused_in_one_sentence(
    fuzz: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "many")
    with pytest.raises(SystemExit, match=f"^make fuzz: {name} is 'many'; it must be a whole number.$"):
        fuzz.main()


@pytest.mark.skipif(importlib.util.find_spec("antiphon.wire._batch") is None, reason="no compiler was found")
def test_a_read_past_the_end_is_found(fuzz: Any, tree: Path) -> None:
    source = (tree / PART).read_text("utf-8")
    assert CHECK in source
    (tree / PART).write_text(source.replace(CHECK, ""), "utf-8")
    fuzz.PARTS = fuzz.PARTS[:1]
    try:
        env = os.environ | fuzz.ENVIRONMENT | {"LD_PRELOAD": fuzz.compiled()}
    except SystemExit as why:  # Fedora has the library in a separate package
        if "has no AddressSanitizer" not in str(why):
            raise
        pytest.skip(str(why))
    command = [sys.executable, "-c", HALF_A_FRAME]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert "_answerer.c:" in done.stderr


def rounds(fuzz: Any, monkeypatch: pytest.MonkeyPatch, *codes: int) -> list[int]:
    """Make rounds end with these codes, a second each; below 0 is Ctrl-C. Return the list of seeds used."""
    seeds: list[int] = []

    def run_round(runtime: str, seed: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
        code = codes[min(len(seeds), len(codes) - 1)]
        seeds.append(seed)
        if code < 0:
            raise KeyboardInterrupt
        return subprocess.CompletedProcess(
            [], code, "  - 5 passing, 0 failing\n  - 4 passing test cases\nwhat was said\n"
        )

    monkeypatch.setattr(fuzz, "compiled", lambda: "runtime")
    monkeypatch.setattr(fuzz, "run_round", run_round)
    monkeypatch.setattr(fuzz.time, "monotonic", lambda: float(len(seeds)))
    return seeds


def test_it_runs_rounds_until_the_time_is_over(
    fuzz: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = rounds(fuzz, monkeypatch, 0)
    assert fuzz.main() == 0
    assert seeds == [7, 8, 9]
    told = capsys.readouterr().out
    assert "27 examples in 3 s and 3 rounds: nothing was found." in told
    assert "FUZZ_SEED=7 FUZZ_EXAMPLES=5 make fuzz" in told


def test_a_failure_ends_it_and_the_command_to_repeat_it_is_printed(
    fuzz: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = rounds(fuzz, monkeypatch, 0, 1)
    assert fuzz.main() == 1
    assert seeds == [7, 8]
    told = capsys.readouterr().out
    assert "what was said" in told
    assert told.endswith(
        "round 2 failed after 2 s.\nAgain: FUZZ_SEED=8 FUZZ_SECONDS=0 FUZZ_EXAMPLES=5 make fuzz\n"
    )


def test_ctrl_c_prints_what_was_done(
    fuzz: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds(fuzz, monkeypatch, 0, -1)
    assert fuzz.main() == fuzz.INTERRUPTED
    assert "9 examples in 2 s and 1 rounds: nothing was found." in capsys.readouterr().out
