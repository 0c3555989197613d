"""The loader of services: what `antiphon serve` accepts, and the sentence for each failure."""

import errno
import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import ServiceNotLoaded
from antiphon.services import Chat, Program, echo, load
from antiphon.settings import ProgramSettings
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
        ("", "shop_b.py", "must follow, such as shop_b.py:answer. Give"),
        ("", "./shop_b.py:", "must follow, such as ./shop_b.py:answer. Give"),
        ("", "nowhere_b:answer", "there is no module “nowhere_b” here"),
        ("", "nowhere_b.py:answer", "there is no file nowhere_b.py"),
        ("", "shop_b:answer", "“answer” is not in shop_b"),
        ("import nowhere_b\n", "shop_b:answer", "No module named 'nowhere_b'"),
        ("\n\n1 / 0\n", "shop_b:answer", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("a b\n", "shop_b:answer", "SyntaxError"),
        ("raise SystemExit\n", "shop_b:answer", "ends the program"),
        ("", ".shop_b:answer", "there is no module “.shop_b” here"),
        ("", "shop_b.more:answer", "there is no module “shop_b.more” here"),
        ("", "shop_b:answer.more", "“answer” is not in shop_b"),
        ("", "folder.py:answer", "there is no file folder.py"),
        ("import asyncio\nraise asyncio.CancelledError('so')\n", "shop_b.py:answer", "CancelledError: so ("),
        (
            "error = ValueError('one\\ntwo')\nerror.add_note('x')\nraise error\n",
            "shop_b:answer",
            "ValueError: one (",
        ),
        ("def __getattr__(name):\n    return 1 / 0\n", "shop_b:answer", "ZeroDivisionError"),
        ("import json\njson.loads('{')\n", "shop_b:answer", "shop_b.py, line 2)"),
        ("import msgspec\nmsgspec.structs.replace(1)\n", "shop_b:answer", "shop_b.py, line 2)"),
        ("\neval('a b')\n", "shop_b:answer", "shop_b.py, line 2)"),
        ("\n\nx = 'Ж\n", "./shop_b.py:answer", "SyntaxError: unterminated string literal"),
        ("\n\nx = 'Ж\n", "./shop_b.py:answer", "shop_b.py, line 3)"),
    ],
)
def test_each_failure_is_one_sentence(folder: Path, text: str, service: str, problem: str) -> None:
    (folder / "shop_b.py").write_text(text, "utf-8")
    (folder / "folder.py").mkdir()
    with pytest.raises(ServiceNotLoaded) as refused:
        load(service)
    assert problem in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.exit_code == 2


def test_a_module_that_raises_is_told_with_its_line(folder: Path) -> None:
    (folder / "s.py").write_text("\n\n1 / 0\n", "utf-8")
    with pytest.raises(ServiceNotLoaded) as refused:
        load("s:answer")
    assert str(refused.value.fields["place"]).endswith("s.py, line 3")
    assert str(refused.value).endswith("s.py, line 3).")  # its own code failed: no advice on how to name it


@pytest.mark.parametrize("place", ["my shop", "лавка", "a:b", "."])
def test_a_file_may_stand_anywhere(folder: Path, place: str) -> None:
    (folder / place).mkdir(exist_ok=True)
    (folder / place / "beside_d.py").write_text("answer = str.upper\n", "utf-8")
    (folder / place / "ответ-d.py").write_text("from beside_d import answer\n", "utf-8")
    for path in (f"{place}/ответ-d.py", f"./{place}/ответ-d.py", folder / place / "ответ-d.py"):
        assert load(f"{path}:answer") is str.upper


@pytest.mark.parametrize(
    "service", ["json.py:answer", "./json.py:answer", "json:answer", "polib.py:answer", "turtle:answer"]
)
def test_a_name_that_others_have_is_refused_and_they_keep_it(folder: Path, service: str) -> None:
    before = {name: importlib.import_module(name) for name in ("json", "polib")}
    for name in (*before, "turtle"):
        (folder / f"{name}.py").write_text("answer = str.upper\n", "utf-8")
    with pytest.raises(
        ServiceNotLoaded, match=r"another module is called “(json|polib|turtle)”, so \S+\.py needs"
    ):
        load(service)
    assert {name: sys.modules[name] for name in before} == before


def test_what_python_has_can_be_served() -> None:
    assert load("textwrap:dedent") is textwrap.dedent


def test_a_file_that_is_no_text_is_told(folder: Path) -> None:
    (folder / "e.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(ServiceNotLoaded, match=r"SyntaxError: .*utf-8.* \(.*e\.py, line 1\)"):
        load("e.py:answer")


def test_a_file_that_cannot_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "f.py").touch()

    def refuse(_: Path) -> bytes:  # faked, because root may read every file
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ServiceNotLoaded, match=r"f\.py cannot be read: Permission denied"):
        load("f.py:answer")


def test_what_a_module_prints_is_not_on_standard_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "g.py").write_text("print('loud')\nanswer = str.upper\n", "utf-8")
    load("g.py:answer")
    assert capsys.readouterr() == ("", "loud\n")


def test_to_interrupt_a_module_that_takes_long_is_no_failure_of_it(folder: Path) -> None:
    (folder / "h.py").write_text("raise KeyboardInterrupt\n", "utf-8")
    with pytest.raises(KeyboardInterrupt):
        load("h.py:answer")


def test_a_program_is_one_with_its_limits() -> None:
    program = load("exec:cat -u", ProgramSettings(exec_most=3))
    assert isinstance(program, Program)
    assert program._settings.exec_most == 3


def test_what_cannot_be_served_ends_the_command_in_one_sentence(folder: Path) -> None:
    (folder / "shop_c.py").write_text("answer = 5\n", "utf-8")
    done = run_antiphon("serve", "shop_c:answer", "--no-input", home=folder)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "cannot be served" in done.stderr
