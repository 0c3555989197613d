"""Tests of docs/ping.md: options, fields of the JSON, exit codes, and the output that it shows."""

import re
from dataclasses import fields, replace
from pathlib import Path

import msgspec

from antiphon.errors import AntiphonError, every_error
from antiphon.ping.result import Lost, Result, Target, Times
from antiphon.settings import PingSettings
from support.documents import blocks, read, table
from support.processes import PASSWORD, run_antiphon
from support.serving import seed, serving

TEXT = read("docs/ping.md")


def test_every_option_is_described() -> None:
    rows = table(TEXT, "option", "default", "what it is for")
    named = {option: default for option, default, _ in rows}
    assert set(named) == {"--" + each.name.replace("_", "-") for each in fields(PingSettings)}
    for each in fields(PingSettings):
        if isinstance(each.default, int | str) and not isinstance(each.default, bool):
            assert named["--" + each.name.replace("_", "-")] == str(each.default)


def test_every_field_of_the_figures_is_described_in_order() -> None:
    rows = {row[0]: row[1] for row in table(TEXT, "field", "what it holds")}
    assert list(rows) == [each.name for each in msgspec.structs.fields(Result)]
    for field, kind in (("target", Target), ("latency", Times), ("outages", Lost)):
        words = set(re.findall(r"\b[a-z_]+\b", rows[field]))
        assert {each.name for each in msgspec.structs.fields(kind)} <= words


def test_every_exit_code_is_described() -> None:
    codes = {code for code, _ in table(TEXT, "exit code", "of antiphon ping")}
    ends: set[type[AntiphonError]] = set(every_error())
    assert codes == {str(error.exit_code) for error in ends} | {"0", "130"}


def test_the_transcript_is_what_the_command_says(tmp_path: Path) -> None:
    shown = next(block.text for block in blocks(TEXT) if block.language == "text")
    seed(tmp_path / "data")
    with serving(tmp_path / "data") as server:
        address = str(replace(server.address, name="ann"))
        done = run_antiphon(
            "ping", address, "--count", "3", "--interval", "0.01", home=tmp_path, ANTIPHON_PASSWORD=PASSWORD
        )
    assert done.returncode == 0, done.stderr
    assert lasting(done.stdout) == lasting(shown.partition("\n")[2])


def lasting(text: str) -> list[list[str]]:
    """Return the words of each line, without the parts that differ from run to run."""
    text = re.sub(r"sha256:[\w-]{43}", "KEY", text)
    text = re.sub(r"tls://[\w.]+:\d+", "ADDRESS", text)
    text = re.sub(r"[\d.]+ (µs|ms|s)\b", "TIME", text)
    return [re.sub(r"(a second:) [\d.]*\d", r"\1 N", line).split() for line in text.splitlines()]
