"""Places for programs are shared by people, not by who comes most often (issue 14, point 7)."""

import threading
import time
from pathlib import Path

from antiphon.wire.bodies import ServerBye
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame
from support.attack import LONG, SOURCES, tell
from support.guessing import seed_names
from support.processes import PASSWORD, ServerProcess
from support.raw import RawClient
from support.serving import ATTACKER
from support.wire_client import Closed

MOST = 10
THREADS = 16
NEWCOMERS = 24 if LONG else 11
SLOW_TO_END = "exec:sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.2; done'"
"""A program that ends only when it is killed, 2 s after its session."""


def stand_in_the_way(server: ServerProcess, stop: threading.Event) -> None:
    """Sign in and leave, again and again, under one name."""
    while not stop.is_set():
        try:
            with RawClient(server.address, source=ATTACKER) as client:
                client.sign_in("eve", PASSWORD)
                client.leave()
        except (Closed, OSError, AssertionError):
            stop.wait(0.05)


def let_in(server: ServerProcess, name: str, source: str) -> bool:
    """Return whether a newcomer gets a program; leave again, since a session that is only cut keeps it."""
    with RawClient(server.address, source=source) as client:
        client.sign_in(name, PASSWORD)
        while True:
            event = client.next()
            if isinstance(event, Frame) and event.payload == "ready":
                client.leave()
                return True
            if isinstance(event, Control) and isinstance(event.body, ServerBye):
                return False


def test_one_account_that_comes_and_goes_keeps_nobody_from_a_program(tmp_path: Path) -> None:
    names = [f"newcomer{number}" for number in range(NEWCOMERS)]
    seed_names(tmp_path / "data", ["eve", *names])
    stop = threading.Event()
    options = ("--plain", "--exec-most", str(MOST), "--exec-wait", "60")
    with ServerProcess(tmp_path / "data", SLOW_TO_END, *options) as server:
        attackers = [threading.Thread(target=stand_in_the_way, args=(server, stop)) for _ in range(THREADS)]
        for attacker in attackers:
            attacker.start()
        try:
            time.sleep(2)  # so long ending programs hold their places
            came = []
            for number, name in enumerate(names):
                came.append(let_in(server, name, SOURCES[number % len(SOURCES)]))
                time.sleep(0.2)
        finally:
            stop.set()
            for attacker in attackers:
                attacker.join()
        tell("newcomers", let_in=came.count(True), of=len(came))
        assert came == [True] * NEWCOMERS


def test_one_account_has_no_more_than_its_share_of_the_programs(tmp_path: Path) -> None:
    """Ten sessions of one account leave places for others."""
    seed_names(tmp_path / "data", ["eve", "ann"])
    with ServerProcess(tmp_path / "data", SLOW_TO_END, "--plain", "--exec-most", str(MOST)) as server:
        held = []
        try:
            for _ in range(MOST):
                client = RawClient(server.address, source=ATTACKER)
                held.append(client)
                client.sign_in("eve", PASSWORD)
            assert let_in(server, "ann", SOURCES[0])
        finally:
            for client in held:
                client.sock.close()
