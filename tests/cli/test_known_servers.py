"""`antiphon known-servers`: what is listed, what is forgotten, and how both are told to people and programs."""

import json
from pathlib import Path

import pytest

from support.processes import run_antiphon

KEY = "sha256:" + "A" * 43
FILE = f"# mine\nlocalhost:7862 {KEY} old laptop\nlocalhost {KEY}\n[::1]:9 {KEY}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".local" / "share" / "antiphon" / "known_servers"
    path.parent.mkdir(parents=True)
    path.write_text(FILE)
    path.chmod(0o600)
    return path


def test_the_list_shows_each_line_with_its_number(file: Path, tmp_path: Path) -> None:
    done = run_antiphon("known-servers", "list", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"2\tlocalhost\t7862\t{KEY}\told laptop",
        f"3\tlocalhost\t-\t{KEY}\t-",
        f"4\t::1\t9\t{KEY}\t-",
    ]
    shown = json.loads(run_antiphon("known-servers", "list", "--json", home=tmp_path).stdout)
    assert shown[0] == {"line": 2, "host": "localhost", "port": 7862, "key": KEY, "comment": "old laptop"}
    assert (shown[1]["port"], shown[1]["comment"]) == (None, None)


def test_where_nobody_is_known_the_list_is_empty(tmp_path: Path) -> None:
    done = run_antiphon("known-servers", "list", "--json", home=tmp_path)
    assert (done.returncode, done.stdout) == (0, "[]\n")


def test_a_place_is_forgotten_and_the_rest_stays(file: Path, tmp_path: Path) -> None:
    done = run_antiphon("known-servers", "forget", "localhost:7862", "--json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [key["line"] for key in json.loads(done.stdout)["forgotten"]] == [2, 3]
    assert file.read_text() == f"# mine\n[::1]:9 {KEY}\n"
    told = run_antiphon("known-servers", "forget", "::1", "--lang", "ru", home=tmp_path)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "Забыто ключей: 1.\n")
    assert file.read_text() == "# mine\n"


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("elsewhere:1", "No key of elsewhere:1 is known in "),
        ("localhost:x", "“x” is not a port. "),
        ("a b", "“a b” is not an address: "),
    ],
)
def test_what_is_not_known_or_no_place_is_told(file: Path, tmp_path: Path, place: str, sentence: str) -> None:
    done = run_antiphon("known-servers", "forget", place, home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert file.read_text() == FILE


def test_another_file_is_named_by_the_option_and_a_line_that_cannot_be_read_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("half\n")
    done = run_antiphon("known-servers", "list", "--known-servers", tmp_path / "other", home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path / 'other'} cannot be used: line 1 is not HOST:PORT and a key")
