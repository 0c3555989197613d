"""Tests of options from the environment and from a TOML file, and of their precedence."""

from pathlib import Path

import pytest

from support.processes import run_antiphon


def refused_port(home: Path, *options: str, **environment: str) -> str:
    """Return the port to which `connect` failed to connect: it shows which source of options won."""
    done = run_antiphon("connect", *options, home=home, timeout=60, **environment)
    assert done.returncode == 3, done.stderr
    return done.stderr.partition("://localhost:")[2].partition(":")[0]


def test_flags_win_over_variables_and_variables_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "antiphon.toml"
    config.write_text('[connect]\naddress = "ann@localhost:1"\n')
    file = ("--config", str(config))
    assert refused_port(tmp_path, *file) == "1"
    assert refused_port(tmp_path, *file, ANTIPHON_ADDRESS="ann@localhost:2") == "2"
    assert refused_port(tmp_path, "ann@localhost:3", *file, ANTIPHON_ADDRESS="ann@localhost:2") == "3"


def test_the_file_may_be_named_by_a_variable_or_lie_in_its_place(tmp_path: Path) -> None:
    config = tmp_path / ".config" / "antiphon" / "antiphon.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[connect]\naddress = "ann@localhost:1"\n')
    other = tmp_path / "other.toml"
    other.write_text('[connect]\naddress = "ann@localhost:2"\n')
    assert refused_port(tmp_path) == "1"
    assert refused_port(tmp_path, ANTIPHON_CONFIG=str(other)) == "2"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file or directory"),
        (b"[serve", "Expected ']'"),
        (b"\xff", "utf-8"),
        (b"[serve]\nprot = 1\n", 'Unknown option: "[prot]" from'),
        (b'[serve]\nport = "letters"\n', 'unable to convert "letters" into int'),
        (b"[serve]\nport = 70000\n", "--port: must be from 0 to 65535, not 70000"),
        (b"[sevre]\nport = 1\n", "there is no command “sevre”."),
        (b"port = 1\n", "there is no command “port”."),
        (b"serve = 1\n", "must be a mapping"),
    ],
    ids=["missing", "no-toml", "not-utf-8", "key", "type", "range", "table", "no-table", "no-mapping"],
)
def test_a_file_that_does_not_fit_is_named_with_what_is_wrong(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    config = tmp_path / "antiphon.toml"
    if content is not None:
        config.write_bytes(content)
    done = run_antiphon("serve", "--config", config, "--data", tmp_path / "d", home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "antiphon.toml" in done.stderr or told.startswith("--port")
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_is_not_there_is_no_fault_unless_it_was_named(tmp_path: Path) -> None:
    assert refused_port(tmp_path, "ann@localhost:1") == "1"


def test_help_is_there_whatever_the_file_holds(tmp_path: Path) -> None:
    done = run_antiphon("serve", "--help", home=tmp_path, ANTIPHON_CONFIG=str(tmp_path / "missing.toml"))
    assert done.returncode == 0
    assert "--port" in done.stdout


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    done = run_antiphon("serve", home=tmp_path, ANTIPHON_LOG_LEVEL="loud")
    assert done.returncode == 2
    assert 'Invalid value "loud" for ANTIPHON_LOG_LEVEL' in done.stderr
