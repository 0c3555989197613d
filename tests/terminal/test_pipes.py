"""Tests of the client between pipes: each line is sent, each answer printed, nothing else on standard output."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import ConnectionLost
from support.processes import (
    ANTIPHON,
    PASSWORD,
    PipedProcess,
    ServerProcess,
    clean_environment,
    run_antiphon,
)
from support.serving import seed

ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run a server with a message limit of 1 KiB."""
    folder = tmp_path_factory.mktemp("narrow") / "data"
    seed(folder)
    with ServerProcess(folder, "--message-limit", "1024") as server:
        yield server


def shell(script: str, server: ServerProcess, home: Path) -> "subprocess.CompletedProcess[str]":
    """Run a bash script in which $ADDRESS is the server's address and `antiphon` the installed command."""
    path = f"{ANTIPHON.parent}:/usr/bin:/bin"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail\n{script}"],
        env=clean_environment(home, PATH=path, ADDRESS=str(server.address), **ANN),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def echoed(server: ServerProcess, home: Path, given: bytes) -> bytes:
    """Send `given` and return the answers; the command must succeed."""
    done = run_antiphon("connect", str(server.address), home=home, stdin=given, **ANN)
    assert done.returncode == 0, done.stderr
    return done.stdout.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("count", [1_000, 40_000])
def test_all_lines_come_back_in_order_and_nothing_else(server: ServerProcess, tmp_path: Path, count: int) -> None:
    done = shell(f'seq 1 {count} | antiphon connect "$ADDRESS" | diff - <(seq 1 {count})', server, tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done


def test_what_the_client_tells_of_itself_is_on_standard_error(server: ServerProcess, tmp_path: Path) -> None:
    done = run_antiphon("connect", str(server.address), "-v", home=tmp_path, stdin="hello\n", **ANN)
    assert done.stdout == "hello\n"
    told = done.stderr.splitlines()
    assert told[0] == f"Connected to tls://localhost:{server.address.port}."
    assert told[1].startswith("Welcome")
    assert told[2:] == ["Bytes sent: 5.", "Bytes received: 5.", "You have left."]


def test_sizes_are_told_only_when_asked_for(server: ServerProcess, tmp_path: Path) -> None:
    done = run_antiphon("connect", str(server.address), home=tmp_path, stdin="hello\n", **ANN)
    assert "Bytes" not in done.stderr


@pytest.mark.parametrize(
    "given",
    [
        "Привет\n🙂\n\n\n  spaces  \n\ttab\n".encode(),
        b"\xff\xfe\n\x80\x81abc\n",
        b"carriage return\r\n\x00\x1b[31m\n",
        b"",
    ],
    ids=["text", "not-utf-8", "control-characters", "nothing"],
)
def test_lines_come_back_as_they_were(server: ServerProcess, tmp_path: Path, given: bytes) -> None:
    assert echoed(server, tmp_path, given) == given


def test_a_last_line_without_an_end_is_sent_too(server: ServerProcess, tmp_path: Path) -> None:
    assert echoed(server, tmp_path, b"a\nb") == b"a\nb\n"


def test_exit_alone_on_a_line_leaves_and_two_slashes_say_the_word(server: ServerProcess, tmp_path: Path) -> None:
    given = b"exit now\n exit\n//exit\nexit\nnot sent\n"
    assert echoed(server, tmp_path, given) == b"exit now\n exit\nexit\n"


def test_a_line_over_the_limit_is_refused_after_what_came_before_was_answered(
    narrow: ServerProcess, tmp_path: Path
) -> None:
    largest = "x" * 1024
    given = f"first\n{largest}\n{largest}x\nnever\n"
    done = run_antiphon("connect", str(narrow.address), home=tmp_path, stdin=given, **ANN)
    assert done.returncode == 5
    assert done.stdout == f"first\n{largest}\n"
    assert done.stderr.splitlines()[-1] == (
        "A message of 1025 bytes is too large: 1024 are allowed. "
        "Send less at once, or ask the operator to raise --message-limit."
    )


def test_a_line_without_end_is_not_kept_in_memory(server: ServerProcess, tmp_path: Path) -> None:
    script = '{ echo first; head -c 40000000 /dev/zero; } | (ulimit -v 1500000; antiphon connect "$ADDRESS")'
    done = shell(script, server, tmp_path)
    assert done.stdout == "first\n"
    assert "is too large: 16777216 are allowed." in done.stderr
    assert done.returncode == 5


def test_a_reader_that_goes_away_is_no_fault(server: ServerProcess, tmp_path: Path) -> None:
    done = shell('seq 1 100000 | antiphon connect "$ADDRESS" | head -1; echo ${PIPESTATUS[1]}', server, tmp_path)
    assert done.stdout == "1\n1\n"
    assert len(done.stderr.splitlines()) == 2, done.stderr


def test_a_closed_standard_input_is_an_empty_one(server: ServerProcess, tmp_path: Path) -> None:
    done = shell('antiphon connect "$ADDRESS" <&-', server, tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_closed_standard_error_puts_nothing_on_standard_output(server: ServerProcess, tmp_path: Path) -> None:
    done = shell('echo hello | antiphon connect "$ADDRESS" 2>&-', server, tmp_path)
    assert (done.returncode, done.stdout) == (0, "hello\n")


def test_a_closed_standard_output_is_no_fault(server: ServerProcess, tmp_path: Path) -> None:
    done = shell('echo hello | antiphon connect "$ADDRESS" >&-', server, tmp_path)
    assert done.returncode == 0, done.stderr


def piped(server: ServerProcess, home: Path, *options: str) -> PipedProcess:
    """Return a client whose standard input stays open."""
    return PipedProcess(
        ANTIPHON, "connect", str(server.address), *options, environment=clean_environment(home, **ANN)
    )


def test_an_answer_comes_while_the_pipe_stays_open(server: ServerProcess, tmp_path: Path) -> None:
    with piped(server, tmp_path) as process:
        process.stdin.write(b"hello\n")
        assert process.stdout.readline() == "hello\n"


def test_exit_ends_the_program_while_the_pipe_stays_open(server: ServerProcess, tmp_path: Path) -> None:
    with piped(server, tmp_path) as process:
        process.stdin.write(b"exit\n")
        assert process.wait(60) == 0
        assert process.stderr.read().endswith("You have left.\n")


def test_an_interrupt_leaves_politely(server: ServerProcess, tmp_path: Path) -> None:
    with piped(server, tmp_path) as process:
        process.stdin.write(b"hello\n")
        assert process.stdout.readline() == "hello\n"
        ended = server.log.count("session-ended")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert len(process.stderr.read().splitlines()) == 2, "greeted, and then silent"
        server.logged("session-ended", ended + 1)


def test_a_lost_connection_is_told_once_whatever_was_under_way(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with (
        ServerProcess(tmp_path / "data") as server,
        piped(server, tmp_path, "--give-up", "0") as process,
    ):
        process.stdin.write(b"hello\n")
        assert process.stdout.readline() == "hello\n"
        server.signal(signal.SIGSTOP)
        process.stdin.write(b"never\nanswered\n")
        server.kill()
        assert process.wait(60) == 3
        assert process.stderr.read().splitlines()[2:] == [
            str(ConnectionLost(address=f"tls://localhost:{server.address.port}"))
        ]
