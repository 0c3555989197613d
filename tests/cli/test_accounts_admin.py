"""`antiphon accounts admin`: the mark is given and taken away, shown and exported, and each act is logged."""

import json
from pathlib import Path

import pytest

from support.operator_commands import Operator
from support.serving import seed


@pytest.fixture
def operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    seed(tmp_path / "data", "Ann", 0)
    return Operator(tmp_path / "data", capsys)


def test_the_mark_is_given_and_taken_away(operator: Operator) -> None:
    assert operator.run("accounts", "admin", "ANN").err == "“Ann” is an administrator now.\n"
    assert operator.accounts()[0]["administrator"] is True
    assert operator.run("accounts", "export").out.splitlines()[1].startswith("Ann,no,")
    assert json.loads(operator.run("accounts", "export", "--format", "json").out)[0]["administrator"] is True
    again = operator.run("accounts", "admin", "Ann", "--json")
    assert json.loads(again.out) == {"name": "Ann", "administrator": True, "changed": False}
    taken = operator.run("accounts", "admin", "Ann", "--remove", "--lang", "ru")
    assert taken.err == "«Ann» больше не администратор.\n"
    assert operator.accounts()[0]["administrator"] is False
    acts = [line for line in operator.log() if line.startswith("administrator-")]
    assert [act.split(" by=")[0] for act in acts] == [
        'administrator-added name="Ann"', 'administrator-added name="Ann"', 'administrator-removed name="Ann"',
    ]  # fmt: skip


def test_an_account_that_is_not_there_gets_no_mark(operator: Operator) -> None:
    done = operator.run("accounts", "admin", "bob")
    assert (done.code, done.err.startswith("There is no account “bob”")) == (2, True)
