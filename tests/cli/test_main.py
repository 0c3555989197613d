"""Tests of the whole command: help, version, wrong commands, locales, and that nobody ever sees a traceback."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.cli.main import app
from antiphon.settings import ClientSettings, PingSettings, ProgramSettings, ServerSettings
from support.processes import ANTIPHON, ServerProcess, clean_environment, run_antiphon

COMMANDS = [name for name in app if not name.startswith("-")]
COMMON = {"lang", "config", "no-input"}


def options_of(settings: type) -> set[str]:
    return {field.name.replace("_", "-") for field in dataclasses.fields(settings)}


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("serve", options_of(ServerSettings) | {"json", "check"}),
        ("connect", options_of(ClientSettings) | {"verbose"}),
        ("ping", options_of(ClientSettings) | options_of(PingSettings) | {"compare"}),
        ("demo", {"data", "name", "password-file", "explain", "verbose"}),
    ],
)
def test_help_names_every_option_and_has_examples_in_english(
    tmp_path: Path, command: str, options: set[str]
) -> None:
    done = run_antiphon(command, "--help", home=tmp_path, LANG="ru_RU.UTF-8")
    assert done.returncode == 0, done.stderr
    for option in options | COMMON:
        assert re.search(rf"--{option}\b", done.stdout), option
    assert re.search(rf"For example:\n    antiphon {command}\n", done.stdout)
    assert not re.search("[А-я]", done.stdout)


@pytest.mark.parametrize("command", [["serve"], ["ping"], ["accounts", "list"], ["sessions", "list"], ["invite"]])
def test_a_command_that_tells_no_sizes_does_not_offer_to(tmp_path: Path, command: list[str]) -> None:
    done = run_antiphon(*command, "-v", home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "-v" in done.stderr


def test_help_of_the_whole_names_each_command_once(tmp_path: Path) -> None:
    for arguments in ([], ["--help"]):
        done = run_antiphon(*arguments, home=tmp_path)
        assert done.returncode == 0
        for command in COMMANDS:
            assert len(re.findall(rf"^{command}  +[a-z]", done.stdout, re.MULTILINE)) == 1, command
            assert not re.search(rf"^│ {command}\b", done.stdout, re.MULTILINE), command


def test_help_says_what_each_command_of_a_group_does(capsys: pytest.CaptureFixture[str]) -> None:
    app.help_print([])
    whole = capsys.readouterr().out
    groups = [name for name in COMMANDS if app[name].default_command is None]
    assert "accounts" in groups
    for group in groups:
        app.help_print([group])
        described = re.findall(r"^│ ([a-z]+)  +[A-Z]", capsys.readouterr().out, re.MULTILINE)
        assert set(described) == {name for name in app[group] if not name.startswith("-")}, group
        (listed,) = re.findall(rf"^{group}  +[^:]*:\s+((?:[a-z]+,\s+)*[a-z]+)$", whole, re.MULTILINE)
        assert set(re.split(r",\s+", listed)) == set(described)


def test_help_of_serve_shows_what_most_need_first_and_the_others_in_groups(tmp_path: Path) -> None:
    text = run_antiphon("serve", "--help", home=tmp_path).stdout
    _, *panels = re.split("^╭─ (.*?) ─+╮$", text, flags=re.MULTILINE)
    shown = {
        title: re.findall(r"^│ (?:SERVICE )?--([a-z-]+)", panel, re.MULTILINE)
        for title, panel in zip(panels[::2], panels[1::2], strict=True)
    }
    assert list(shown) == [
        "Parameters", "Limits", "Timing", "Options of exec:COMMAND", "Workers", "Balancer and nodes",
    ]  # fmt: skip
    assert shown["Parameters"][:3] == ["service", "host", "port"]
    assert {"no-input", "config", "check"} <= set(shown["Parameters"])
    assert "entry-most" in shown["Limits"]
    seconds = {option for option in options_of(ServerSettings) if option.endswith("-seconds")}
    assert seconds <= set(shown["Timing"])
    assert set(shown["Options of exec:COMMAND"]) == options_of(ProgramSettings)
    assert shown["Workers"] == ["workers"]
    assert set(shown["Balancer and nodes"]) == {"proxy-from", "relay-address"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serv"], 'antiphon: Unknown command "serv". Did you mean "serve"?'),
        (["serve", "--prot", "1"], "antiphon: Unknown option: --prot. Did you mean --port?"),
        (["connect", "--lang", "tlh"], 'antiphon: Invalid value "tlh" for --lang.'),
        (["connect", "ann:secret@host"], "“ann:…” is not an address: a password does not belong in it."),
        (["connect", "host:letters"], "“letters” is not a port."),
        (["connect", "host", "--timeout", "0"], "--timeout: must be more than 0"),
        (["connect", "host", "--timeout", "nan"], "--timeout: must be more than 0"),
        (["connect", "host", "name", "x\x1b[2J"], r"antiphon: Too many arguments: name x\x1b[2J. Try --help."),
        (["connect", "host", "--name"], "antiphon: --name needs a value. Try --help."),
        (["schema"], "antiphon: SERVICE is missing. Try --help."),
        (["accounts", "show"], "antiphon: ACCOUNT is missing. Try --help."),
        (["accounts", "show", "--lang", "ru"], "antiphon: Не хватает аргумента ACCOUNT."),
        (["serve", "\x1b[2J"], r"“\x1b[2J” cannot be loaded: "),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = run_antiphon(*arguments, home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr


def test_an_interrupt_while_the_program_is_loaded_is_no_traceback(tmp_path: Path) -> None:
    interrupted = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'antiphon.terminal.console':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder)\n"
        "from antiphon.__main__ import run\n"
        "run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", interrupted],
        env=clean_environment(tmp_path),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_fault_of_the_program_is_one_sentence_and_its_trace_a_file(tmp_path: Path) -> None:
    broken = "import antiphon.cli.main as m; m.app = 1; m.sys.argv = ['antiphon', 'serve']; m.run()"
    done = subprocess.run(
        [sys.executable, "-c", broken],
        env=clean_environment(tmp_path, TMPDIR=str(tmp_path)),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    kept = re.fullmatch(
        r"This program has failed, and it is not your fault\. The details are in (\S+); "
        r"please send that file to the authors\.\n",
        done.stderr,
    )
    assert kept, done.stderr
    assert Path(kept[1]).parent == tmp_path
    assert "Traceback" in Path(kept[1]).read_text()


@pytest.mark.parametrize(
    "locale",
    [
        {"LANG": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=["C", "POSIX", "ASCII", "latin-1"],
)
def test_cyrillic_survives_every_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    with ServerProcess(tmp_path / "d", **locale) as server:
        done = subprocess.run(
            [
                ANTIPHON,
                "connect",
                str(server.address).replace("://", "://%D0%90%D0%BD%D1%8F@"),
                "--register",
                "--lang=ru",
            ],
            input="привет\n".encode(),
            env=clean_environment(tmp_path, ANTIPHON_PASSWORD="correct horse battery", **locale),
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout.decode()) == (0, "привет\n"), done.stderr
    assert "Добро пожаловать, Аня!" in done.stderr.decode()


def test_the_language_is_asked_for_or_the_locales(tmp_path: Path) -> None:
    russian = "По адресу tls://localhost:1 никто не отвечает: "
    english = "Nobody answers at tls://localhost:1: "
    for arguments, language, expected in (
        ([], "ru_RU.UTF-8", russian),
        (["--lang", "ru"], "en_US.UTF-8", russian),
        (["--lang=en"], "ru_RU.UTF-8", english),
        ([], "de_DE.UTF-8", english),
    ):
        done = run_antiphon("connect", "ann@localhost:1", *arguments, home=tmp_path, LANG=language)
        assert done.returncode == 3
        assert done.stderr.startswith(expected)


def test_the_greeting_is_in_the_clients_language(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "d", LANG="ru_RU.UTF-8") as server:
        for language, greeting in (("ru", "Добро пожаловать, ann!"), ("en", "Welcome back, ann!")):
            done = run_antiphon(
                "connect", str(server.address), "--register", "--lang", language,
                home=tmp_path, ANTIPHON_NAME="ann", ANTIPHON_PASSWORD="correct horse battery",
            )  # fmt: skip
            assert greeting in done.stderr
        assert not re.search("[А-я]", server.log)
