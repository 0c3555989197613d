"""Tests of the line loop on a real terminal: lines, answers, history, and every way to leave."""

from pathlib import Path
from typing import Any

import pexpect
import pytest

from support.processes import ANTIPHON, PASSWORD, ServerProcess
from support.serving import seed
from support.terminal import CTRL_C, CTRL_D, UP, Terminal

ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}
PASTE = "\x1b[200~{}\x1b[201~"
"""The marks with which a terminal encloses pasted text."""


@pytest.fixture
def ann(server: ServerProcess, tmp_path: Path) -> Terminal:
    """Return ann's terminal after her sign-in."""
    terminal = Terminal("connect", str(server.address), home=tmp_path, **ANN)
    terminal.shows("exit leaves.")
    return terminal


def test_lines_come_back_as_they_were_typed(ann: Terminal) -> None:
    with ann:
        for line in ("hello", "Привет, мир", "🙂🎉", "", "  spaces  ", "exit now"):
            ann.says("ann>", line)


@pytest.mark.parametrize("keys", ["exit\r", CTRL_D])
def test_exit_and_the_end_of_input_leave_politely(server: ServerProcess, ann: Terminal, keys: str) -> None:
    ended = server.log.count("session-ended")
    with ann:
        ann.says("ann>", "hello")
        ann.asks("ann>")
        ann.press(keys)
        ann.shows("You have left.")
        assert ann.ends() == 0
    server.logged("session-ended", ended + 1)


def test_two_slashes_say_the_word_that_leaves(ann: Terminal) -> None:
    with ann:
        ann.says("ann>", "//exit", "exit")
        ann.asks("ann>")


def test_the_terminal_is_as_it_was_after_an_interrupt(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal("--norc", "--noprofile", "-i", home=tmp_path, command="/bin/bash", **ANN) as shell:
        shell.enter(f"stty -g >{tmp_path}/before; '{ANTIPHON}' connect '{server.address}'; echo code=$?")
        shell.says("ann>", "hello")
        shell.asks("ann>")
        shell.press(CTRL_C)
        shell.shows("You have left.", "code=130\r\n")
        shell.enter(f"stty -g >{tmp_path}/after; echo finis''hed")
        shell.shows("finished")
        assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()
        assert "Traceback" not in shell.raw


def test_an_interrupt_clears_a_half_typed_line_first(server: ServerProcess, ann: Terminal) -> None:
    with ann:
        ann.asks("ann>")
        ann.press("half a line")
        ann.shows("half a line")
        ann.press(CTRL_C + "another\r")
        ann.shows("\nanother\r\n")
        ann.asks("ann>")
        ann.press(CTRL_C)
        ann.shows("You have left.")
        assert ann.ends() == 130


def test_help_names_what_the_prompt_understands_and_asks_the_service_too(ann: Terminal) -> None:
    with ann:
        ann.answer("ann>", "/help")
        told = ann.shows("\n/help\r\n")  # what echo says to it
        words = [line.split("  ")[1] for line in told.splitlines() if line.startswith("  ")]
        assert words == ["exit", "/help", "/password", "/end-others", "/spoil TEXT", "//exit", "Ctrl-C"]
        ann.says("ann>", "//help", "/help")
        assert ann.screen.count("/spoil TEXT") == 1


def test_the_first_line_mentions_the_help(ann: Terminal) -> None:
    with ann:
        ann.shows(" /help shows what else there is.")


def test_an_interrupt_leaves_the_session(server: ServerProcess, ann: Terminal) -> None:
    ended = server.log.count("session-ended")
    with ann:
        ann.asks("ann>")
        ann.press(CTRL_C)
        assert ann.ends() == 130
    server.logged("session-ended", ended + 1)


def test_a_server_that_stops_is_told_of_at_once(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with (
        ServerProcess(tmp_path / "data") as server,
        Terminal("connect", str(server.address), "--give-up", "0", home=tmp_path, **ANN) as terminal,
    ):
        terminal.says("ann>", "hello")
        terminal.asks("ann>")
        terminal.press("half a line")
        assert server.stop() == 0
        terminal.shows("The server is stopping. Connect again in a moment.")  # without Enter
        assert terminal.ends() == 3


def test_a_server_that_is_killed_is_told_of_at_once(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with (
        ServerProcess(tmp_path / "data") as server,
        Terminal("connect", str(server.address), "--give-up", "0", home=tmp_path, **ANN) as terminal,
    ):
        terminal.says("ann>", "hello")
        terminal.asks("ann>")
        server.kill()
        terminal.shows("The connection to ", " broke.")
        assert terminal.ends() == 3


def test_a_lost_link_is_told_and_comes_back_without_a_word_lost(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with ServerProcess(tmp_path / "data") as server:
        address = server.address
        with Terminal("connect", str(address), home=tmp_path, **ANN) as terminal:
            terminal.says("ann>", "hello")
            terminal.asks("ann>")
            assert server.stop() == 0
            terminal.shows("The connection is lost; trying again.")
            with ServerProcess(tmp_path / "data", port=str(address.port)):
                terminal.shows("Back after ")
                terminal.says("ann>", "again")
                terminal.answer("ann>", "exit")
                assert terminal.ends() == 0


def test_arrow_up_brings_back_the_last_line(ann: Terminal) -> None:
    with ann:
        ann.says("ann>", "first")
        ann.says("ann>", "second")
        ann.asks("ann>")
        ann.press(UP)
        ann.shows("second")
        ann.press(UP)
        ann.shows("first")
        ann.enter(" again")
        ann.shows("\nfirst again\r\n")


def test_the_password_is_not_in_the_history(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal("connect", str(server.address), home=tmp_path) as terminal:
        terminal.answer("Name", "ann")
        terminal.answer("Password:", PASSWORD)
        terminal.asks("ann>")
        terminal.press(UP)
        terminal.enter("typed after it")
        terminal.shows("\ntyped after it\r\n")
        assert PASSWORD not in terminal.screen


def test_what_a_terminal_would_obey_comes_back_escaped(ann: Terminal) -> None:
    with ann:
        ann.says("ann>", PASTE.format("\x1b[31mred\x1b]0;title\x07"), "\\x1b[31mred\\x1b]0;title\\x07")
        ann.says("ann>", PASTE.format("a\u202eb"), "a\\u202eb")
        ann.asks("ann>")
        assert "\x1b[31m" not in ann.raw
        assert "\x1b]0;" not in ann.raw


def test_keys_that_mean_nothing_do_no_harm(ann: Terminal) -> None:
    with ann:
        ann.asks("ann>")
        ann.press("\x1b[31M")  # a broken mouse report; data in the same read is lost
        for _ in range(5):
            ann.enter("hello")
            if ann.pexpect.expect_exact(["\nhello\r\n", pexpect.TIMEOUT], timeout=2) == 0:
                break
        else:
            pytest.fail("nothing can be typed any more")
        assert "Traceback" not in ann.raw
        assert "Exception" not in ann.raw


def test_a_message_over_the_limit_is_refused_and_the_conversation_goes_on(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with (
        ServerProcess(tmp_path / "data", "--message-limit", "1024") as server,
        Terminal("connect", str(server.address), home=tmp_path, **ANN) as terminal,
    ):
        terminal.answer("ann>", PASTE.format("x" * 1025))
        terminal.shows("A message of 1025 bytes is too large: 1024 are allowed.")
        terminal.says("ann>", "hello")


def test_answers_go_into_a_file_when_standard_output_is_one(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal("--norc", "--noprofile", "-i", home=tmp_path, command="/bin/bash", **ANN) as shell:
        shell.enter(f"'{ANTIPHON}' connect '{server.address}' >{tmp_path}/answers; echo code=$?")
        shell.shows("Welcome")
        shell.enter("hello")
        shell.enter("exit")
        shell.shows("code=0\r\n")
    assert (tmp_path / "answers").read_text() == "hello\n"


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_errors_are_red_unless_colour_is_not_wanted(tmp_path: Path, *, no_color: str, coloured: bool) -> None:
    with Terminal("connect", "localhost:1", home=tmp_path, NO_COLOR=no_color) as terminal:
        assert terminal.ends() == 3
        assert ("\x1b[31m" in terminal.raw) == coloured
        assert "Nobody answers at tls://localhost:1: nothing listens there." in terminal.screen


def test_the_terminal_of_a_russian_speaks_russian(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal("connect", f"localhost:{server.address.port}", home=tmp_path, LANG="ru_RU.UTF-8") as terminal:
        terminal.answer("[д/Н]:", "д")
        terminal.answer("Имя", "ann")
        terminal.answer("Пароль:", "неверный пароль!")
        terminal.shows("Неверное имя или пароль.")
        terminal.answer("Пароль:", PASSWORD)
        terminal.matches("ann!")  # the server sends the greeting in the client's language
        terminal.answer("ann>", "exit")
        terminal.shows("Вы вышли.")
        assert terminal.ends() == 0
        assert "Welcome" not in terminal.screen


def test_a_background_client_is_not_stopped_by_its_questions(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal("--norc", "--noprofile", "-i", home=tmp_path, command="/bin/bash") as shell:
        shell.enter(f"'{ANTIPHON}' connect '{server.address}' & wait $!; echo code=$?")
        shell.shows("The name is missing, and there is no terminal to ask at.", "code=2")
