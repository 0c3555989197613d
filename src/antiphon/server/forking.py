"""What a process that a service forks gives up: our signal handlers, the loop's wake-up descriptor, the sockets.

A `multiprocessing.Pool` in a service forks the server. Its workers are ended by SIGTERM; with our handler and the
descriptor of our event loop they would tell the server to stop instead. With our sockets they would hold the port,
and connections that the server has closed.
"""

import contextlib
import os
import signal
import socket
import threading
import weakref
from collections.abc import Iterable

from antiphon.server.signals import StopSignals

_listening: weakref.WeakSet[socket.socket] = weakref.WeakSet()
"""The listening sockets of all servers of this process."""
_ports: set[int] = set()
"""Ports on which another process listens for this one."""
_others: weakref.WeakSet[socket.socket] = weakref.WeakSet()
"""Sockets between the processes of a server."""
_DESCRIPTORS = ("/proc/self/fd", "/dev/fd")
"""Folders that list the descriptors of this process: on Linux, and elsewhere."""


def give_up_in_children(listening: Iterable[socket.socket]) -> None:
    """Have children of this process give up `listening`, and all connections that were accepted on its ports."""
    _listening.update(listening)


def give_up_port(port: int) -> None:
    """Have children of this process give up the connections that another process has accepted on `port`."""
    _ports.add(port)


def give_up_socket(other: socket.socket) -> None:
    """Have children of this process give up a socket that leads to another process of the server."""
    _others.add(other)


class _Masks(threading.local):
    """The signal masks from before the forks of a thread."""

    def __init__(self) -> None:
        self.before: list[set[int]] = []


_masks = _Masks()


def _before_fork() -> None:
    """Hold signals back: one that comes to the child before its handlers are the default ones would be lost."""
    if StopSignals.set_by is not None:
        _masks.before.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, StopSignals.set_by.numbers)))


def _after_fork() -> None:
    if _masks.before:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before.pop())


def _after_fork_in_child() -> None:
    """Give up what is the parent's. Runs in each child, in its only thread."""
    try:
        if StopSignals.set_by is not None or _listening or _ports or _others:
            _give_up()
    finally:
        _after_fork()


def _give_up() -> None:
    with contextlib.suppress(ValueError):  # not the main thread of the main interpreter
        signal.set_wakeup_fd(-1)
        if StopSignals.set_by is not None:
            for number in StopSignals.set_by.numbers:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    StopSignals.set_by = None
    ports = _ports | {each.getsockname()[1] for each in _listening if each.fileno() >= 0}
    others = [each.fileno() for each in _others if each.fileno() >= 0]
    _listening.clear()
    _others.clear()
    if ports or others:
        _close_sockets(ports, others)


def _close_sockets(ports: set[int], others: list[int]) -> None:
    """Close the sockets of `ports` and `others`.

    The numbers stay taken, since objects that we know nothing of hold them.
    """
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in others:
        os.dup2(nothing, number, inheritable=False)
    for number in _descriptors() if ports else ():
        with contextlib.suppress(OSError):  # not a socket
            held = socket.socket(fileno=number)
            try:
                name = held.getsockname() if held.family in (socket.AF_INET, socket.AF_INET6) else ("", 0)
            finally:
                held.detach()
            if name[1] in ports:
                os.dup2(nothing, number, inheritable=False)
    os.close(nothing)


def _descriptors() -> list[int]:
    for folder in _DESCRIPTORS:
        with contextlib.suppress(OSError):
            return [int(name) for name in os.listdir(folder)]  # noqa: PTH208 - in a child, as little as possible
    return []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
