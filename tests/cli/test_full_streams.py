"""Commands whose streams are closed, full or do not block: nothing is lost in silence, nothing hangs."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from support import forked_command
from support.processes import (
    ANTIPHON,
    PASSWORD,
    Process,
    ServerProcess,
    clean_environment,
    fork_requests,
    run_antiphon,
)
from support.serving import seed
from support.streams import pipe

ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}
FULL = "Standard output cannot be written: the disk is full. Not everything was shown."


def shell(
    script: str, home: Path, *, installed: bool = False, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a bash script in which `antiphon` is the `installed` command, or runs in a fork."""
    commands = ANTIPHON.parent if installed else home / "commands"
    if not installed:
        forked_command.install(commands, ANTIPHON)
        variables[forked_command.REQUESTS] = str(fork_requests().fileno())
    environment = clean_environment(home, PATH=f"{commands}:/usr/bin:/bin", **ANN, **variables)
    return subprocess.run(
        ["bash", "-c", script],
        pass_fds=[fork_requests().fileno()],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data folder with an account for ann."""
    seed(tmp_path / "data")
    return tmp_path / "data"


# --- a reader that goes away --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "ping $ADDRESS --interval 0.05 2>&1 | head -2",
        "ping $ADDRESS --interval 0.05 | head -1",
        "ping $ADDRESS --interval 0 --count 100 --quiet | true",
        "connect --explain $ADDRESS 2>&1 < <(sleep 60) | head -1",
    ],
)
def test_a_command_whose_reader_has_gone_ends_at_once(server: ServerProcess, tmp_path: Path, command: str) -> None:
    began = time.monotonic()
    done = shell(f"antiphon {command} >/dev/null; echo ${{PIPESTATUS[0]}}", tmp_path, ADDRESS=str(server.address))
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert time.monotonic() - began < 40


@pytest.mark.parametrize("command", ["accounts list", "accounts export -", "--help", "accounts list --json"])
def test_a_pipe_that_nobody_reads_ends_a_command_quietly(data: Path, command: str) -> None:
    script = f"{{ sleep 0.1; antiphon {command}; echo $? >&2; }} | true"
    done = shell(
        script,
        data.parent,
        installed=command == "accounts list",
        ANTIPHON_DATA=str(data),
        PYTHONWARNINGS="default",
    )
    assert done.stderr == "1\n"


# --- a full disk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["accounts list", "accounts export", "sessions list --json", "--help", "--version", "ping $ADDRESS"]
)
def test_a_full_disk_is_told_and_is_no_success(server: ServerProcess, data: Path, command: str) -> None:
    if command == "sessions list --json":
        command += f" --data {data}"
    done = shell(
        f"antiphon {command} >/dev/full",
        data.parent,
        installed=command in ("accounts list", "--help"),
        ANTIPHON_DATA=str(data),
        ADDRESS=str(server.address),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(FULL)
    assert len(done.stderr.splitlines()) == 1


def test_answers_that_do_not_fit_are_told(server: ServerProcess, tmp_path: Path) -> None:
    done = shell("seq 3 | antiphon connect $ADDRESS >/dev/full", tmp_path, ADDRESS=str(server.address))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(FULL)


def test_a_full_standard_error_counts_too(data: Path) -> None:
    script = "antiphon accounts disable ann 2>/dev/full"
    done = shell(script, data.parent, installed=True, ANTIPHON_DATA=str(data))
    assert (done.returncode, done.stdout) == (1, "")


def test_a_server_that_cannot_say_where_it_listens_does_not_serve(data: Path) -> None:
    done = shell("antiphon serve --port 0 --no-input >/dev/full", data.parent, ANTIPHON_DATA=str(data))
    assert done.returncode == 1
    assert done.stderr.startswith(FULL)


@pytest.mark.parametrize("options", ["", "--json"])
@pytest.mark.parametrize("where", [">/dev/full", "| true"])
def test_a_passphrase_that_could_not_be_shown_is_told(data: Path, options: str, where: str) -> None:
    script = f"{{ sleep 0.1; antiphon accounts password ann {options}; echo $? >&2; }} {where}"
    done = shell(script, data.parent, installed=not options, ANTIPHON_DATA=str(data))
    told, code = done.stderr.splitlines()[-2:]
    assert code == "1"
    assert told.startswith("The new passphrase of “ann” could not be shown: ")
    assert told.endswith("It is valid nevertheless. Run the command again to make another one.")


def test_a_code_that_could_not_be_shown_is_told(data: Path) -> None:
    done = shell("antiphon invite bob >/dev/full", data.parent, ANTIPHON_DATA=str(data))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("A code that was made could not be shown: the disk is full.")


# --- streams that do not block --------------------------------------------------------------------------------


def run_with_input(reading: int, home: Path, *arguments: str | Path, **environment: str) -> tuple[Process, int]:
    """Start a command whose standard input is `reading`; return it and the reading end of its output."""
    out, theirs = os.pipe()
    process = Process([ANTIPHON, *arguments], clean_environment(home, **environment), [reading, theirs, theirs])
    os.close(theirs)
    os.close(reading)
    return process, out


def test_a_pause_in_the_input_is_not_its_end(server: ServerProcess, tmp_path: Path) -> None:
    with pipe(blocking=False) as (reading, writing):
        process, out = run_with_input(reading, tmp_path, "connect", str(server.address), **ANN)
        with os.fdopen(out, encoding="utf-8") as told:
            for number in range(3):  # each line is written when the one before was answered: a pause for sure
                os.write(writing, b"line %d\n" % number)
                while told.readline() != f"line {number}\n":
                    assert process.poll() is None
            os.close(writing)
            assert told.read() == "You have left.\n"
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("arguments", "lines", "told"),
    [
        (["invite", "--from", "-"], ["bob\n", "zoe\n", "eve\n"], ["bob\t", "zoe\t", "eve\t"]),
        (
            ["accounts", "import", "-", "--dry-run"],
            [f"{name};{'0' * 31}{number}\n" for number, name in enumerate(("bob", "zoe", "eve"))],
            ["To be imported: 3."],
        ),
    ],
)
def test_a_list_that_comes_in_parts_is_read_to_its_end(
    data: Path, arguments: list[str], lines: list[str], told: list[str]
) -> None:
    with pipe(blocking=False) as (reading, writing):
        process, out = run_with_input(reading, data.parent, *arguments, "--data", data)
        for line in lines:
            time.sleep(0.5)  # there is no event: the command waits for its input in silence
            os.write(writing, line.encode())
        os.close(writing)
        with os.fdopen(out, encoding="utf-8") as shown:
            text = shown.read()
        assert process.wait(60) == 0, text
        assert all(part in text for part in told), text


@pytest.mark.parametrize(
    ("command", "code"),
    [("connect $ADDRESS", 1), ("invite --from - --data d", 2), ("accounts import - --data d", 2)],
)
def test_a_read_error_is_not_the_end_of_the_input(
    server: ServerProcess, tmp_path: Path, command: str, code: int
) -> None:
    script = f"antiphon {command} 0>{tmp_path}/x"  # open to write only
    done = shell(script, tmp_path, installed=code == 1, ADDRESS=str(server.address))
    assert (done.returncode, done.stdout) == (code, "")
    assert "Bad file descriptor" in done.stderr.splitlines()[-1]


def test_output_that_does_not_block_gets_everything(server: ServerProcess, tmp_path: Path) -> None:
    lines = b"".join(b"%06d %s\n" % (number, b"x" * 93) for number in range(5000))
    (tmp_path / "lines").write_bytes(lines)
    with pipe(blocking=False) as (reading, writing), (tmp_path / "lines").open("rb") as given:
        os.set_blocking(reading, True)
        streams = [given.fileno(), writing, os.open(os.devnull, os.O_WRONLY)]
        process = Process([ANTIPHON, "connect", str(server.address)], clean_environment(tmp_path, **ANN), streams)
        os.close(writing)
        got = bytearray(os.read(reading, 1))
        time.sleep(0.5)  # the pipe fills
        while chunk := os.read(reading, 65536):
            got += chunk
        os.close(streams[2])
        assert process.wait(60) == 0
        assert got == lines


# --- exit codes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause", ["0", "0.5"])
@pytest.mark.parametrize("code", ["3", "0"])
def test_lines_without_an_answer_are_no_success(tmp_path: Path, pause: str, code: str) -> None:
    seed(tmp_path / "data")
    with ServerProcess(tmp_path / "data", f"exec:sh -c 'read a; exit {code}'") as server:
        done = shell(
            f"for i in 1 2 3 4 5; do echo $i; sleep {pause}; done | antiphon connect $ADDRESS",
            tmp_path,
            ADDRESS=str(server.address),
        )
    assert done.returncode != 0, done.stderr


# --- the log on the console ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("log", "stream"), [("-", 2), ("/dev/stderr", 2), ("/dev/stdout", 1)])
def test_the_log_goes_to_the_console(data: Path, log: str, stream: int) -> None:
    script = f"""antiphon serve --port 0 --no-input --json --log {log} >out 2>err & server=$!
    until grep -q ' listening' out err || ! kill -0 $server; do sleep 0.05; done
    kill $server; wait $server; echo $?"""
    done = shell(f"cd {data.parent}; {script}", data.parent, installed=log == "-", ANTIPHON_DATA=str(data))
    assert done.stdout == "0\n", done.stderr
    out, err = (data.parent / "out").read_text(), (data.parent / "err").read_text()
    assert out.count('"addresses"') == 1
    assert (" info " in out, " info " in err) == (stream == 1, stream == 2)
    assert not (data / "server.log").exists()


def test_an_operators_command_can_log_to_the_console(data: Path) -> None:
    done = run_antiphon("accounts", "disable", "ann", "--log", "-", "--json", "--data", data, home=data.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    assert " info account-disabled " in done.stderr
