"""Tests of `antiphon serve`: its questions, its start block, and that it prints nothing else."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from antiphon import __version__
from antiphon.errors import PortTaken
from support.processes import ANTIPHON, PASSWORD, ServerProcess, clean_environment, run_antiphon
from support.terminal import CTRL_C, CTRL_D, Terminal


@pytest.fixture
def taken() -> Iterator[int]:
    """Yield a port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def free_port() -> int:
    """Return a port that was just free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def pattern_of_block(data: Path, first: str) -> str:
    """Return a pattern for the start block; `first` is the end of its first line."""
    lines = [
        rf"Antiphon {re.escape(__version__)} listens on port (?P<port>\d+){first}\.",
        r"  Connect: (?P<command>antiphon connect 'tls://localhost:(?P=port)#sha256:[A-Za-z0-9_-]{43}')",
        r"  Access:  sign-in with name and password; new names may register\.",
        rf"  Log:     {re.escape(str(data / 'server.log'))}",
    ]
    return "\r\n".join(lines) + "\r\n"


# --- the port is asked for ----------------------------------------------------------------------------------


def test_the_port_is_asked_for_and_what_is_none_is_refused_and_asked_again(tmp_path: Path) -> None:
    port = free_port()
    with Terminal("serve", "--data", tmp_path / "d", home=tmp_path) as terminal:
        for answer in ("letters", "70000", "-1", "80 80"):
            terminal.answer("Port [7862]:", answer)
            terminal.shows(f"“{answer}” is not a port. Give a whole number from 0 to 65535.\r\n")
        terminal.answer("Port [7862]:", str(port))
        terminal.shows("listens on port ")
        terminal.press(CTRL_C)
        assert terminal.ends() == 130


def test_enter_takes_the_default_which_is_the_last_port(tmp_path: Path) -> None:
    port = free_port()
    data = tmp_path / "d"
    data.mkdir(mode=0o700)
    (data / "port").write_text(f"{port}\n")
    (data / "port").chmod(0o600)
    with Terminal("serve", "--data", data, home=tmp_path) as terminal:
        terminal.answer(f"Port [{port}]:", "letters")
        terminal.answer(f"Port [{port}]:")
        terminal.shows(f"listens on port {port}")


@pytest.mark.parametrize(("key", "code"), [(CTRL_C, 130), (CTRL_D, 2)])
def test_the_question_can_be_left(tmp_path: Path, key: str, code: int) -> None:
    with Terminal("serve", "--data", tmp_path / "d", home=tmp_path) as terminal:
        terminal.asks("Port [7862]:")
        terminal.press(key)
        assert terminal.ends() == code


@pytest.mark.parametrize("way", ["flag", "variable", "file", "no-input"])
def test_the_port_is_not_asked_for_when_it_is_given(tmp_path: Path, way: str) -> None:
    config = tmp_path / "antiphon.toml"
    config.write_text("[serve]\nport = 0\n")
    options = {
        "flag": ["--port", "0"],
        "variable": [],
        "file": ["--config", str(config)],
        "no-input": ["--no-input"],
    }
    environment: dict[str, Any] = {"ANTIPHON_PORT": "0"} if way == "variable" else {}
    with Terminal("serve", "--data", tmp_path / "d", *options[way], home=tmp_path, **environment) as terminal:
        terminal.shows("Antiphon ")
        assert "Port [" not in terminal.screen


def test_in_the_background_it_neither_asks_nor_is_stopped(tmp_path: Path) -> None:
    with Terminal("--norc", "--noprofile", "-i", home=tmp_path, command="/bin/bash") as shell:
        shell.enter(f"'{ANTIPHON}' serve --data {tmp_path}/d &")
        shell.shows("listens on port ", "  Log: ")
        shell.enter("jobs; kill %1; wait %1; echo code=$?")
        jobs = shell.shows("code=0\r\n")
        assert "Running" in jobs
        assert "Stopped" not in shell.screen
        assert "Port [" not in shell.screen


# --- what the console shows ---------------------------------------------------------------------------------


def test_the_start_block_is_all_that_the_console_ever_shows(tmp_path: Path) -> None:
    data = tmp_path / "d"
    with Terminal("serve", "--data", data, "--port", "0", home=tmp_path) as terminal:
        block = terminal.matches(pattern_of_block(data, ""))
        pasted = block["command"].replace("antiphon", f"'{ANTIPHON}'", 1)
        for options, code in (("--register", 0), ("", 0), ("--name nobody", 4)):
            done = subprocess.run(
                f"echo hello | {pasted} {options}",
                shell=True,
                env=clean_environment(tmp_path, ANTIPHON_NAME="ann", ANTIPHON_PASSWORD=PASSWORD),
                capture_output=True,
                encoding="utf-8",
                timeout=60,
                check=False,
            )
            assert done.returncode == code, done.stderr
        with socket.create_connection(("127.0.0.1", int(block["port"]))) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
            stranger.recv(100)
        os.kill(terminal.process.pid, signal.SIGTERM)
        assert terminal.ends() == 0
        assert terminal.raw == block[0]
    log = (data / "server.log").read_text()
    for event in ("started", "listening", "connected", "registered", "signed-in", "refused", "left", "stopped"):
        assert f" {event} " in log, event


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--access", "identify"], "by address, without password; a new address is asked for a name."),
        (
            ["--access", "identify", "--registration", "closed"],
            "by address, without password; new names are not taken.",
        ),
        (["--access", "anyone"], "anyone, without name and password."),
        (["--registration", "closed"], "sign-in with name and password; registration is closed."),
    ],
)
def test_the_start_block_says_who_is_let_in(tmp_path: Path, options: list[str], told: str) -> None:
    with Terminal("serve", "--data", tmp_path / "d", "--port", "0", *options, home=tmp_path) as terminal:
        terminal.shows(f"  Access:  {told}\r\n")


def test_access_for_anyone_is_refused_beyond_this_machine_in_one_sentence(tmp_path: Path) -> None:
    done = run_antiphon(
        "serve",
        "--data",
        tmp_path / "d",
        "--port",
        "0",
        "--host",
        "*",
        "--access",
        "anyone",
        "--no-input",
        home=tmp_path,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Access for anyone on * would let in everybody who can reach this machine. Choose --access identify or "
        "authenticate, or add --anyone-anywhere if that is what you want.\n"
    )


def test_a_port_that_was_taken_is_told_of(tmp_path: Path, taken: int) -> None:
    data = tmp_path / "d"
    with Terminal("serve", "--data", data, "--port", str(taken), home=tmp_path) as terminal:
        block = terminal.matches(pattern_of_block(data, f", because {taken} was taken"))
        assert int(block["port"]) > taken
        terminal.press("\x03")  # the log is complete when the server has ended
        terminal.ends()
    assert f"moved_from={taken}" in (data / "server.log").read_text()


def test_closed_registration_is_told_of(tmp_path: Path) -> None:
    with Terminal(
        "serve", "--data", tmp_path / "d", "--port", "0", "--registration", "closed", home=tmp_path
    ) as terminal:
        terminal.shows("  Access:  sign-in with name and password; registration is closed.\r\n", "  Log: ")


def test_the_console_of_a_russian_speaks_russian_and_the_log_english(tmp_path: Path) -> None:
    with Terminal("serve", "--data", tmp_path / "d", "--lang", "ru", home=tmp_path) as terminal:
        terminal.answer("Порт [7862]:", "много")
        terminal.shows("«много»")
        terminal.answer("Порт [7862]:", "0")
        terminal.shows("localhost", "server.log")
        assert "listens" not in terminal.screen
        terminal.press("\x03")
        terminal.ends()
    assert " listening " in (tmp_path / "d" / "server.log").read_text()


# --- options ------------------------------------------------------------------------------------------------


def test_a_strict_port_that_is_taken_is_refused_in_one_sentence(tmp_path: Path, taken: int) -> None:
    done = run_antiphon("serve", "--data", tmp_path / "d", "--port", str(taken), "--strict-port", home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{PortTaken(port=taken, host='localhost')}\n"


def test_json_and_the_port_file_tell_programs_where_it_listens(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "d", "--port-file", str(tmp_path / "port.txt"), "--lang", "ru") as server:
        start = server.start
        assert start["pid"] == server.process.pid
        assert start["addresses"] == [str(server.address)]
        assert start["log"] == str(tmp_path / "d" / "server.log")
        assert (start["registration"], start["moved_from"]) == ("open", None)
        assert (tmp_path / "port.txt").read_text() == f"{start['port']}\n"
        assert server.stop() == 0


def test_the_port_last_asked_for_is_tried_first(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "d", port=str(free_port())) as server:
        port = server.start["port"]
    with Terminal("serve", "--data", tmp_path / "d", "--no-input", home=tmp_path) as terminal:
        terminal.shows(f"listens on port {port}.")


def test_a_port_that_nobody_asked_for_is_not_remembered(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "d", port=str(free_port())) as server:
        port = server.start["port"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with ServerProcess(tmp_path / "d", port=str(port)) as server:
            assert server.start["moved_from"] == port
    with ServerProcess(tmp_path / "d", port="0"):
        pass
    with Terminal("serve", "--data", tmp_path / "d", "--no-input", home=tmp_path) as terminal:
        terminal.shows(f"listens on port {port}.")


@pytest.mark.parametrize("folders", [("one", "one"), ("one", "other")], ids=["one-folder", "two-folders"])
def test_servers_that_start_at_the_same_moment_get_different_ports(
    tmp_path: Path, folders: tuple[str, str]
) -> None:
    for turn in range(3):
        port = str(free_port())

        def start(folder: str, turn: int = turn, port: str = port) -> ServerProcess:
            return ServerProcess(tmp_path / f"{turn}-{folder}", port=port)

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(start, folders)
        with first, second:
            assert first.start["port"] != second.start["port"]
            same = first.address.fingerprint == second.address.fingerprint
            assert same == (folders[0] == folders[1])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_it_in_order(tmp_path: Path, number: int, code: int) -> None:
    with ServerProcess(tmp_path / "d") as server:
        server.signal(number)
        assert server.wait() == code
        assert server.log.splitlines()[-1].split(" ")[2] == "stopped"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "70000"], "--port: must be from 0 to 65535, not 70000"),
        (["--port", "letters"], 'antiphon: Invalid value for --port: unable to convert "letters" into int.'),
        (
            ["--plain", "--host", "0.0.0.0", "--port", "0"],
            "Plain TCP on 0.0.0.0 would send everything unencrypted",
        ),
        (["--host", "nosuch.invalid", "--port", "0"], "Cannot listen on nosuch.invalid: there is no such host."),
        (["--password-minimum", "7"], "--password-minimum: must be from 8 to 1024, not 7"),
        (["--data", "/dev/null"], "/dev/null cannot be used: it is not a folder."),
        (["sing"], "“sing” cannot be loaded: no service of that name comes with Antiphon."),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(tmp_path: Path, options: list[str], sentence: str) -> None:
    done = run_antiphon("serve", *options, home=tmp_path, ANTIPHON_DATA=str(tmp_path / "d"))
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_address_of_the_json_line_works_over_plain_tcp(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "d", "--plain") as server:
        assert json.dumps(server.start["addresses"]) == f'["tcp://localhost:{server.start["port"]}"]'
        done = run_antiphon(
            "connect", str(server.address), "--register", "--name", "ann",
            home=tmp_path, stdin="hello\n", ANTIPHON_PASSWORD=PASSWORD,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


# --- the check ----------------------------------------------------------------------------------------------


def test_check_tells_each_thing_in_a_line_and_ends_with_the_code_of_the_first_problem(tmp_path: Path) -> None:
    options = ("--data", tmp_path / "d", "--port", "0", "--check")
    done = run_antiphon("serve", *options, home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    whats = ["service", "data folder", "log", "key ring", "certificate", "store", "port"]
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == whats
    wrong = run_antiphon("serve", "nobody:answer", *options, home=tmp_path, LANG="ru_RU.UTF-8")
    assert (wrong.returncode, wrong.stderr) == (2, "")
    assert [line.partition(": ")[0] for line in wrong.stdout.splitlines()][:2] == ["служба", "папка данных"]
    told = json.loads(run_antiphon("serve", "nobody:answer", *options, "--json", home=tmp_path).stdout)
    assert [each["what"] for each in told] == whats
    assert [each["code"] for each in told] == ["service-not-loaded", *[None] * 6]
    assert not (tmp_path / "d").exists()
