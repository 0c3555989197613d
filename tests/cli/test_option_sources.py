"""Tests of options from the environment and from a TOML file, and of their precedence."""

import pwd
from pathlib import Path
from typing import Any

import pytest

from antiphon.cli.main import main
from antiphon.cli.option_sources import clear_variables
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.serving import seed


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


# --- paths, empty and foreign variables ---------------------------------------------------------------------


@pytest.mark.parametrize("way", ["flag", "variable", "file"])
def test_a_path_may_begin_with_the_home_folder_wherever_it_is_given(tmp_path: Path, way: str) -> None:
    config = tmp_path / "antiphon.toml"
    config.write_bytes(b'\xef\xbb\xbf[accounts.list]\ndata = "~/data"\n')  # as editors of Windows write it
    given: dict[str, tuple[list[str], dict[str, Any]]] = {
        "flag": (["--data=~/data"], {}),
        "variable": ([], {"ANTIPHON_DATA": "~/data"}),
        "file": (["--config", "~/antiphon.toml"], {}),
    }
    options, environment = given[way]
    seed(tmp_path / "data")
    done = run_antiphon("accounts", "list", *options, home=tmp_path, **environment)
    assert (done.returncode, done.stdout.split("\t")[0]) == (0, "ann"), done.stderr
    assert not Path("~").exists()


def test_a_file_that_is_named_by_a_text_may_begin_with_it_too(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    (tmp_path / "secret.txt").write_bytes(b"\xef\xbb\xbf" + PASSWORD.encode())
    with ServerProcess(tmp_path / "data") as server:
        done = run_antiphon(
            "connect",
            str(server.address),
            "--name=ann",
            "--password-file=~/secret.txt",
            home=tmp_path,
            stdin="x\n",
        )
        assert (done.returncode, done.stdout) == (0, "x\n"), done.stderr


def test_the_home_of_nobody_is_refused(tmp_path: Path) -> None:
    done = run_antiphon("accounts", "list", "--data", "~nobody-here/x", home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("~nobody-here/x cannot be used: there is no such home folder.")


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    seed(tmp_path / ".local" / "share" / "antiphon")
    empty: dict[str, Any] = {"ANTIPHON_DATA": "", "ANTIPHON_JSON": "", "ANTIPHON_PROT": ""}
    done = run_antiphon("accounts", "list", home=tmp_path, **empty)
    assert (done.returncode, done.stdout.split("\t")[0], done.stderr) == (0, "ann", "")
    assert cleared({"ANTIPHON_NAME": "", "ANTIPHON_PASSWORD": ""}) == {"ANTIPHON_PASSWORD": ""}


def test_the_variables_of_a_kubernetes_service_named_antiphon_are_not_ours(tmp_path: Path) -> None:
    environment: dict[str, Any] = {
        "ANTIPHON_PORT": "tcp://10.3.2.1:7862",
        "ANTIPHON_PORT_7862_TCP": "tcp://10.3.2.1:7862",
        "ANTIPHON_PORT_7862_TCP_ADDR": "10.3.2.1",
        "ANTIPHON_PORT_7862_TCP_PORT": "7862",
        "ANTIPHON_PORT_7862_TCP_PROTO": "tcp",
        "ANTIPHON_SERVICE_HOST": "10.3.2.1",
        "ANTIPHON_SERVICE_PORT": "7862",
        "ANTIPHON_SERVICE_PORT_TLS": "7862",
        "ANTIPHON_CHAT_SERVICE_HOST": "10.3.2.2",
        "ANTIPHON_CHAT_PORT": "udp://10.3.2.2:1",
    }
    kept = {"ANTIPHON_PORT": "9000", "ANTIPHON_SERVICE": "chat", "PORT": ""}
    assert cleared(environment | {"PATH": "/bin"}) == {"PATH": "/bin"}
    assert cleared(kept) == kept
    done = run_antiphon("accounts", "list", "--data", tmp_path, home=tmp_path, **environment)
    assert len(done.stderr.splitlines()) == 1
    with ServerProcess(tmp_path / "d", **environment) as server:
        assert server.stop() == 0


def cleared(environment: dict[str, str]) -> dict[str, str]:
    left = dict(environment)
    clear_variables(left)
    return left


def test_an_unknown_variable_is_told_with_the_nearest_known_one(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    others = {"ANTIPHON_HOST": "x", "ANTIPHON_COUNT": "3", "ANTIPHON_PASSWORD": "x"}
    environment: dict[str, Any] = {"ANTIPHON_PROT": "1", **others}
    done = run_antiphon("accounts", "list", "--data", tmp_path / "data", home=tmp_path, **environment)
    assert (done.returncode, done.stdout.split("\t")[0]) == (0, "ann")
    assert done.stderr == "No option is set by ANTIPHON_PROT. Did you mean ANTIPHON_PORT?\n"


# --- no home folder -----------------------------------------------------------------------------------------


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user without HOME and without a passwd entry, as a container may have it."""

    def nobody(_id: int) -> Any:
        raise KeyError

    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setattr(pwd, "getpwuid", nobody)


def test_without_a_home_folder_what_needs_none_works(
    homeless: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seed(tmp_path / "data")
    for command in (
        ["--help"],
        ["known-servers", "list"],
        ["accounts", "list", "--data", str(tmp_path / "data")],
    ):
        with pytest.raises(SystemExit, match="0"):
            main(command)
    out, errors = capfd.readouterr()
    assert out.splitlines()[-1].startswith("ann\t")
    assert errors == ""


@pytest.mark.parametrize("command", [["accounts", "list"], ["serve", "--no-input"], ["demo"], ["serve"]])
def test_without_a_home_folder_the_folder_has_to_be_named(
    homeless: None, command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    assert capfd.readouterr().err == "This user has no home folder: name a folder with --data.\n"


@pytest.mark.parametrize(
    ("words", "variable", "line", "form"),
    [
        (["--explain", "{address}"], "", "", "yes"),
        (["{address}", "--explain=short"], "", "", "short"),
        (["{address}"], "yes", "", "yes"),
        (["{address}"], "1", "", "yes"),
        (["{address}"], "short", "", "short"),
        (["{address}"], "", "explain = true", "yes"),
        (["{address}"], "", 'explain = "short"', "short"),
        (["{address}", "--no-explain"], "short", "explain = true", "no"),
        (["{address}"], "", "explain = false", "no"),
    ],
)
def test_explain_is_a_flag_that_may_have_a_value(
    server: ServerProcess, tmp_path: Path, words: list[str], *, variable: str, line: str, form: str
) -> None:
    config = tmp_path / "antiphon.toml"
    config.write_text(f"[connect]\n{line}\n")
    given = [word.format(address=server.address) for word in words]
    environment: dict[str, Any] = {"ANTIPHON_EXPLAIN": variable} if variable else {}
    done = run_antiphon(
        "connect",
        *given,
        "--config",
        config,
        "--name",
        "ann",
        home=tmp_path,
        ANTIPHON_PASSWORD=PASSWORD,
        **environment,
    )
    assert done.returncode == 0, done.stderr
    assert ("<- WELCOME  id" in done.stderr) == (form != "no")
    assert ("    Hidden: token" in done.stderr) == (form == "yes")


def test_explain_has_no_other_value(tmp_path: Path) -> None:
    done = run_antiphon("connect", "--explain=all", home=tmp_path)
    assert done.returncode == 2
    assert "--explain" in done.stderr
    assert "short" in done.stderr
