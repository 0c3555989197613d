"""What can stand behind `antiphon serve`, and how each failure is told."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import ServiceNotLoaded
from antiphon.services import Chat, echo, load
from support.processes import run_antiphon


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_services_that_ship_have_names() -> None:
    assert load("echo") is echo
    assert isinstance(load("chat"), Chat)


@pytest.mark.parametrize("service", ["shop_a:answer", "shop_a.py:answer", "shop_a:Desk.answer"])
def test_an_object_of_a_module_of_ones_own_is_found(folder: Path, service: str) -> None:
    function = "def answer(message: str) -> str:\n    return message[::-1]\n"
    (folder / "shop_a.py").write_text(f"{function}class Desk:\n    answer = staticmethod(answer)\n", "utf-8")
    found: Any = load(service)
    assert found("abc") == "cba"


@pytest.mark.parametrize(
    ("text", "service", "problem"),
    [
        ("", "sing", "no service of that name"),
        ("", "shop_b:", "no service of that name"),
        ("", "nowhere_b:answer", "there is no module “nowhere_b” here"),
        ("", "nowhere_b.py:answer", "there is no file nowhere_b.py"),
        ("", "shop_b:answer", "“answer” is not in shop_b"),
        ("import nowhere_b\n", "shop_b:answer", "No module named 'nowhere_b'"),
        ("\n\n1 / 0\n", "shop_b:answer", "ZeroDivisionError: division by zero"),
        ("a b\n", "shop_b:answer", "SyntaxError"),
        ("raise SystemExit\n", "shop_b:answer", "ends the program"),
    ],
)
def test_each_failure_is_one_sentence(folder: Path, text: str, service: str, problem: str) -> None:
    (folder / "shop_b.py").write_text(text, "utf-8")
    with pytest.raises(ServiceNotLoaded) as refused:
        load(service)
    assert problem in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_module_that_raises_is_told_with_its_line(folder: Path) -> None:
    (folder / "s.py").write_text("\n\n1 / 0\n", "utf-8")
    with pytest.raises(ServiceNotLoaded) as refused:
        load("s:answer")
    assert str(refused.value.fields["place"]).endswith("s.py, line 3")


def test_what_cannot_be_served_ends_the_command_in_one_sentence(folder: Path) -> None:
    (folder / "shop_c.py").write_text("answer = 5\n", "utf-8")
    done = run_antiphon("serve", "shop_c:answer", "--no-input", home=folder)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "cannot be served" in done.stderr
