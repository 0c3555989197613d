"""Attacker in a process of its own: connections that each write one piece of bytes again and again.

Standard input holds the order, one line of JSON (`attack.Flood.order`); a line on standard output says that every
connection is open, an empty line on standard input begins the flood. It ends by itself after `seconds`; the last
line on standard output says what was sent.
"""

import contextlib
import json
import os
import selectors
import socket
import ssl
import sys
import time
from typing import Any

NICENESS = 10
"""Added to the attacker's own: it is to take processor time from the server only through what it sends."""
AGAIN_SECONDS = 0.02
"""Pause before a connection that the server has closed is opened again."""
CHUNK = 64 * 1024
"""Bytes of one write."""
IDLE_SECONDS = 0.05
QUIET_SECONDS = 1.5
"""Seconds in which no byte moves after which a server has taken all that it takes."""


class Attacker:
    """One connection: the prologue, then the piece `times` times, then what comes is read and dropped."""

    def __init__(self, order: dict[str, Any], number: int) -> None:
        self._order = order
        self._source = order["sources"][number % len(order["sources"])]
        self._prologue = bytes.fromhex(order["prologues"][number % len(order["prologues"])])
        piece = bytes.fromhex(order["pieces"][number % len(order["pieces"])])
        self._copies = max(1, CHUNK // len(piece))
        self._block = memoryview(piece * self._copies)
        self.sock: socket.socket | None = None
        self.opened = self.sent = self.received = 0
        self.due = 0.0
        self._shaking = False

    def open(self) -> None:
        self._unsent = memoryview(self._prologue)
        self._blocks: float = self._order["times"] / self._copies if self._order["times"] else float("inf")
        sock = socket.create_connection((self._order["host"], self._order["port"]), 5, (self._source, 0))
        sock.setblocking(False)
        if self._order["tls"]:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = context.wrap_socket(sock, do_handshake_on_connect=False)
            self._shaking = True
        self.sock = sock
        self.opened += 1

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None
            self.due = time.monotonic() + AGAIN_SECONDS if self._order["again"] else float("inf")

    @property
    def wants_to_write(self) -> bool:
        return self._shaking or bool(self._unsent) or self._blocks > 0

    def step(self, *, readable: bool) -> None:
        """Go on; close where the server has closed."""
        assert self.sock is not None
        try:
            if self._shaking:
                self.sock.do_handshake()  # type: ignore[attr-defined] # it is one of TLS
                self._shaking = False
            if readable and self._order["reads"]:
                self._read()
            self._write()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self.close()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while True:
                data = self.sock.recv(CHUNK)  # type: ignore[union-attr] # it is open
                if not data:
                    raise ConnectionResetError
                self.received += len(data)
                if len(data) < CHUNK // 4:
                    return

    def _write(self) -> None:
        if not self._unsent and self._blocks > 0:
            share = min(1.0, self._blocks)
            self._blocks -= share
            self._unsent = self._block[: round(share * self._copies) * (len(self._block) // self._copies)]
        if self._unsent:
            sent = self.sock.send(self._unsent)  # type: ignore[union-attr] # it is open
            self._unsent = self._unsent[sent:]
            self.sent += sent


def flood(attackers: list[Attacker], seconds: float, *, holds: bool) -> None:
    """Write until the time is over; whoever holds is ready when nothing has moved for a while."""
    selector = selectors.DefaultSelector()
    watched: dict[socket.socket, int] = {}
    now = time.monotonic()
    ends, moved, moved_at = now + seconds, 0, now
    while (now := time.monotonic()) < ends and not (holds and now - moved_at > QUIET_SECONDS):
        for attacker in attackers:
            if attacker.sock is None and attacker.due <= now:
                try:
                    attacker.open()
                except OSError:
                    attacker.due = now + AGAIN_SECONDS
            if attacker.sock is not None:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if attacker.wants_to_write else 0)
                if attacker.sock not in watched:
                    selector.register(attacker.sock, events, attacker)
                elif watched[attacker.sock] != events:
                    selector.modify(attacker.sock, events, attacker)
                watched[attacker.sock] = events
        for key, events in selector.select(IDLE_SECONDS):
            sock = key.data.sock
            key.data.step(readable=bool(events & selectors.EVENT_READ))
            if key.data.sock is None:
                selector.unregister(sock)
                del watched[sock]
        before, moved = moved, sum(attacker.sent + attacker.received for attacker in attackers)
        if moved != before:
            moved_at = time.monotonic()


def main() -> None:
    """Do what the order says."""
    order = json.loads(sys.stdin.readline())
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    attackers = [Attacker(order, number) for number in range(order["connections"])]
    for attacker in attackers:
        attacker.open()
    print("open", flush=True)
    sys.stdin.readline()
    flood(attackers, order["seconds"], holds=order["holds"])
    if order["holds"]:
        print("held", flush=True)
        sys.stdin.readline()
    told = {
        name: sum(getattr(attacker, name) for attacker in attackers) for name in ("opened", "sent", "received")
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
