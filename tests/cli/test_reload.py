"""Tests of `antiphon serve --reload`: an edit is served at once, on the same port, to the open sessions."""

import asyncio
import contextlib
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import antiphon
from antiphon.address import parse
from antiphon.client.aio.session import ClientSession
from antiphon.errors import ServiceFailed
from antiphon.wire.bodies import ServerBye
from support.processes import ANTIPHON, PipedProcess, ServerProcess, clean_environment, run_antiphon
from support.serving import in_session, seed
from support.terminal import CTRL_C, Terminal

SHOP = "from words import WORD\n\ndef answer(message: str) -> str:\n    return WORD\n"


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a service in two files."""
    folder = tmp_path / "my shop"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP, "utf-8")
    (folder / "words.py").write_text("WORD = 'old'\n", "utf-8")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def process(tmp_path: Path) -> Iterator[PipedProcess]:
    with PipedProcess(
        ANTIPHON, "serve", "shop.py:answer", "--reload", "--data", tmp_path / "data", "--port", "0",
        "--plain", "--access", "anyone", "--drain-seconds", "5", "--entry-seconds", "60", "--no-input",
        environment=clean_environment(tmp_path),
    ) as process:  # fmt: skip
        yield process


@pytest.fixture
def address(process: PipedProcess) -> str:
    """Wait until the server has started; return its address."""
    line = process.stdout.readline()
    assert " listens on port " in line, process.communicate()
    while not process.stdout.readline().startswith("  Log:"):
        pass
    return f"tcp://localhost:{line.rpartition(' ')[2].rstrip().rstrip('.')}"


class Visit:
    """A client in session that counts how often its connection came back."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session
        self.back = asyncio.Event()
        session.on_back = lambda _: self.back.set()

    async def until_back(self) -> None:
        await asyncio.wait_for(self.back.wait(), 60)
        self.back.clear()


@pytest.fixture
async def visit(address: str) -> AsyncIterator[Visit]:
    async with antiphon.connect(address) as session:
        yield Visit(session)


async def told(process: PipedProcess) -> str:
    return await asyncio.to_thread(process.stderr.readline)


async def test_an_edit_is_served_to_the_session_that_is_there_on_the_same_port(
    process: PipedProcess, visit: Visit, shop: Path
) -> None:
    assert await visit.session.ask("x") == "old"
    (shop / "other.py").write_text("nobody imports it", "utf-8")
    (shop / "words.py").write_text("WORD = 'new'\n", "utf-8")
    assert await told(process) == f"{shop / 'words.py'} has changed; restarting the server.\n"
    await visit.until_back()
    assert await visit.session.ask("x") == "new"
    (shop / "shop.py").write_text(SHOP.replace("return WORD", "return WORD / 0"), "utf-8")
    assert "has changed" in await told(process)
    await visit.until_back()
    with pytest.raises(ServiceFailed):
        await visit.session.ask("x")
    assert [await told(process) for _ in range(5)] == [
        "Traceback (most recent call last):\n",
        f'  File "{shop / "shop.py"}", line 4, in answer\n',
        "    return WORD / 0\n",
        "           ~~~~~^~~\n",
        "TypeError: unsupported operand type(s) for /: 'str' and 'int'\n",
    ]


async def test_what_is_broken_is_told_with_its_line_and_waited_for(
    process: PipedProcess, visit: Visit, shop: Path
) -> None:
    (shop / "shop.py").write_text("def answer(message: str) -> str:\n    return message +\n", "utf-8")
    assert "has changed" in await told(process)
    broken = await told(process)
    assert "cannot be loaded: SyntaxError: invalid syntax" in broken
    assert f"{shop / 'shop.py'}, line 2" in broken
    assert await visit.session.ask("x") == "old"
    (shop / "shop.py").write_text("from mended import answer\n", "utf-8")
    assert "has changed" in await told(process)
    assert "No module named 'mended'" in await told(process)
    (shop / "mended.py").write_text("while True: pass\n", "utf-8")
    assert await told(process) == f"{shop / 'mended.py'} has changed; restarting the server.\n"
    (shop / "mended.py").write_text("def answer(message: str) -> str:\n    return 'mended'\n", "utf-8")
    assert await told(process) == f"{shop / 'mended.py'} has changed; restarting the server.\n"
    await visit.until_back()
    assert await visit.session.ask("x") == "mended"
    process.send_signal(signal.SIGTERM)
    await visit.session.hang_up()
    out, errors = await asyncio.to_thread(process.communicate)
    assert (process.wait(), out, errors) == (0, "", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_both_in_order(
    process: PipedProcess, address: str, tmp_path: Path, number: int, code: int
) -> None:
    process.send_signal(number)
    assert process.wait(60) == code
    log = (tmp_path / "data" / "server.log").read_text("utf-8").splitlines()
    assert log[-1].split()[2] == "stopped"
    assert gone(server(log))


def test_the_server_ends_with_the_process_above_it(process: PipedProcess, address: str, tmp_path: Path) -> None:
    process.kill()
    process.wait()
    log = tmp_path / "data" / "server.log"
    ends = time.monotonic() + 60
    while " stopped " not in log.read_text("utf-8"):  # that of the worker
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert gone(server(log.read_text("utf-8").splitlines()))


def server(log: list[str]) -> int:
    """Return the id of the process that serves, which has started last."""
    *_, started = [line for line in log if " started " in line]
    return int(started.partition("pid=")[2].split()[0])


def gone(pid: int) -> bool:
    """Wait until the process has ended."""
    ends = time.monotonic() + 60
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            if time.monotonic() > ends:
                return False
            time.sleep(0.01)
    return True


def test_a_signal_while_the_server_is_replaced_stops_both_and_cuts_nobody(
    process: PipedProcess, address: str, shop: Path, tmp_path: Path
) -> None:
    (token,) = seed(tmp_path / "data")
    with in_session(parse(address), token) as client:
        (shop / "words.py").write_text("WORD = 'new'\n", "utf-8")
        assert client.body() == ServerBye(reason="drained")
        process.send_signal(signal.SIGTERM)
        assert {client.ask("x") for _ in range(200)} == {"old"}  # long enough for the parent to forward the signal
        client.send(client.conversation.bye("drained"))
        client.closed()
    assert process.wait(60) == 0
    log = (tmp_path / "data" / "server.log").read_text("utf-8").splitlines()
    assert log[-1].split()[2] == "stopped"


def test_ctrl_c_at_a_terminal_comes_once_and_cuts_nobody(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with Terminal(
        "serve", "shop.py:answer", "--reload", "--data", tmp_path / "data", "--port", "0", "--plain", home=tmp_path
    ) as terminal:
        port = terminal.matches(r"listens on port (\d+)\.")[1]
        terminal.shows("  Log: ")
        with in_session(parse(f"tcp://localhost:{port}"), token) as client:
            terminal.press(CTRL_C)
            assert client.body() == ServerBye(reason="drained")
            assert {client.ask("x") for _ in range(200)} == {"old"}  # long enough for a second signal to arrive
            client.send(client.conversation.bye("drained"))
            client.closed()
        assert terminal.ends() == 130


def test_a_server_that_is_killed_is_told_of_and_the_one_in_reserve_serves(
    process: PipedProcess, address: str, tmp_path: Path
) -> None:
    (token,) = seed(tmp_path / "data")
    while len(children(process.pid)) < 2:
        time.sleep(0.01)
    server, reserve = children(process.pid)
    os.kill(server, signal.SIGKILL)
    ended = f"The server process {server} has ended (SIGKILL); starting it again.\n"
    assert process.stderr.readline() == ended
    with in_session(parse(address), token) as client:
        assert client.ask("x") == "old"
    while f" worker-started pid={reserve}\n" not in (tmp_path / "data" / "server.log").read_text("utf-8"):
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def test_a_store_of_files_has_one_server_at_a_time(tmp_path: Path, shop: Path) -> None:
    with PipedProcess(
        ANTIPHON, "serve", "shop.py:answer", "--reload", "--store", f"files:{tmp_path / 'people'}",
        "--data", tmp_path / "data", "--port", "0", "--plain", "--access", "anyone", "--json", "--no-input",
        environment=clean_environment(tmp_path),
    ) as process:  # fmt: skip
        (address,) = json.loads(process.stdout.readline())["addresses"]
        async with antiphon.connect(address) as session:
            assert await session.ask("x") == "old"
            (shop / "words.py").write_text("WORD = ", "utf-8")
            assert "has changed" in await told(process)
            assert "SyntaxError" in await told(process)
            (shop / "words.py").write_text("WORD = 'new'\n", "utf-8")
            assert "has changed" in await told(process)
            assert await session.ask("x") == "new"


HANGS = """
import time
from words import WORD

def answer(message: str) -> str:
    if message == "hang":
        time.sleep(60)
    return WORD
"""


async def test_all_workers_are_replaced_and_an_old_one_that_hangs_holds_nobody_up(
    tmp_path: Path, shop: Path
) -> None:
    (shop / "hangs.py").write_text(HANGS, "utf-8")
    options = ("hangs.py:answer", "--reload", "--workers", "2", "--plain", "--access", "anyone")
    server = ServerProcess(tmp_path / "data", *options)
    server.logged(" worker-started ", 2)
    async with antiphon.connect(str(server.address), give_up=0) as hung:
        await hung.send("hang")
        (shop / "words.py").write_text("WORD = 'new'\n", "utf-8")
        server.logged(" reloaded ")
        async with antiphon.connect(str(server.address)) as session:
            assert await session.ask("x") == "new"
        server.kill()
        pids = [int(pid) for pid in re.findall(r" worker-started pid=(\d+)", server.log)]
        assert len(pids) == 4
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("service", ["echo", "chat", "exec:cat"])
def test_where_there_is_nothing_to_watch_it_is_refused(tmp_path: Path, service: str) -> None:
    done = run_antiphon("serve", service, "--reload", "--no-input", "--data", tmp_path / "d", home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"--reload: “{service}” is not a module of yours, so there is no file to watch")


def test_what_cannot_be_served_to_begin_with_is_refused(tmp_path: Path) -> None:
    done = run_antiphon(
        "serve", "shop.py:anwser", "--reload", "--no-input", "--data", tmp_path / "d", home=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "“anwser” is not in shop" in done.stderr
