"""Tests of `antiphon config show`: every option of a command with its value, and what has set it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.processes import PASSWORD, run_antiphon


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text('[serve]\nmessage-limit = 2048\nplain = true\n[accounts.list]\ndata = "~/people"\n', "utf-8")
    return path


def shown(home: Path, *words: str | Path, **environment: Any) -> dict[str, tuple[str, str]]:
    done = run_antiphon("config", "show", *words, home=home, **environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {option: (value, by) for option, value, by in rows}


def test_each_option_is_shown_with_what_has_set_it(tmp_path: Path, file: Path) -> None:
    told = shown(
        tmp_path, "--config", file, "serve", "chat", "--strict-port", ANTIPHON_PORT="99", ANTIPHON_LOG="~/l"
    )
    assert told["--service"] == ("chat", "argument")
    assert told["--strict-port"] == ("yes", "flag")
    assert told["--port"] == ("99", "variable ANTIPHON_PORT")
    assert told["--log"] == (f"{tmp_path}/l", "variable ANTIPHON_LOG")
    assert told["--message-limit"] == ("2048", f"{file} [serve]")
    assert told["--plain"] == ("yes", f"{file} [serve]")
    assert told["--access"] == ("authenticate", "default")
    assert told["--data"] == ("-", "default")
    help_ = run_antiphon("serve", "--help", home=tmp_path).stdout
    offered = set(re.findall(r"^│ (?:SERVICE )?(--[a-z-]+)", help_, re.MULTILINE))
    assert set(told) == offered


def test_json_has_values_with_their_types_wherever_it_is_asked_for(tmp_path: Path, file: Path) -> None:
    for words in (["--json", "accounts", "list"], ["accounts", "list", "--json"]):
        done = run_antiphon("config", "show", *words, home=tmp_path, ANTIPHON_CONFIG=str(file))
        (data,) = (row for row in json.loads(done.stdout) if row["option"] == "--data")
        assert data == {
            "option": "--data",
            "value": f"{tmp_path}/people",
            "source": "file",
            "name": str(file),
            "table": "accounts.list",
        }
    done = run_antiphon("config", "show", "--json", "ping", "--fail-over", "max=1s", "--count", "3", home=tmp_path)
    values = {row["option"]: (row["value"], row["source"]) for row in json.loads(done.stdout)}
    assert values["--fail-over"] == (["max=1s"], "flag")
    assert values["--count"] == (3, "flag")
    assert values["--depth"] == (None, "default")


def test_what_a_command_must_be_given_need_not_be_given_to_look(tmp_path: Path) -> None:
    assert shown(tmp_path, "accounts", "show", "--store", "sqlite") == shown(
        tmp_path, "accounts", "show", "--store=sqlite"
    )
    assert shown(tmp_path, "accounts", "show", "--store", "sqlite")["--store"] == ("sqlite", "flag")


def test_no_secret_is_shown(tmp_path: Path) -> None:
    secrets: dict[str, Any] = dict.fromkeys(
        ("ANTIPHON_PASSWORD", "ANTIPHON_NEW_PASSWORD", "ANTIPHON_INVITATION"), PASSWORD
    )
    assert PASSWORD not in str(shown(tmp_path, "connect", **secrets))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Name one command, as in antiphon config show serve."),
        (["accounts"], "Name one command, as in antiphon config show serve."),
        (["acounts"], 'antiphon: Unknown command "acounts".'),
        (["serve", "--prot", "1"], "antiphon: Unknown option: --prot. Did you mean --port?"),
        (["serve", "--port", "70000"], "--port: must be from 0 to 65535, not 70000"),
    ],
)
def test_what_the_command_would_refuse_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    done = run_antiphon("config", "show", *words, home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
