#!/usr/bin/env python3
"""Cluster on one machine, as a demonstration: PostgreSQL, two nodes and HAProxy in front of them.

Somebody signs in through the balancer and talks; the node that answers is killed, and the conversation goes on.
Run it by `make cluster`. With `--stay` everything runs on until Ctrl-C, to be tried by hand.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from antiphon import blocking
from antiphon.address import Address, parse
from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE
from antiphon.data.folder import KEY_RING_FILE
from antiphon.errors import OutcomeUnknown
from support.postgres import Postgres

ANTIPHON = Path(sys.executable).with_name("antiphon")
PASSWORD = "correct horse battery staple"
ANSWER_SECONDS = 60.0
"""Longest wait for an answer: a session goes on at the other node after six seconds, on a busy machine later."""
SHARED = (KEY_RING_FILE, KEY_FILE, CERTIFICATE_FILE)
"""What all nodes have: the key ring, and here also the certificate, so that clients see one server."""
SERVICE = """
import os

def answer(message: str) -> str:
    return f"node {os.environ['NODE']} has heard: {message}"
"""
HAPROXY = """
global
    maxconn 1000
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    option redispatch 1
frontend antiphon
    bind 127.0.0.1:{port}
    default_backend nodes
backend nodes
    balance leastconn
    option httpchk GET /readyz
    server one {one} send-proxy-v2 check port {one_status} inter 500ms fall 1 rise 1
    server two {two} send-proxy-v2 check port {two_status} inter 500ms fall 1 rise 1
"""


class Node:
    """A server of the cluster."""

    def __init__(self, folder: Path, name: str, database: str, status: int) -> None:
        """Start it, with its data in `folder / name`, and wait until it serves."""
        self.name = name
        self.status = status
        command = [
            ANTIPHON, "serve", folder / "service.py:answer", "--json", "--no-input", "--data", folder / name,
            "--host", "127.0.0.1", "--port", "0", "--store", database, "--relay-address", "127.0.0.1:21000-21999",
            "--proxy-from", "127.0.0.1", "--status", f"127.0.0.1:{status}",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, env=os.environ | {"NODE": name}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"cluster: node {name} did not start.")
        self.address = parse(json.loads(line)["addresses"][0])

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it, unless it has ended."""
        with self._process:
            self._process.terminate()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[tuple[Address, dict[str, Node]]]:
    """Run the cluster in the block; give its address, which is the balancer's, and its nodes by name."""
    (folder / "service.py").write_text(SERVICE)
    (folder / "password").write_text(PASSWORD)
    with ExitStack() as closing:
        (folder / "postgres").mkdir()
        postgres = Postgres(folder / "postgres")
        postgres.start()
        closing.callback(postgres.stop)
        database = postgres.database("antiphon")
        add = ["accounts", "add", "ann", "--password-file", str(folder / "password")]
        subprocess.run(
            [ANTIPHON, *add, "--data", folder / "one", "--store", database],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        nodes: dict[str, Node] = {}
        for name in ("one", "two"):
            if nodes:
                (folder / name).mkdir(0o700)
                for file in SHARED:
                    shutil.copy(folder / "one" / file, folder / name)
            nodes[name] = Node(folder, name, database, free_port())
            closing.callback(nodes[name].stop)
        port = free_port()
        (folder / "haproxy.cfg").write_text(
            HAPROXY.format(
                port=port,
                **{name: f"127.0.0.1:{node.address.port}" for name, node in nodes.items()},
                **{f"{name}_status": node.status for name, node in nodes.items()},
            )
        )
        with (folder / "haproxy.log").open("w") as log:
            balancer = subprocess.Popen(["haproxy", "-db", "-f", folder / "haproxy.cfg"], stderr=log)
        closing.callback(balancer.wait)
        closing.callback(balancer.terminate)
        if not listens(port):
            raise SystemExit("cluster: haproxy did not start.\n" + (folder / "haproxy.log").read_text())
        address = nodes["one"].address
        yield parse(str(address).replace(f":{address.port}", f":{port}")), nodes


def talk(address: Address, nodes: dict[str, Node], home: Path) -> None:
    """Sign in, talk, kill the node that answers, and go on talking."""

    def ask(message: str) -> str:
        began = time.monotonic()
        try:
            answer = str(session.ask(message, timeout=ANSWER_SECONDS))
        except OutcomeUnknown:  # it was on its way when the node was killed; to be asked twice does no harm here
            answer = str(session.ask(message, timeout=ANSWER_SECONDS))
        took = time.monotonic() - began
        print(f"> {message}\n{answer}" + (f"  ({took:.0f} s)" if took > 1 else ""))
        return answer

    print(
        f"Balancer at {address.host}:{address.port}, nodes at ports",
        *(node.address.port for node in nodes.values()),
    )
    with blocking.connect(address, name="ann", password=PASSWORD, known_servers=home / "known") as session:
        print("ann has signed in through the balancer.")
        name = ask("hello").split()[1]
        nodes[name].kill()
        print(f"Node {name} was killed.")
        answer = ask("are you still there?")
        if answer.startswith(f"node {name} "):
            raise SystemExit("cluster: a node that was killed has answered.")
        ask("good")


def free_port() -> int:
    """Return a port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Wait until somebody listens at a port; return whether that was in time."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.05)
    return False


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stay", action="store_true", help="let everything run until Ctrl-C")
    stay = parser.parse_args().stay
    if shutil.which("haproxy") is None:
        raise SystemExit("cluster: haproxy is missing. Install it (apt install haproxy), then run this again.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="antiphon-cluster-") as path:
        folder = Path(path)
        folder.chmod(0o711)  # PostgreSQL does not run as root, and has its own folder below
        with cluster(folder) as (address, nodes):
            if not stay:
                talk(address, nodes, folder)
                return
            print(f"antiphon connect {address} --name ann", f"password: {PASSWORD}", sep="\n")
            print("Ctrl-C ends everything.")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


if __name__ == "__main__":
    main()
