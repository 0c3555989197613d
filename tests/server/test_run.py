"""`serve` in a program of one's own: a script, as somebody runs it."""

import gc
import signal
import socket
import sys
from pathlib import Path

import pytest

from antiphon.address import Address
from antiphon.server.run import YOUNG_MOST, until_stopped
from antiphon.server.server import Server
from antiphon.server.signals import lift_time_limit
from antiphon.wire.bodies import ServerBye
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame
from support.processes import PipedProcess, clean_environment
from support.serving import in_session, seed

SCRIPT = """
import asyncio, gc, sys
from pathlib import Path
from antiphon import serve

async def answer(message: str) -> str:
    print("asked, frozen" if gc.get_freeze_count() else "asked", flush=True)
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    return message.upper()

if __name__ == "__main__":
    code = serve(answer, port=int(sys.argv[1]), strict_port=True, data=Path("data"), plain=True)
    print("served", flush=True)
    sys.exit(code)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def script(folder: Path, port: int = 0) -> PipedProcess:
    """Start the script."""
    (folder / "shop.py").write_text(SCRIPT, "utf-8")
    return PipedProcess(sys.executable, folder / "shop.py", str(port), environment=clean_environment(folder))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_after_a_signal_a_script_answers_what_it_was_asked_and_goes_on(
    tmp_path: Path, number: int, code: int
) -> None:
    (token,) = seed(tmp_path / "data")
    with script(tmp_path) as process:
        port = int(process.stdout.readline().rpartition(" ")[2].rstrip(".\n"))
        while not process.stdout.readline().startswith("  Log:"):
            pass
        with in_session(Address("tcp", "localhost", port, None, None), token) as client:
            id, data = client.conversation.message("hello")
            client.send(data)
            assert process.stdout.readline() == "asked, frozen\n"  # no look at all that a server is made of
            process.send_signal(number)
            goodbye = client.next()
            assert isinstance(goodbye, Control)
            assert goodbye.body == ServerBye(reason="drained")
            (tmp_path / "go").touch()
            answer = client.next()
            assert isinstance(answer, Frame)
            assert (answer.id, answer.payload) == (id, "HELLO")
            client.send(client.conversation.bye("drained"))
            client.closed()
        assert process.communicate(timeout=60) == ("served\n", "")
        assert process.wait() == code


def test_a_port_that_is_taken_is_told_in_a_sentence_and_not_in_a_trace(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with script(tmp_path, port) as process:
            out, errors = process.communicate(timeout=60)
            assert (process.wait(), out) == (2, "")
    assert f"{port}" in errors
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [(700, YOUNG_MOST), (2 * YOUNG_MOST, 2 * YOUNG_MOST), (0, 0)],
    ids=["as it is", "less often already", "never"],
)
async def test_the_garbage_collector_looks_less_often_unless_it_was_told_how_often(
    tmp_path: Path, before: int, meanwhile: int
) -> None:
    seen: list[tuple[int, ...]] = []

    def opened() -> None:
        seen.append(gc.get_threshold())
        signal.raise_signal(signal.SIGTERM)

    own = gc.get_threshold()
    gc.set_threshold(before, 9, 8)
    try:
        server = Server(data=tmp_path / "data", host="127.0.0.1", port=0, plain=True)
        assert await until_stopped(server, opened, server.reload) == 0
    finally:
        lift_time_limit()
        gc.set_threshold(*own)
    assert seen == [(meanwhile, 9, 8)]
