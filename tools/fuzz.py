#!/usr/bin/env python3
"""`make fuzz`: run the property tests of the C parts, compiled with sanitizers, for some time.

`FUZZ_SECONDS` (300) is the time; a round that has begun is finished, and there is at least one. `FUZZ_SEED` is the
seed of the first round, `FUZZ_EXAMPLES` (100) the number of examples for each property in a round.
"""

import os
import platform
import random
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "build" / "fuzz"
"""Holds a copy of the package, so that the installed C parts stay as they are."""
PARTS = ["antiphon/wire/_batch", "antiphon/transport/_endpoint", "antiphon/server/handler/_handler"]
"""Each is compiled from all C files of its folder."""
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g"]
RUNTIMES = ["libasan.so", f"libclang_rt.asan-{platform.machine()}.so", "libclang_rt.asan.so"]
"""Names of the library of GCC and Clang that must be loaded before Python, which is not linked with it."""
WIRE = ("batch_answerer", "batch_responder", "batch_twins", "client_batch", "exchange", "held", "stepping")
TESTS = [f"tests/wire/test_{name}.py" for name in WIRE]
TESTS += [f"tests/transport/test_{name}.py" for name in ("endpoint", "endpoint_twins", "record_layer")]
TESTS += [f"tests/server/handler/test_{name}.py" for name in ("task", "task_as_asyncio", "waiting_twins")]
ONCE = [
    "tests/transport/test_plain.py",
    "tests/transport/test_tls.py",
    "tests/server/connection/test_fast_path_taken.py",
]
"""Tests without properties that use both parts; they run in the first round."""
HANGS_AFTER = 600
AGAIN_FOR = 120
WITHOUT = ["-W", "ignore:Generating overly large repr"]
"""A warning of hypothesis about long examples; warnings are errors otherwise."""
INTERRUPTED = 130
ADVICE = "On Debian and Ubuntu: apt install gcc libc6-dev python3-dev; CC names another compiler."
ENVIRONMENT = {
    "PYTHONPATH": str(BUILT),
    "PYTHONUNBUFFERED": "1",  # a process that dies flushes nothing
    "PYTHONMALLOC": "malloc",  # or the sanitizer would see Python's pools instead of objects
    # Python keeps much until it exits, so the properties count leaks themselves. Freed memory is overwritten.
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:quarantine_size_mb=64"
    ":handle_segv=2:handle_sigbus=2:handle_sigfpe=2:max_free_fill_size=64:free_fill_byte=221:malloc_context_size=4",
    "UBSAN_OPTIONS": "abort_on_error=1:print_stacktrace=1",
}


def compiled() -> str:
    """Copy the package and compile its C parts with sanitizers; return the library to preload."""
    if sys.platform != "linux":
        sys.exit("make fuzz: it preloads the sanitizers, which works on Linux only; run it there.")
    compiler = shlex.split(os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc"))
    if shutil.which(compiler[0]) is None:
        sys.exit(f"make fuzz: there is no C compiler ({compiler[0]}) to build the parts in C. {ADVICE}")
    shutil.rmtree(BUILT, ignore_errors=True)
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "src" / "antiphon", BUILT / "antiphon", ignore=ignored)
    found = [output_of([*compiler, f"-print-file-name={name}"]).strip() for name in RUNTIMES]
    runtime = next((name for name in found if Path(name).is_absolute()), None)
    if runtime is None:
        sys.exit(f"make fuzz: {compiler[0]} has no AddressSanitizer library (libasan). {ADVICE}")
    flags = [*SANITIZED, "-fPIC", "-fvisibility=hidden", "-shared", "-I", sysconfig.get_path("include")]
    if "clang" in runtime:
        flags.append("-shared-libasan")
    for part in PARTS:
        library = (BUILT / part).with_suffix(str(sysconfig.get_config_var("EXT_SUFFIX")))
        output_of([*compiler, *flags, *map(str, library.parent.glob("*.c")), "-o", str(library)])
    return runtime


def output_of(command: list[str]) -> str:
    """Return the output of a compiler; if it fails, exit with its error."""
    made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode:
        why = next((line for line in made.stderr.splitlines() if "error" in line), made.stderr.strip())
        sys.exit(f"make fuzz: {command[0]} cannot compile the parts in C with sanitizers: {why}. {ADVICE}")
    return made.stdout


def run_round(
    runtime: str, seed: int, *arguments: str, timeout: float | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the tests once with the sanitized parts."""
    environment = os.environ | ENVIRONMENT | {"LD_PRELOAD": runtime}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "--capture=sys",
        *WITHOUT,
    ]
    command += [f"--timeout={HANGS_AFTER}", "--hypothesis-profile=fuzz", f"--hypothesis-seed={seed}", *arguments]
    taken = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=timeout, **taken)  # noqa: S603


def last_example(runtime: str, seed: int, output: str) -> str:
    """Return the example with which the process died, by running the property again; it is not shrunk."""
    dying = re.search(r'File "\S*/(tests/\S+\.py)", line \d+ in (test_\w+)', output)
    if dying is None:
        return ""
    verbose = ["-s", "--hypothesis-verbosity=verbose", f"{ROOT / dying[1]}::{dying[2]}"]
    try:
        again = run_round(runtime, seed, *verbose, timeout=AGAIN_FOR)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        return ""
    _, *examples = re.split(rf"^[A-Z][a-z ]+: (?={dying[2]}\()", again.stdout, flags=re.MULTILINE)
    return f"The last example was {examples[-1][:4000]}" if examples and again.returncode else ""


def number_from(name: str, default: int) -> int:
    """Return a number from the environment."""
    try:
        return int(os.environ.get(name) or default)
    except ValueError:
        sys.exit(f"make fuzz: {name} is {os.environ[name]!r}; it must be a whole number.")


def main() -> int:
    """Run rounds until the time is over; return the exit code."""
    seconds = number_from("FUZZ_SECONDS", 300)
    examples = number_from("FUZZ_EXAMPLES", 100)
    first = number_from("FUZZ_SEED", random.SystemRandom().randrange(2**32))
    runtime = compiled()
    print(f"Fuzzing {' and '.join(PARTS)} for {seconds} s; the first seed is {first}.", flush=True)
    begun = time.monotonic()
    rounds = tried = code = 0
    try:
        while rounds == 0 or time.monotonic() - begun < seconds:
            seed = first + rounds
            what = [*TESTS, *ONCE] if rounds == 0 else [*TESTS, "-m", "hypothesis"]
            done = run_round(runtime, seed, "--hypothesis-show-statistics", *what)
            rounds += 1
            tried += sum(map(int, re.findall(r"- (\d+) passing", done.stdout)))
            if done.returncode:
                again = f"FUZZ_SEED={seed} FUZZ_SECONDS=0 FUZZ_EXAMPLES={examples} make fuzz"
                print(f"{done.stdout}\nmake fuzz: round {rounds} failed after {time.monotonic() - begun:.0f} s.")
                print(f"Again: {again}", flush=True)
                print(last_example(runtime, seed, done.stdout), end="")
                return 1
    except KeyboardInterrupt:
        print("\nStopped by Ctrl-C.")
        code = INTERRUPTED
    print(f"{tried} examples in {time.monotonic() - begun:.0f} s and {rounds} rounds: nothing was found.")
    print(f"The same again: FUZZ_SEED={first} FUZZ_EXAMPLES={examples} make fuzz")
    return code


if __name__ == "__main__":
    sys.exit(main())
