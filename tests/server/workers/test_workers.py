"""Several workers as real processes: dispatch, deaths, hangs, reloads, ends."""

import asyncio
import operator
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from antiphon import connect
from antiphon.server.listen.limits import WRONG_MOST
from antiphon.wire.bodies import Error, Identify, Register
from antiphon.wire.kinds import Kind
from support.processes import ANTIPHON, PipedProcess, clean_environment, run_antiphon, sockets
from support.raw import RawClient
from support.serving import credential
from support.terminal import CTRL_C, Terminal
from support.workers import WorkersProcess, arriving, kill, talking, until

SOON = 20.0
"""Seconds that nobody waits in vain: a busy machine needs far less, who waits for a time limit far more."""
BACK = 5.0
"""Seconds within which sessions come back that wait for nobody's death, which takes 6 s (measured: 0.1 s)."""
BEGUN = """
import asyncio, os
from pathlib import Path

async def slowly(message: str) -> str:
    Path(__file__).with_name(f"begun-{os.getpid()}").touch()
    await asyncio.sleep(float(message))
    return str(os.getpid())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_what_is_printed_is_that_of_one_server_with_the_number_of_workers(folder: Path) -> None:
    with WorkersProcess(folder, workers=3) as server:
        assert server.start["pid"] == server.process.pid
        assert server.start["workers"] == 3
        assert (folder / "port").exists() is False
        assert len(server.workers) == 3
    assert server.log.rstrip().endswith(f"stopped pid={server.pid}")
    assert not (list((folder / "relay").iterdir()))


async def test_when_one_of_two_is_killed_the_others_lose_nothing_and_its_sessions_are_back(folder: Path) -> None:
    with WorkersProcess(folder) as server:
        victim, survivor = server.workers
        async with talking(server, 50) as talkers:
            at_home = Counter(talker.pids[-1] for talker in talkers)
            assert set(at_home) == {victim, survivor}
            assert max(at_home.values()) - min(at_home.values()) <= 1, "dispatch is even"
            lost = [talker for talker in talkers if talker.pids[-1] == victim]
            others = [talker for talker in talkers if talker.pids[-1] == survivor]
            kill(victim)
            await until(lambda: all(talker.pids[-1] != victim for talker in lost))
            await until(lambda: len(server.started()) == 3)
            await asyncio.sleep(0.5)
        for talker in others:
            assert talker.unknown == 0
            assert set(talker.pids) == {survivor}, "their connections stay where they are"
        assert sum(talker.unknown for talker in lost) <= len(lost), "one message each was on its way"
        assert all(gap < SOON for talker in talkers for _, gap in talker.gaps)
        away = [max((gap for _, gap in talker.gaps), default=0.0) for talker in lost]
        assert min(away) < BACK, "the supervisor tells of the death"
        assert len(server.workers) == 2
        assert " worker-died " in server.log


def test_a_service_that_cannot_be_loaded_stops_the_start_with_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def answer(message: str) -> str\n    return message\n")
    service = f"{tmp_path}/broken.py:answer"
    options = ["--data", f"{tmp_path}/data", "--port", "0", "--no-input"]
    one = run_antiphon("serve", service, *options, home=tmp_path)
    two = run_antiphon("serve", service, *options, "--workers", "2", home=tmp_path)
    assert (two.returncode, two.stdout, two.stderr) == (one.returncode, one.stdout, one.stderr)
    assert (two.returncode, two.stdout) == (2, "")
    assert "SyntaxError" in two.stderr


def test_a_worker_that_ends_before_it_serves_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import os\nos._exit(9)\n")
    options = ["--data", f"{tmp_path}/data", "--port", "0", "--no-input", "--workers", "2"]
    result = run_antiphon("serve", f"{tmp_path}/ends.py:answer", *options, home=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "(9)" in result.stderr


def test_workers_that_die_when_they_start_do_not_burn_a_core(folder: Path) -> None:
    with WorkersProcess(folder) as server:
        (folder.parent / "service.py").write_text("import os\nos._exit(9)\n")
        for worker in server.workers:
            kill(worker)
        server.logged(" worker-died .*exit=9", 4)
        before, deaths = processor_seconds(server.pid), server.log.count(" worker-died ")
        time.sleep(5)
        assert processor_seconds(server.pid) - before < 2.5, "half a core"
        assert server.log.count(" worker-died ") - deaths <= 8, "1 s, 2 s, 4 s for each of two"
        (folder.parent / "service.py").write_text("def pid(message: str) -> str:\n    return 'mended'\n")
        server.logged(" worker-started ", 4)


@pytest.mark.parametrize("tls", [False, True])
def test_2000_that_connect_and_close_leave_nothing_behind(folder: Path, tls: bool) -> None:
    with WorkersProcess(folder, tls=tls) as server:
        processes = [server.pid, *server.workers]
        for _ in range(20):  # what is opened at the first use
            with socket.create_connection(("127.0.0.1", server.start["port"])) as client:
                if not tls:
                    client.recv(1)
        time.sleep(1)
        before = [descriptors(pid) for pid in processes]
        port = server.start["port"]
        for number in range(2000):
            with socket.create_connection(("127.0.0.1", port)) as client:
                if number % 2 and not tls:
                    client.recv(1)
                if number % 3 == 0:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
        ends, calm = time.monotonic() + 20, 0
        while calm < 5:  # one look may fall between two that are accepted
            open_now = [descriptors(pid) for pid in processes]
            calm = calm + 1 if all(now <= then for now, then in zip(open_now, before, strict=True)) else 0
            assert time.monotonic() < ends, ([descriptors(pid) for pid in processes], before)
            time.sleep(0.05)
        clients = [
            socket.create_connection(("127.0.0.1", port)) for _ in range(20 if tls else 40)
        ]  # --entry-source
        if tls:  # the server waits for the handshake
            time.sleep(1)
            for client in clients:
                with pytest.raises(BlockingIOError):
                    client.recv(1, socket.MSG_DONTWAIT)
        else:
            assert all(client.recv(1) for client in clients), "all places are free again"
        for client in clients:
            client.close()
        assert " fault " not in server.log


async def test_who_is_connected_talks_on_while_the_supervisor_is_frozen(folder: Path) -> None:
    with WorkersProcess(folder, "--service-seconds", "5") as server:
        async with talking(server, 10) as talkers:
            os.kill(server.pid, signal.SIGSTOP)
            try:
                enough = [len(talker.pids) + 20 for talker in talkers]
                await asyncio.sleep(5)
                await until(lambda: all(map(operator.le, enough, (len(talker.pids) for talker in talkers))))
            finally:
                os.kill(server.pid, signal.SIGCONT)
            assert not any(talker.unknown for talker in talkers)
            assert all(len(set(talker.pids)) == 1 for talker in talkers), "their connections stay where they are"
        assert " worker-killed " not in server.log
        assert len(server.started()) == 2


async def test_a_handler_that_blocks_for_good_is_shown_and_its_worker_replaced(folder: Path) -> None:
    with WorkersProcess(folder, "--service-seconds", "5", service="blocks") as server:
        async with (
            connect(str(server.address), name="one") as one,
            connect(str(server.address), name="two") as two,
        ):
            blocked, other = int(str(await one.ask("pid"))), int(str(await two.ask("pid")))
            assert blocked != other
            await one.send("20")

            asked = 0
            async with asyncio.timeout(60):
                while f" worker-killed pid={blocked}" not in server.log:
                    assert await two.ask("pid") == str(other)
                    asked += 1
                    await asyncio.sleep(0.1)
            assert asked > 3, "others go on while it blocks"
            shown = next(line for line in server.log.splitlines() if " worker-silent " in line)
            assert f"pid={blocked}" in shown
            assert "service.py" in shown
            assert "in blocks" in shown
            await until(lambda: len(server.started()) == 3)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_drains_all_workers(folder: Path, number: int, code: int) -> None:
    file = folder.with_name("begun.py")
    file.write_text(BEGUN)
    server = WorkersProcess(folder, service="slowly", file=file)
    address = str(server.address)
    async with (
        connect(address, name="one", give_up=0) as one,
        connect(address, name="two", give_up=0) as two,
    ):
        asked = [asyncio.create_task(each.ask("1.5")) for each in (one, two)]
        await until(lambda: len(list(folder.parent.glob("begun-*"))) == 2)
        for _ in range(2):  # a wrapper passes on what the whole process group has got already
            server.signal(number)
        workers = {int(str(await each)) for each in asked}
        assert len(workers) == 2
    assert await asyncio.to_thread(server.wait) == code
    # A worker that could not start at once, on a busy machine, was replaced, and has stopped as well.
    assert server.log.count(" stopped ") == server.log.count(" started ") >= 3
    server.kill()


def test_a_second_signal_ends_all_at_once(folder: Path) -> None:
    server = WorkersProcess(folder, "--drain-seconds", "15", service="slowly")
    workers = server.workers
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)  # they cannot drain
    server.signal(signal.SIGTERM)
    server.logged(" stopping ")
    time.sleep(1.2)  # before that, a second one is the first one sent twice
    server.signal(signal.SIGTERM)
    assert server.wait(60) in (143, -signal.SIGTERM)
    for worker in workers:
        assert gone(worker)
    server.kill()


@pytest.mark.parametrize("early", [False, True])
def test_ctrl_c_on_a_terminal_reaches_all_and_drains_them_once(tmp_path: Path, early: bool) -> None:
    log = tmp_path / "data" / "server.log"
    options = ("--data", tmp_path / "data", "--port", "0", "--plain", "--no-input", "--workers", "2")
    with Terminal("serve", *options, home=tmp_path) as terminal:
        if early:
            ends = time.monotonic() + 60
            while not log.exists():
                assert time.monotonic() < ends
                time.sleep(0.01)
            time.sleep(0.2)  # amid the imports of the first worker
        else:
            terminal.shows("Log:")
            while log.read_text().count(" worker-started ") < 2:
                time.sleep(0.02)
        terminal.press(CTRL_C)
        assert terminal.ends() == 130
        assert log.read_text().rstrip().endswith(f"stopped pid={terminal.process.pid}")


def test_a_supervisor_knows_neither_a_store_nor_a_service() -> None:
    script = (
        "import sys, antiphon.cli.main, antiphon.cli.serve, antiphon.server.workers.supervise\n"
        "import antiphon.server.workers.count\n"
        "unknown = ('sqlalchemy.', 'antiphon.store.', 'antiphon.services.', 'antiphon.server.session.')\n"
        "print([name for name in sys.modules if f'{name}.'.startswith(unknown)])"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert told.stdout == "[]\n"


def gone(pid: int) -> bool:
    """Return whether a process ends within 20 s."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_without_their_supervisor_workers_drain_and_end(folder: Path) -> None:
    server = WorkersProcess(folder)
    workers = server.workers
    kill(server.pid)
    assert all(gone(worker) for worker in workers)
    assert server.log.count(" stopped ") == 2
    server.kill()


@pytest.mark.parametrize("often", [2, pytest.param(20, marks=pytest.mark.long)])
async def test_sighup_under_load_brings_new_workers_and_nothing_is_lost(folder: Path, often: int) -> None:
    with WorkersProcess(folder) as server:
        old = server.workers
        log = Path(server.start["log"])
        async with talking(server, 10) as talkers, arriving(server):
            for times in range(1, often + 1):
                log.rename(log.with_suffix(f".log.{50 - times}"))
                server.signal(signal.SIGHUP)
                await until(lambda: server.log.count(" reloaded ") == times)  # noqa: B023 - it is awaited here
                assert log.exists()
            await until(lambda: len(server.workers) == 2)
            await until(lambda: {talker.pids[-1] for talker in talkers} == set(server.workers))
        assert not any(talker.unknown for talker in talkers)
        assert not set(server.workers) & set(old)
        assert len(set(server.started())) == 2 * often + 2


async def test_sighup_with_a_broken_service_is_told_and_the_old_workers_stay(folder: Path) -> None:
    with WorkersProcess(folder) as server:
        old = server.workers
        (folder.parent / "service.py").write_text("broken")
        async with talking(server, 4) as talkers:
            server.signal(signal.SIGHUP)
            await until(lambda: " reload-failed " in server.log)
            await until(lambda: server.workers == old)
            assert not any(talker.unknown for talker in talkers)
            assert all(len(set(talker.pids)) == 1 for talker in talkers)


async def test_a_worker_that_is_told_to_end_drains_and_is_replaced(folder: Path) -> None:
    with WorkersProcess(folder) as server:
        first, second = server.workers
        async with talking(server, 10) as talkers:
            os.kill(first, signal.SIGTERM)
            await until(lambda: len(server.started()) == 3)
            await until(lambda: all(talker.pids[-1] != first for talker in talkers))
            assert not any(talker.unknown for talker in talkers)
        assert second in server.workers


def test_registrations_and_wrong_invitations_are_counted_for_all_workers_together(folder: Path) -> None:
    def told(number: int, secret: bytes | None = None) -> str:
        """Register on a connection of its own, the next worker's; return the name or the error."""
        with RawClient(server.address) as client:
            client.hello()
            name = f"n{number}"
            if secret is None:
                body = client.request(Kind.REGISTER, Register(name=name, credential=credential()))
            else:
                body = client.request(Kind.IDENTIFY, Identify(name=name, invitation=secret))
            return body.code if isinstance(body, Error) else "registered"

    with WorkersProcess(folder, access="authenticate", registrations=5) as server:
        assert Counter(told(number) for number in range(8)) == {"registered": 5, "try-later": 3}
        wrong = Counter(told(number, b"%016d" % number) for number in range(WRONG_MOST + 4))
        assert wrong == {"invitation-refused": WRONG_MOST, "try-later": 4}


def test_a_frozen_worker_keeps_nobody_waiting_for_long(folder: Path) -> None:
    with WorkersProcess(folder) as server:
        frozen, _ = server.workers
        os.kill(frozen, signal.SIGSTOP)
        try:
            time.sleep(3)
            for _ in range(30):
                with socket.create_connection(("127.0.0.1", server.start["port"])) as client:
                    client.settimeout(SOON)
                    assert client.recv(1)
        finally:
            os.kill(frozen, signal.SIGCONT)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--workers", "0"], "--workers: must be auto or a whole number from 1 to 64, not 0"),
        (["--workers", "65"], "--workers: must be auto or a whole number from 1 to 64, not 65"),
        (["--workers", "many"], "--workers: must be auto or a whole number from 1 to 64, not many"),
        (["--workers", "2", "--store", "files:people"], "--workers: a store of files has one worker"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(tmp_path: Path, options: list[str], sentence: str) -> None:
    result = run_antiphon("serve", "--data", tmp_path / "data", "--no-input", *options, home=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_refused_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = (ANTIPHON, "serve", "--data", tmp_path / "data", "--no-input", "--workers", "2", "--strict-port")
        with PipedProcess(*command, "--port", port, environment=clean_environment(tmp_path)) as process:
            out, errors = process.communicate(timeout=60)
            assert (process.wait(), out) == (2, "")
            assert port in errors


async def test_a_forked_child_of_a_service_holds_no_socket_of_its_worker(folder: Path) -> None:
    with WorkersProcess(folder, service="fork") as server:
        async with connect(str(server.address), name="one") as session:
            worker, child = map(int, str(await session.ask("fork")).split())
        try:
            assert worker in server.workers
            channels = Path(f"/proc/{worker}/cmdline").read_text().split("\0")[-3:-1]
            for number in channels:
                assert Path(f"/proc/{worker}/fd/{number}").readlink().name.startswith("socket:")
                given_up = Path(f"/proc/{child}/fd/{number}")
                await until(lambda: str(given_up.readlink()) == "/dev/null")  # noqa: B023 - it is awaited here
            await until(lambda: not sockets(child))  # the child may run later than the parent's answer comes
            status = Path(f"/proc/{child}/status").read_text()
            caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)  # type: ignore[index] # it is there
            for stops in (signal.SIGTERM, signal.SIGHUP):
                assert not caught >> (stops - 1) & 1
            kill(worker)
            server.logged(" worker-died ")
            server.logged(" worker-started ", 3)
        finally:
            kill(child)
