"""Programs as services: messages and answers, limits, and that no process outlives its session."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import ServiceNotLoaded, SettingInvalid
from antiphon.services import Program
from antiphon.services.program import LINE_LIMIT, SAID_MOST
from antiphon.settings import ProgramSettings
from antiphon.wire.bodies import ServerBye
from antiphon.wire.kinds import KIB
from support.inside import connections
from support.processes import ServerProcess
from support.programs import ask, asked, descendants, said, shell, until_gone
from support.serving import Serving, in_session, seed, serving

Served = Callable[..., AbstractContextManager[Serving]]


@pytest.fixture
def tokens(tmp_path: Path) -> list[bytes]:
    return seed(tmp_path / "data", sessions=2)


@pytest.fixture
def served(tmp_path: Path, tokens: list[bytes]) -> Served:
    """Serve a program; options that begin with `exec_` are the program's, the others the server's."""

    def serve(command: str, **options: Any) -> AbstractContextManager[Serving]:
        ours = {name: options.pop(name) for name in list(options) if name.startswith("exec_")}
        program = Program(command, **{"exec_wait": 60.0} | ours)
        return serving(tmp_path / "data", program, plain=True, **options)

    return serve


def logged(server: Serving, what: str) -> str:
    """Wait until the log contains `what`; return the log."""
    ends = time.monotonic() + 60
    while what not in (log := server.server.log_path.read_text("utf-8")):
        assert time.monotonic() < ends, log
        time.sleep(0.01)
    return log


# --- lines and answers --------------------------------------------------------------------------------------


def test_a_line_is_answered_by_the_line_that_comes(served: Served, tokens: list[bytes]) -> None:
    with served("cat", exec_pause=0.05) as server, server.session(tokens[0]) as client:
        for message in ("hello", "", "Привет", "two\nlines"):
            id = asked(client, message)
            lines = message.split("\n")
            assert said(client, len(lines) + 1) == [*((id, line) for line in lines), (id, None)]


def test_each_session_has_a_program_of_its_own_that_keeps_its_state(served: Served, tokens: list[bytes]) -> None:
    counting = shell("while read line; do n=$((n+1)); echo $n; done")
    with served(counting, exec_pause=0) as server, server.session(tokens[0]) as first:
        with server.session(tokens[1]) as second:
            assert [ask(first, "x"), ask(first, "x"), ask(second, "x"), ask(first, "x")] == ["1", "2", "1", "3"]
        first.sock.close()
        with in_session(server.address, tokens[0]) as back:
            assert ask(back, "x") == "4"


def test_all_lines_until_it_is_silent_are_the_answer(served: Served, tokens: list[bytes]) -> None:
    with (
        served(shell("while read line; do echo a; echo b; echo $line; done"), exec_pause=0.3) as server,
        server.session(tokens[0]) as client,
    ):
        first, second = asked(client, "1"), asked(client, "2")
        expected = [(id, line) for id, last in ((first, "1"), (second, "2")) for line in ("a", "b", last, None)]
        assert said(client, 8) == expected


def test_a_program_that_says_nothing_ends_the_answer(served: Served, tokens: list[bytes]) -> None:
    script = "read line; read line; echo $line; exec cat"
    with served(shell(script), exec_wait=0.1) as server, server.session(tokens[0]) as client:
        assert ask(client, "nothing comes of it") is None
        id = asked(client, "something")
        told = said(client, 2)  # in this order, or the end first, if a busy machine takes more than 0.1 s
        assert told in ([(id, "something"), (id, None)], [(id, None), (0, "something")])


def test_lines_that_answer_no_message_are_pushed(served: Served, tokens: list[bytes]) -> None:
    with served(shell("echo ready; echo steady; exec cat")) as server, server.session(tokens[0]) as client:
        assert said(client, 2) == [(0, "ready"), (0, "steady")]
        id = asked(client, "go")
        assert said(client, 1) == [(id, "go")]


def test_the_rest_of_an_answer_is_not_the_next_answer(served: Served, tokens: list[bytes]) -> None:
    script = "while read line; do echo $line 1; sleep 0.1; echo $line 2; done"
    with served(shell(script), exec_pause=1.0) as server, server.session(tokens[0]) as client:
        first = asked(client, "a")
        assert said(client, 1) == [(first, "a 1")]
        client.send(client.conversation.cancel(first))
        second = asked(client, "b")
        assert said(client, 5) == [
            (first, None), (0, "a 2"), (second, "b 1"), (second, "b 2"), (second, None),
        ]  # fmt: skip


def test_with_one_line_for_each_message_no_line_answers_another(
    served: Served, tokens: list[bytes], tmp_path: Path
) -> None:
    script = f"read a; touch {tmp_path}/read; read b; echo $a; echo $b; exec cat"
    with served(shell(script), exec_pause=0) as server, server.session(tokens[0]) as client:
        first = asked(client, "a")
        while not (tmp_path / "read").exists():
            time.sleep(0.01)
        client.send(client.conversation.cancel(first))
        assert said(client, 1) == [(first, None)]
        second = asked(client, "b")
        assert said(client, 3) == [(0, "a"), (second, "b"), (second, None)]
        assert ask(client, "c") == "c"


@pytest.mark.parametrize("pause", [0, 0.1])
def test_a_message_cancelled_before_the_program_has_it_changes_nothing(
    served: Served, tokens: list[bytes], tmp_path: Path, pause: float
) -> None:
    script = f"echo ready; until [ -e {tmp_path}/go ]; do sleep 0.01; done; echo unasked; exec cat"
    with served(shell(script), exec_pause=pause) as server, server.session(tokens[0]) as client:
        assert said(client, 1) == [(0, "ready")]
        id, data = client.conversation.message("never")
        client.send(data + client.conversation.cancel(id))
        assert said(client, 1) == [(id, None)]
        (tmp_path / "go").touch()
        assert said(client, 1) == [(0, "unasked")]
        assert ask(client, "c") == "c"


def test_a_line_that_is_not_utf_8_comes_as_bytes_and_bytes_are_refused(
    served: Served, tokens: list[bytes]
) -> None:
    with served(shell(r'printf "\377\r\n"; exec cat')) as server, server.session(tokens[0]) as client:
        assert said(client, 1) == [(0, b"\xff")]
        id = asked(client, b"\x00")
        assert said(client, 1) == [(id, "text-only")]


def test_a_program_knows_the_person_and_no_variable_of_the_server(
    served: Served, tokens: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIPHON_PASSWORD", "a secret")
    script = "env | grep ^ANTIPHON_ | sort; echo $HOME; exec cat"
    with served(shell(script)) as server, server.session(tokens[0]) as client:
        address = client.sock.getsockname()
        assert [text for _, text in said(client, 4)] == [
            "ANTIPHON_ACCOUNT=1",
            f"ANTIPHON_ADDRESS={address[0]}:{address[1]}",
            "ANTIPHON_NAME=ann",
            os.environ["HOME"],
        ]


def test_a_name_reaches_the_program_in_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data", "Вадим")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = shell('printf "%s\\n" "$ANTIPHON_NAME"; exec cat')
    with (
        ServerProcess(tmp_path / "data", "--plain", f"exec:{command}", **ascii_only) as server,
        in_session(server.address, token) as client,
    ):
        assert said(client, 1) == [(0, "Вадим")]


def test_no_shell_reads_the_command(served: Served, tokens: list[bytes]) -> None:
    with served("printf '%s\\n' '$HOME; a  b' *") as server, server.session(tokens[0]) as client:
        assert [text for _, text in said(client, 2)] == ["$HOME; a  b", "*"]


# --- end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("read line; echo last; exit", "The program has ended."),
        ("read line; echo last; exit 3", "The program has ended with exit code 3."),
        ("read line; echo last; kill -9 $$", "The program has ended with exit code 137."),
        ("read line; printf last", "The program has ended."),
    ],
)
def test_the_end_of_the_program_ends_the_session(
    served: Served, tokens: list[bytes], script: str, reason: str
) -> None:
    with served(shell(script)) as server:
        with server.session(tokens[0]) as client:
            id = asked(client, "go on")
            assert said(client, 2) == [(id, "last"), (id, None)]
            assert client.body() == ServerBye(reason="closed", text=reason)
            client.closed()
        logged(server, f'session-closed name="ann" address=127.0.0.1:{client_port(server)} reason="{reason}"')


def client_port(server: Serving) -> str:
    log = server.log()
    return log.partition('resumed name="ann" address=127.0.0.1:')[2].split()[0]


def test_a_program_that_ends_at_once_closes_the_session(served: Served, tokens: list[bytes]) -> None:
    with served("false") as server, server.session(tokens[0]) as client:
        assert client.body() == ServerBye(reason="closed", text="The program has ended with exit code 1.")


def test_a_program_that_ends_while_its_client_is_away_ends_the_session(
    served: Served, tokens: list[bytes], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with served(shell(f"echo $$; read line <{gate}")) as server:
        with server.session(tokens[0]) as client:
            ((_, pid),) = said(client, 1)
            client.sock.close()
        while server.read(connections):
            time.sleep(0.01)
        gate.write_text("now\n")
        until_gone(int(str(pid)))
        with in_session(server.address, tokens[0]) as back:
            assert back.body() == ServerBye(reason="closed", text="The program has ended.")


def test_the_end_of_the_session_ends_the_program(served: Served, tokens: list[bytes], tmp_path: Path) -> None:
    left = tmp_path / "left"
    script = f"echo $$; while read line; do :; done; echo orderly >{left}"
    with served(shell(script)) as server, server.session(tokens[0]) as client:
        ((_, pid),) = said(client, 1)
        client.leave()
        until_gone(int(str(pid)))
        assert left.read_text() == "orderly\n"


STUBBORN = (
    "trap : TERM; (trap : TERM; while :; do sleep 0.1; done) & setsid sleep 1000 & echo $! $$; "
    "while :; do sleep 0.1; done"
)
"""A program that ignores signals, with two children, one of them in a session of its own."""


def test_a_program_that_refuses_to_end_is_killed_with_all_it_has_started(
    served: Served, tokens: list[bytes]
) -> None:
    with served(shell(STUBBORN)) as server, server.session(tokens[0]) as client:
        ((_, pids),) = said(client, 1)
        below = descendants(int(str(pids).split()[1]))
        assert len(below) >= 3
        client.leave()
        until_gone(*below)


def test_nothing_is_left_of_a_server_that_is_killed(tmp_path: Path, tokens: list[bytes]) -> None:
    server = ServerProcess(tmp_path / "data", "--plain", f"exec:{shell(STUBBORN)}")
    try:
        with in_session(server.address, tokens[0]) as client:
            ((_, pids),) = said(client, 1)
            below = descendants(int(str(pids).split()[1]))
            assert len(below) >= 3
            os.kill(server.process.pid, signal.SIGKILL)
            until_gone(*below)
    finally:
        server.kill()


def test_what_a_program_leaves_behind_ends_with_it(served: Served, tokens: list[bytes]) -> None:
    with served(shell("setsid sleep 1000 & echo $!")) as server, server.session(tokens[0]) as client:
        ((_, pid),) = said(client, 1)
        assert client.body() == ServerBye(reason="closed", text="The program has ended.")
        until_gone(int(str(pid)))


def test_a_program_ends_with_the_process_that_watches_it(served: Served, tokens: list[bytes]) -> None:
    with served(shell("echo $PPID $$; exec sleep 1000")) as server, server.session(tokens[0]) as client:
        ((_, pids),) = said(client, 1)
        launcher, program = map(int, str(pids).split())
        os.kill(launcher, signal.SIGKILL)
        until_gone(program)
        assert client.body() == ServerBye(reason="closed", text="The program has ended with exit code 137.")


def test_the_programs_of_one_person_leave_places_for_others(served: Served, tokens: list[bytes]) -> None:
    with (
        served("cat", exec_most=4, exec_pause=0) as server,
        server.session(tokens[0]) as first,
        server.session(tokens[1]) as second,
    ):
        assert ask(first, "here") == "here"
        assert second.body() == ServerBye(
            reason="closed", text="Too many programs are running now; try again later."
        )


def test_a_pipe_that_nobody_reads_ends_who_writes_to_it(served: Served, tokens: list[bytes]) -> None:
    script = "(yes 2>&1 >&3 | cat) 3>&1 | head -n 1; echo end"
    with served(shell(script)) as server, server.session(tokens[0]) as client:
        assert said(client, 2) == [(0, "y"), (0, "end")]
        log = server.server.log_path
        client.leave()
    assert "Broken pipe" not in log.read_text("utf-8")


# --- limits -------------------------------------------------------------------------------------------------


def test_a_process_has_no_more_memory_than_it_may(served: Served, tokens: list[bytes]) -> None:
    script = 'python3 -IS -c "bytes(2**28)" 2>&1 | tail -n 1; exec cat'
    with served(shell(script), exec_memory=128) as server, server.session(tokens[0]) as client:
        assert said(client, 1) == [(0, "MemoryError")]
    with served(shell(script), exec_memory=0) as server, server.session(tokens[1]) as client:
        assert ask(client, "no limit") == "no limit"


def test_a_line_without_end_ends_it(served: Served, tokens: list[bytes]) -> None:
    script = f'head -c {LINE_LIMIT} /dev/zero | tr "\\\\0" x; echo; head -c {LINE_LIMIT + 1} /dev/zero; exec cat'
    with served(shell(script)) as server, server.session(tokens[0]) as client:
        assert said(client, 1) == [(0, "x" * LINE_LIMIT)]
        assert client.body() == ServerBye(reason="closed", text="The program has written a line that is too long.")


def test_a_line_over_the_limit_of_messages_ends_it(served: Served, tokens: list[bytes]) -> None:
    script = 'head -c 2000 /dev/zero | tr "\\\\0" x; echo; exec cat'
    with served(shell(script), message_limit=KIB) as server, server.session(tokens[0]) as client:
        assert client.body() == ServerBye(reason="closed", text="The program has written a line that is too long.")


def test_a_program_that_writes_much_waits_for_a_client_that_does_not_read(
    served: Served, tokens: list[bytes]
) -> None:
    script = 'i=0; while [ $i -lt 200 ]; do printf "%d %0100000d\\\\n" $i 0; i=$((i+1)); done; exec cat'
    with served(shell(script)) as server, server.session(tokens[0]) as client:
        while not server.read(lambda running: next(iter(connections(running))).blocked):
            time.sleep(0.01)
        lines = [str(text).split()[0] for _, text in said(client, 200)]
        assert lines == [str(number) for number in range(200)]


def test_messages_that_a_program_does_not_read_do_not_pile_up(served: Served, tokens: list[bytes]) -> None:
    with (
        served("sleep 1000", exec_wait=0.01, service_seconds=0.3) as server,
        server.session(tokens[0]) as client,
    ):
        assert ask(client, "x" * 1000 * KIB) is None
        id = asked(client, "y")
        assert said(client, 1) == [(id, "service-too-slow")]


def test_standard_error_goes_to_the_log_escaped_and_within_bounds(served: Served, tokens: list[bytes]) -> None:
    script = r'printf "red \033[31m\n" >&2; seq 1 1000 >&2; echo done; exec cat'
    with served(shell(script)) as server, server.session(tokens[0]) as client:
        assert said(client, 1) == [(0, "done")]
        log = logged(server, "it says more than is kept")
        client.leave()
    assert f' 127.0.0.1:{client_port(server)}: red \\\\x1b[31m"' in log.replace("\\x1b", "\\\\x1b")
    assert log.count('logged source="antiphon.program"') == SAID_MOST + 1


def test_more_programs_than_the_limit_are_refused(served: Served, tokens: list[bytes]) -> None:
    with served("cat", exec_most=1, exec_pause=0) as server, server.session(tokens[0]) as first:
        assert ask(first, "here") == "here"
        with server.session(tokens[1]) as second:
            bye = second.body()
            assert bye == ServerBye(reason="closed", text="Too many programs are running now; try again later.")
        assert ask(first, "still here") == "still here"


def test_programs_that_have_ended_do_not_count(served: Served, tokens: list[bytes]) -> None:
    with served("cat", exec_most=1, exec_pause=0) as server:
        with server.session(tokens[0]) as first:
            assert ask(first, "here") == "here"
            first.leave()
        program = server.read(lambda running: running._host.handlers.service.opened.__self__)  # type: ignore[attr-defined]
        while program._places.started:
            time.sleep(0.01)
        with server.session(tokens[1]) as second:
            assert ask(second, "there") == "there"


def test_a_program_is_ended_at_its_time_limit(served: Served, tokens: list[bytes]) -> None:
    with served("cat", exec_seconds=0.1) as server, server.session(tokens[0]) as client:
        assert client.body() == ServerBye(reason="closed", text="The program has run out of time.")


@pytest.mark.parametrize(
    "option", [{"exec_wait": 0}, {"exec_pause": -1}, {"exec_seconds": 0}, {"exec_memory": -1}, {"exec_most": 0}]
)
def test_a_limit_that_cannot_be_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(SettingInvalid) as refused:
        ProgramSettings(**option)
    assert next(iter(option)).replace("_", "-") in str(refused.value)


# --- programs that cannot be started ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("", "no program is named after exec:"),
        ("'' x", "no program is named after exec:"),
        ("sh -c 'echo", "its quotes do not match"),
        ("no-such-program -x", "there is no program “no-such-program” that this user may run"),
        ("./no-such-program", "there is no program “./no-such-program” that this user may run"),
        ("/dev/null", "there is no program “/dev/null” that this user may run"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_at_the_start(command: str, problem: str) -> None:
    with pytest.raises(ServiceNotLoaded) as refused:
        Program(command)
    assert refused.value.text() == f"“exec:{command}” cannot be loaded: {problem}."


def test_a_script_that_the_system_cannot_run_ends_the_session_and_is_told_in_the_log(
    served: Served, tokens: list[bytes], tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    with served(str(script)) as server, server.session(tokens[0]) as client:
        assert client.body() == ServerBye(reason="closed", text="The program has ended with exit code 127.")
        logged(server, "No such file or directory")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Check that no launcher outlives a test."""
    yield
    until_gone(*(pid for pid in descendants(os.getpid()) if "launch.py" in cmdline(pid)))


def cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
