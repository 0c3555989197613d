"""`make bench`, in a short run: that every figure is there; how large one is belongs to a quiet machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).parents[1] / "benchmarks"
NEEDED = "it needs a C compiler and the headers of OpenSSL: apt install gcc libc6-dev libssl-dev"
USES_OPENSSL = "#include <openssl/ssl.h>\nint main(void) { return TLS_client_method() == 0; }\n"


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    """Return a copy of the folder in which nothing has been built."""
    ignore = shutil.ignore_patterns("load", "__pycache__")
    return Path(shutil.copytree(SOURCES, tmp_path / "benchmarks", ignore=ignore))


def run(benchmarks: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, benchmarks / "run.py", *options],
        capture_output=True,
        text=True,
        env=os.environ | {"BENCH_JSON": "", "CC": ""} | environment,
        timeout=100,
        check=False,
    )


def can_build(folder: Path) -> bool:
    """Return whether this machine has what load.c needs."""
    source = folder / "uses_openssl.c"
    source.write_text(USES_OPENSSL)
    if shutil.which("cc") is None:
        return False
    command = ["cc", "-o", str(folder / "uses_openssl"), str(source), "-lssl", "-lcrypto"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def compiler(folder: Path, script: str) -> str:
    """Return the path of something that stands in for a C compiler."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def check_spread(value: dict[str, Any], rounds: int) -> None:
    assert len(value["rounds"]) == rounds
    assert 0 < value["min"] == min(value["rounds"]) <= value["median"] <= value["max"] == max(value["rounds"])


def test_a_short_run_gives_every_figure_or_says_what_it_needs(benchmarks: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    result = run(benchmarks, "--quick", "--rounds", "2", "--seconds", "0.05", BENCH_JSON=str(file))
    if not can_build(tmp_path):
        assert result.returncode == 1
        assert NEEDED in result.stderr
        return
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line for line in result.stdout.splitlines() if line.startswith(("| TCP |", "| TLS |"))]
    report = json.loads(file.read_text("utf-8"))
    assert (report["schema_version"], report["quick"], report["message_bytes"]) == (1, True, 64)
    assert (report["rounds"], report["round_seconds"]) == (2, 0.05)
    assert report["machine"]["cpu"]
    shapes = [(case["transport"], case["connections"], case["depth"]) for case in report["cases"]]
    assert shapes == [(tcp, *shape) for tcp in ("tcp", "tls") for shape in ((1, 1), (10, 1), (10, 16))]
    assert len(rows) == len(report["cases"])
    for case, row in zip(report["cases"], rows, strict=True):
        for side in (case["antiphon"], case["blind"]):
            for figure in ("messages_per_s", "batch_p50_us", "batch_p99_us"):
                check_spread(side[figure], 2)
            assert side["load_core_share"]["min"] >= 0
        check_spread(case["ratio"], 2)
        ours, blind = (case[side]["messages_per_s"]["rounds"] for side in ("antiphon", "blind"))
        assert case["ratio"]["rounds"] == pytest.approx([a / b for a, b in zip(ours, blind, strict=True)])
        assert f"**{case['ratio']['median']:.2f}**" in row
        assert f"{case['antiphon']['messages_per_s']['median']:,.0f}" in row
        assert f"{case['blind']['messages_per_s']['median']:,.0f}" in row


def test_without_a_c_compiler_one_sentence_names_what_to_install(benchmarks: Path) -> None:
    result = run(benchmarks, "--quick", CC="no-such-compiler")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(
        f"bench: the load generator cannot be built (there is no no-such-compiler); {NEEDED}"
    )
    assert result.stderr.count("\n") == 1


def test_without_openssl_headers_one_sentence_names_what_to_install(benchmarks: Path, tmp_path: Path) -> None:
    problem = "load.c:20:10: fatal error: openssl/ssl.h: No such file or directory"
    said = f"In file included\\n{problem}\\n   20 | #include <openssl/ssl.h>\\ncompilation terminated."
    fails = compiler(tmp_path, f"printf '{said}\\n' >&2; exit 1")
    result = run(benchmarks, "--quick", CC=fails)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"bench: the load generator cannot be built ({problem}); {NEEDED}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("older", [True, False])
def test_the_load_generator_is_built_again_when_its_source_is_newer(
    benchmarks: Path, tmp_path: Path, *, older: bool
) -> None:
    program = benchmarks / "load"
    program.write_text("#!/bin/sh\necho not a load generator >&2; exit 1\n")
    program.chmod(0o755)
    source = benchmarks / "load.c"
    built_at = source.stat().st_mtime + (-1 if older else 1)
    os.utime(program, (built_at, built_at))
    called = tmp_path / "called"
    result = run(benchmarks, "--quick", CC=compiler(tmp_path, f"touch {called}; exit 1"))
    assert result.returncode == 1
    assert called.exists() is older
    assert older or "rounds: 1 of 0.3 s" in result.stdout
    assert ("cannot be built" if older else "not a load generator") in result.stderr


@pytest.mark.parametrize(
    "options", [["--rounds", "0"], ["--seconds", "0"], ["--seconds", "nan"], ["--json", "/no/such/folder/figures"]]
)
def test_what_cannot_be_measured_is_refused_before_anything_is_done(benchmarks: Path, options: list[str]) -> None:
    result = run(benchmarks, *options, CC="no-such-compiler")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
