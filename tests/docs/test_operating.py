"""Tests of the pages of the operator against the code: options, files, log, configuration file, signals."""

import ast
import re
import signal
import stat
import time
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from antiphon.cli.common_options import CommonOptions, TalkOptions
from antiphon.errors import Fault
from antiphon.server.signals import REPEAT_SECONDS
from antiphon.settings import ClientSettings, PingSettings, ProgramSettings, ServerSettings
from antiphon.store.files.account_rows import ACCOUNTS
from antiphon.wire.bodies import ServerBye
from support.documents import DOCUMENTS, ROOT, blocks, commands, read, section, table
from support.log_records import banned
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.raw import RawClient

TEXT = read("docs/operating.md")
ACCOUNTS_TEXT = read("docs/accounts.md")
DATA_TEXT = read("docs/data.md")
MONITORING_TEXT = read("docs/monitoring.md")
OF_OTHERS = {"--create", "--stop-timeout", "--upgrade"}
"""Options of other programs that the documents name."""
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}


def flags(
    settings: type[ServerSettings | ProgramSettings | ClientSettings | PingSettings | CommonOptions],
) -> list[str]:
    return ["--" + each.name.replace("_", "-") for each in fields(settings)]


@pytest.mark.parametrize(
    ("settings", "document"), [(ServerSettings, "docs/operating.md"), (ProgramSettings, "docs/programs.md")]
)
def test_every_option_of_the_server_is_described_with_its_default(
    settings: type[ServerSettings | ProgramSettings], document: str
) -> None:
    rows = table(read(document), "option", "default", "what it is for")
    assert [option for option, _, _ in rows] == flags(settings)
    for (option, default, _), each in zip(rows, fields(settings), strict=True):
        if each.default is not None:
            value = "no" if each.default is False else str(each.default)
            assert default == value.removesuffix(".0"), option


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_option_that_a_document_names_exists(document: Path) -> None:
    known = {
        *flags(ServerSettings),
        *flags(ProgramSettings),
        *flags(ClientSettings),
        *flags(PingSettings),
        *flags(TalkOptions),
        "--json",
        "--compare",
        "--reload",
        "--workers",
        "--check",
        "--help",
        "--account",
        "--from",
        "--for",
        "--public-address",
        "--all",
        "--names",
        "--dry-run",
        "--skip-broken",
        "--scheme",
        "--separator",
        "--columns",
        "--names-only",
        "--format",
        "--secrets",
        "--watch",
        "--pid",
        "--keys",
        "--without-keys",
        "--force",
        *OF_OTHERS,
        "--remove",
    }
    named = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", document.read_text("utf-8")))
    assert named <= known


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "serve",
            [
                *flags(ServerSettings),
                *flags(ProgramSettings),
                *flags(CommonOptions),
                "--json",
                "--reload",
                "--workers",
                "--check",
            ],
        ),
        ("connect", [*flags(ClientSettings), *flags(TalkOptions)]),
        ("ping", [*flags(PingSettings), *flags(ClientSettings), *flags(CommonOptions), "--compare"]),
        ("demo", ["--data", "--name", "--password-file", "--explain", *flags(TalkOptions)]),
        (
            "accounts add",
            [
                "--password-file",
                "--password-minimum",
                "--data",
                "--store",
                "--log",
                "--json",
                *flags(CommonOptions),
            ],
        ),
        ("accounts list", ["--data", "--json", *flags(CommonOptions)]),
        (
            "accounts import",
            [
                *("--names", "--scheme", "--separator", "--columns", "--names-only", "--dry-run", "--skip-broken"),
                *("--data", "--log", "--json", *flags(CommonOptions)),
            ],
        ),
        ("accounts export", ["--format", "--secrets", "--data", "--log", "--json", *flags(CommonOptions)]),
        ("backup", ["--keys", "--without-keys", "--force", "--data", "--log", "--json", *flags(CommonOptions)]),
        ("restore", ["--keys", "--data", "--store", "--log", "--json", *flags(CommonOptions)]),
        ("accounts password", ["--data", "--log", "--json", *flags(CommonOptions)]),
        ("schema", [*flags(CommonOptions)]),
        ("invite", ["--from", "--for", "--public-address", "--data", "--log", "--json", *flags(CommonOptions)]),
        ("sessions revoke", ["--account", "--all", "--data", "--log", "--json", *flags(CommonOptions)]),
    ],
)
def test_help_tells_of_every_option_of_a_command(command: str, options: list[str], tmp_path: Path) -> None:
    told = run_antiphon(*command.split(), "--help", home=tmp_path, COLUMNS="100")
    assert told.returncode == 0
    assert set(options) <= set(re.findall(r"--[a-z]+(?:-[a-z]+)*", told.stdout))


def test_help_tells_of_every_command_and_where_options_come_from(tmp_path: Path) -> None:
    told = run_antiphon("--help", home=tmp_path).stdout
    commands = {
        "serve",
        "connect",
        "ping",
        "demo",
        "backup",
        "restore",
        "schema",
        "accounts",
        "sessions",
        "invite",
        "invitations",
        "known-servers",
    }
    assert commands <= set(told.split())
    assert "ANTIPHON_PORT" in told
    assert "TOML" in told


def test_the_configuration_file_is_one_that_the_commands_take(tmp_path: Path) -> None:
    (block,) = (block for block in blocks(TEXT) if block.language == "toml")
    assert tomllib.loads(block.text)
    path = tmp_path / "antiphon.toml"
    path.write_text(block.text, "utf-8")
    with ServerProcess(tmp_path / "data", "--config", str(path)) as server:
        assert server.start["registration"] == "closed"
        said = run_antiphon("connect", str(server.address), "--config", path, home=tmp_path)
        assert said.returncode == 2
        assert "password" in said.stderr  # the name came from the file


def test_every_file_of_the_data_folder_is_listed_with_its_mode(tmp_path: Path) -> None:
    rows = table(DATA_TEXT, "file", "mode", "what it holds", "in a backup")
    listed = {name: mode for name, mode, _, _ in rows}
    with ServerProcess(tmp_path / "data", port="7862") as server:  # only a port that was asked for is remembered
        assert run_antiphon("accounts", "rekey", "--data", server.folder, home=tmp_path).returncode == 0
        found = {path.name: f"{stat.S_IMODE(path.stat().st_mode):04o}" for path in server.folder.iterdir()}
        assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    beside = {name: mode for name, mode in found.items() if name.endswith(("-wal", "-shm"))}
    assert set(beside.values()) <= {"0600"}
    assert {name: mode for name, mode in found.items() if name not in beside} == listed


def test_every_file_of_the_store_of_files_is_listed_with_its_mode(tmp_path: Path) -> None:
    rows = table(DATA_TEXT, "file in DIR", "mode", "what it holds", "in a backup")
    with ServerProcess(tmp_path / "data", "--store", f"files:{tmp_path}/people"):
        pass
    run_antiphon(
        "accounts", "add", "ann", "--data", tmp_path / "data", "--store", f"files:{tmp_path}/people",
        "--password-file", "-", home=tmp_path, stdin=PASSWORD,
    )  # fmt: skip
    found = {path.name: f"{stat.S_IMODE(path.stat().st_mode):04o}" for path in (tmp_path / "people").iterdir()}
    assert {name: mode for name, mode, _, _ in rows} == found
    assert [
        column for column, _, _ in table(DATA_TEXT, "column of accounts.csv", "what stands there", "by hand")
    ] == list(ACCOUNTS.columns)


def test_the_start_as_JSON_has_the_fields_that_are_listed(tmp_path: Path) -> None:  # noqa: N802 - its name
    with ServerProcess(tmp_path / "data") as server:
        sentence = re.search(r"one line of JSON:(.*?)\.\n", TEXT, re.DOTALL)
        assert sentence is not None
        assert set(re.findall(r"`(\w+)`", sentence[1])) == set(server.start)


def test_every_event_of_the_log_is_listed_with_level_and_fields() -> None:
    rows = table(MONITORING_TEXT, "event", "level", "fields", "what happened")
    listed = {(event, level, kept) for event, levels, kept, _ in rows for level in levels.split(", ")}
    logged = {("logged", level, "source, message, exception") for level in ("debug", "info", "warning", "error")}
    assert listed == set(events()) | logged | {("records-dropped", "warning", "count")}


def events() -> Iterator[tuple[str, str, str]]:
    """Yield the event, level and fields of every call that logs."""
    trees = [ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "src" / "antiphon").rglob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    named: dict[str, set[str]] = {"self._end_event": set(), "event": set()}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value:
            named.get(ast.unparse(node.targets[0]), set()).add(str(node.value.value))
    for call in calls:
        if ast.unparse(call.func).endswith(".lose"):
            named["self._end_event"].add(str(ast.literal_eval(call.args[0])))
        elif ast.unparse(call.func).endswith(".log_size"):
            named["event"].add(str(ast.literal_eval(call.args[0])))
    for call in calls:
        function, arguments, keywords = call.func, call.args, call.keywords
        if ast.unparse(function).endswith(".callback") and ast.unparse(arguments[0]).startswith("log."):
            function, *arguments = arguments  # called with the remaining bytes at the end
        if not (isinstance(function, ast.Attribute) and function.attr in LEVELS and arguments):
            continue
        logger = ast.unparse(function.value).rpartition(".")[2]
        if ast.unparse(function.value) == "_log" or logger.lstrip("_") not in ("log", "repeats"):
            continue
        kept = [str(keyword.arg) for keyword in keywords] + ["repeated"] * (logger == "repeats")
        if function.attr == "exception":
            kept.append("exception")
        first = arguments[0]
        names = {str(first.value)} if isinstance(first, ast.Constant) else named[ast.unparse(first)]
        yield from ((name, LEVELS[function.attr], ", ".join(kept)) for name in names)


def test_the_examples_of_the_log_are_events_that_are_listed() -> None:
    rows = {
        (event, level)
        for event, level, _, _ in table(MONITORING_TEXT, "event", "level", "fields", "what happened")
    }
    example = next(block for block in blocks(section(MONITORING_TEXT, "## The log")) if block.language == "text")
    shown = {(words[2], words[1]) for line in example.text.splitlines() if (words := line.split())}
    assert shown
    assert shown <= rows


def test_fail2ban_finds_the_address_of_a_refused_sign_in(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        refused = run_antiphon(
            "connect", str(server.address), "--name", "nobody", home=tmp_path, ANTIPHON_PASSWORD=PASSWORD
        )
    assert refused.returncode == 4
    found = banned(server.log)
    assert found
    assert set(found.values()) <= {"127.0.0.1", "::1"}


def test_the_exit_codes_of_a_stopped_server(tmp_path: Path) -> None:
    codes = {int(code) for code, _ in table(TEXT, "exit code", "of antiphon serve")}
    stopped = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        with ServerProcess(tmp_path / f"data{number}") as server:
            server.signal(number)
            stopped[number] = server.wait()
    assert stopped == {signal.SIGTERM: 0, signal.SIGINT: 130}
    failed = run_antiphon("serve", "--port", "99999", home=tmp_path)
    impatient = stopped_by_two_signals(tmp_path)
    assert failed.returncode == 2
    assert codes == {*stopped.values(), failed.returncode, impatient, Fault.exit_code}


def stopped_by_two_signals(folder: Path) -> int:
    """Return the exit code of a server that gets a second stop signal while it waits for a client."""
    with ServerProcess(folder / "impatient") as server, RawClient(server.address) as client:
        client.sign_in("ann", PASSWORD, new=True)
        server.signal(signal.SIGTERM)
        assert client.body() == ServerBye(reason="drained")
        time.sleep(REPEAT_SECONDS + 0.1)  # before that, a second one is the first one sent twice
        server.signal(signal.SIGTERM)
        return server.wait()


def test_nothing_more_is_said_on_standard_output(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        talked = run_antiphon(
            "connect",
            str(server.address),
            "--name",
            "ann",
            "--register",
            home=tmp_path,
            stdin="hello\n",
            ANTIPHON_PASSWORD=PASSWORD,
        )
        assert talked.stdout == "hello\n"
        server.signal(signal.SIGTERM)
        server.wait()
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""


def test_the_recipe_for_a_class_is_the_same_in_russian() -> None:
    (english,) = (
        commands(block) for block in blocks(ACCOUNTS_TEXT) if "clients.csv --data ./school" in block.text
    )
    (russian,) = (commands(block) for block in blocks(read("docs/class.ru.md")))
    assert [line for line in russian if line] == [line for line in english if line]
