"""Tests of what docs/accounts.md and `--help` say of `antiphon accounts import`, against the command."""

import json
import re
import shlex
from hashlib import md5
from pathlib import Path

import pytest

from antiphon.identity.legacy import Why
from antiphon.identity.old_forms import HASHES, read_form
from support.documents import read, table
from support.processes import run_antiphon

TEXT = read("docs/accounts.md")
SHAPES = table(TEXT, "a file like this (a slash stands between lines)", "is imported with")
DIGEST = md5(b"secret").hexdigest()


def imported(home: Path, file: Path, *options: str) -> dict[str, object]:
    done = run_antiphon("accounts", "import", file, *options, "--dry-run", "--json", home=home)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize(("shape", "how"), SHAPES, ids=[shape for shape, _ in SHAPES])
def test_each_shape_of_the_table_is_imported_with_its_options_and_not_without(
    shape: str, how: str, tmp_path: Path
) -> None:
    file = tmp_path / "users"
    file.write_text("\n".join(shape.split(" / ")) + "\n", "utf-8")
    options = [] if how == "no option" else shlex.split(how.partition(":")[0])
    told = imported(tmp_path, file, *options)
    if options == ["--names-only"]:
        assert (told["imported"], told["kept"]) == ([], ["ann"])
        return
    assert told["imported"] == ["ann"]
    assert told["scheme"] == ("md5" if DIGEST in shape else "plain")
    for left_out in range(0, len(options), 2):
        fewer = options[:left_out] + options[left_out + 2 :]
        refused = run_antiphon("accounts", "import", file, *fewer, "--dry-run", home=tmp_path)
        assert refused.returncode == 2, fewer
        assert options[left_out] in refused.stderr


def test_each_scheme_of_the_table_is_one_of_the_code() -> None:
    rows = table(TEXT, "in the file", "--scheme", "what the passwords are")
    words = (schemes.removesuffix(", also with +TEXT").split(",") for _, schemes, _ in rows)
    named = {word.strip() for each in words for word in each}
    assert named == {"plain", "md5+salt", *HASHES}
    assert read_form("md5+salt")
    digits = {int(number) for row in rows for number in re.findall(r"\b\d\d+\b", row[0])}
    assert digits == set(HASHES.values())


def test_the_table_of_lines_has_every_reason() -> None:
    said = " ".join(what for _, what in table(TEXT, "line", "what becomes of it"))
    assert all(re.search(rf"\b{why}\b", said) for why in Why)


def test_the_examples_of_help_work(tmp_path: Path) -> None:
    told = run_antiphon("accounts", "import", "--help", home=tmp_path, COLUMNS="100").stdout
    examples = re.findall(r"^ *antiphon (accounts import .+)$", told, re.MULTILINE)
    assert len(examples) == 5
    assert all(len(line) <= 79 for line in told.split("For example")[1].split("╭")[0].splitlines())
    salted = md5(b"secretsalt").hexdigest()
    for name, text in {
        "clients.csv": f"{md5(b'192.0.2.1').hexdigest()};{DIGEST}\n",
        "clients.txt": "Vadim192.0.2.1\n",
        "names.json": '{"192.0.2.3": "cleo"}',
        "users.json": '{"ann": "secret"}\n',
        "users.txt": f"192.0.2.2 bob {salted}\n",
    }.items():
        (tmp_path / name).write_text(text, "utf-8")
    for example in examples:
        words = [str(tmp_path / word) if (tmp_path / word).is_file() else word for word in shlex.split(example)]
        done = run_antiphon(*words, home=tmp_path)
        assert done.returncode == 0, done.stderr
        assert re.search(r"(?:imported|Imported|kept at their addresses): 1\.", done.stderr), done.stderr
