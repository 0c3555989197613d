"""Options as keywords of `Server` and `serve`: checked when a program runs, and by type checkers before."""

import re
import subprocess
import sys
from os import PathLike
from pathlib import Path, PurePosixPath
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest

import antiphon
from antiphon import Server, ServerOptions
from antiphon.client.unattended import program_settings
from antiphon.errors import SettingInvalid
from antiphon.settings import ClientSettings, ServerSettings, changed
from support.documents import ROOT
from support.processes import clean_environment

CHECKED = """
from contextlib import asynccontextmanager
from collections.abc import AsyncIterator
from typing import Unpack

import antiphon
from antiphon import Server, ServerOptions, Session, serve, service
from antiphon.testing import RunningServer

class Cart:
    total = 0

@asynccontextmanager
async def lifespan(server: Server[Cart]) -> AsyncIterator[None]:
    server.state = Cart()
    server.state = 5  # wrong
    yield

@service(lifespan=lifespan)
def answer(message: str, session: Session[Cart]) -> str:
    session.state.totl  # wrong
    return f"{session.state.total} {session.server.state}"

def plain(message: str, session: Session) -> str:
    session.server.start_task(other(), name="other")
    session.server.start_task(other)  # wrong
    return answer(message, session)

async def other() -> None: ...

def run(**options: Unpack[ServerOptions]) -> None:
    Server(answer, port=0, data="data", log_level="debug")
    Server(answer, port="0")  # wrong
    Server(answer, prt=0)  # wrong
    Server(answer, access="nobody")  # wrong
    serve(answer, **options)
    serve(answer, drain_second=1)  # wrong
    RunningServer(answer, "data", plain=True)
    RunningServer(answer, plain="yes")  # wrong
    antiphon.srve(answer)  # wrong
"""


def parts(kind: Any) -> set[Any]:
    """Return the types of a union with None, or the one type; a path may also be text."""
    found = set(get_args(kind)) if NoneType in get_args(kind) else {kind}
    return found - {Path} | {str, PathLike[str]} if Path in found else found


def test_the_keywords_are_the_fields_of_the_settings() -> None:
    settings, options = get_type_hints(ServerSettings), get_type_hints(ServerOptions)
    assert list(options) == list(settings)
    assert {name: parts(kind) for name, kind in options.items()} == {
        name: parts(kind) for name, kind in settings.items()
    }


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("data", Path("data")),
        (PurePosixPath("a/b"), Path("a/b")),
        ("~/data", Path.home() / "data"),
        (Path("~/data"), Path.home() / "data"),
        (None, None),
    ],
)
def test_a_path_may_be_given_as_text(given: Any, path: Path | None) -> None:
    settings = Server(data=given, log=given, port_file=given).settings
    assert (settings.data, settings.log, settings.port_file) == (path, path, path)
    assert program_settings(None, given, 10, None, register=False, replace=False).known_servers == path


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"drain_second": 1}, "drain_second: there is no such setting; do you mean drain_seconds?"),
        ({"workers": 2}, "workers: only the command antiphon serve has this option"),
        ({"colour": "red"}, "colour: there is no such setting"),
        ({"port": "0"}, "--port: must be int | None, not '0'"),
        ({"data": 5}, "--data: must be Path | None, not 5"),
        ({"data": b"data"}, "--data: must be Path | None, not b'data'"),
        ({"data": ""}, "--data: must be Path | None, not ''"),
        (
            {"data": "~nobody-of-this-name/x"},
            "--data: “~nobody-of-this-name/x” names the home folder of a user who",
        ),
        ({"access": "nobody"}, "--access: must be one of 'anyone', 'identify', 'authenticate', not 'nobody'"),
    ],
)
def test_what_cannot_be_an_option_is_told_in_a_sentence(options: Any, sentence: str) -> None:
    with pytest.raises(SettingInvalid, match="^" + re.escape(sentence)):
        Server(**options)


def test_clients_are_told_of_a_wrong_type_too() -> None:
    with pytest.raises(SettingInvalid, match="give_up"):
        program_settings(None, None, 10, "soon", register=False, replace=False)  # type: ignore[arg-type]
    with pytest.raises(SettingInvalid, match="--known-servers"):
        program_settings(None, 5, 10, None, register=False, replace=False)  # type: ignore[arg-type]
    assert changed(ClientSettings(), {"give_up": 5}).give_up == 5


def test_a_type_checker_sees_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "shop.py"
    path.write_text(CHECKED)
    command = [sys.executable, "-m", "mypy", str(path)]  # with the settings and the cache of `make check`
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    told = {int(number) for number in re.findall(r"shop\.py:(\d+): error:", result.stdout)}
    wrong = {number for number, line in enumerate(CHECKED.splitlines(), 1) if line.endswith("# wrong")}
    assert told == wrong, result.stdout + result.stderr


def test_dir_shows_the_public_names_and_loads_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, antiphon\n"
        "assert set(antiphon.__all__) <= set(dir(antiphon))\n"
        "loaded = [name for name in sys.modules if name.startswith('antiphon.')]\n"
        "assert loaded == ['antiphon.version'], loaded\n"
        "from antiphon import *\n"
        "print(*(name for name in antiphon.__all__ if name not in globals()))\n"
    )
    environment = clean_environment(tmp_path)
    told = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (told.stdout, told.stderr) == ("\n", "")


def test_every_public_name_is_handed_on() -> None:
    assert set(antiphon.__all__) == {"__version__", *antiphon._HANDED_ON}
    with pytest.raises(AttributeError, match="srve"):
        antiphon.srve  # type: ignore[attr-defined] # noqa: B018 - on purpose
