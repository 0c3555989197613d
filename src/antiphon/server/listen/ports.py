"""Listening sockets: bound and listening in one step, on all addresses of a host with one port.

To look for a free port first and bind it later is a race. So the attempt is bind *and* listen, and the sockets
that succeed are kept.
"""

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from antiphon.errors import AddressUnavailable, PortTaken, Problem, SettingInvalid
from antiphon.language import N_

BACKLOG = 4096
"""Most connections that wait to be accepted; the kernel cuts it to its own limit (net.core.somaxconn)."""
TRIES = 100
"""Ports that are tried after the one that is taken (design.md)."""
_LOWEST_WRAPPED = 1024
"""Where the search goes on after 65535: lower ports belong to known services."""

_ANYWHERE = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - used only if the host is `*`
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_OUTSIDE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, 3849): a route to them is a route to anywhere."""

_NO_LISTENER = Problem(N_("the system has passed “{name}”, which is not a listening TCP socket"))
_MANY_PORTS = Problem(N_("the system has passed sockets of several ports, and the server has one"))

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
Place = tuple[socket.AddressFamily, SocketAddress]


@dataclass(frozen=True)
class Listening:
    """Listening sockets, non-blocking, all on `port`."""

    sockets: tuple[socket.socket, ...]
    port: int
    moved_from: int | None
    """The port that was asked for, if it was taken; else None."""
    hosts: tuple[str, ...]
    """Names of this host for addresses that are handed to clients."""
    loopback: bool
    """Whether only this machine can reach it."""

    def close(self) -> None:
        """Stop listening."""
        for listener in self.sockets:
            listener.close()


class Passed(NamedTuple):
    """A listening socket that the service manager has passed. It keeps another descriptor of it."""

    name: str
    sock: socket.socket


def listening_on(passed: Iterable[Passed]) -> Listening:
    """Listen on sockets that were passed, which do not block.

    Raises:
        SettingInvalid: one is no listening TCP socket, or their ports differ.
    """
    sockets: list[socket.socket] = []
    hosts: list[str] = []
    for name, sock in passed:
        if not _is_listener(sock):
            raise SettingInvalid(source="LISTEN_FDS", problem=_NO_LISTENER, name=name or sock.fileno())
        sockets.append(sock)
        hosts += _hosts_of(sock)
    ports = {sock.getsockname()[1] for sock in sockets}
    if len(ports) > 1:
        raise SettingInvalid(source="LISTEN_FDS", problem=_MANY_PORTS)
    return Listening(tuple(sockets), ports.pop(), None, tuple(dict.fromkeys(hosts)), is_loopback(sockets))


def _is_listener(sock: socket.socket) -> bool:
    is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
    return is_tcp and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _hosts_of(sock: socket.socket) -> tuple[str, ...]:
    """Return names of this host for clients of a listening socket."""
    address = sock.getsockname()[0]
    places: list[Place] = [(sock.family, (address, 0))]
    if address == _ANYWHERE[socket.AF_INET6] and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        places.insert(0, (socket.AF_INET, (_ANYWHERE[socket.AF_INET], 0)))
    return _hosts(address, places)


def listen(host: str, port: int, *, strict: bool = False, tries: int = TRIES) -> Listening:
    """Listen on all addresses of `host` that this machine has, with one port.

    Args:
        host: `localhost` (IPv4 and IPv6), `*` (all addresses), an address of this machine, or a name of one.
        port: 0 to 65535; 0 takes any free port. If the port is taken, the next free one is used.
        strict: fail instead of using the next free port.
        tries: how many further ports to try.

    Raises:
        PortTaken: the port is taken, and so are all others that were tried.
        AddressUnavailable: the host is unknown or not of this machine, or this user may not use the port.
    """
    places = _places(host)
    for candidate in _candidates(port, 0 if strict and port else tries):
        try:
            sockets = _listen_on(places, candidate)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise AddressUnavailable(host=host, problem=_problem(error)) from error
        taken: int = sockets[0].getsockname()[1]
        moved_from = port if port and taken != port else None
        return Listening(sockets, taken, moved_from, _hosts(host, places), is_loopback(sockets))
    raise PortTaken(port=port, host=host)


def is_loopback(sockets: Iterable[socket.socket]) -> bool:
    """Return whether only this machine can reach `sockets`."""
    return all(ipaddress.ip_address(each.getsockname()[0]).is_loopback for each in sockets)


def _candidates(port: int, tries: int) -> Iterator[int]:
    """Yield `port` and the next ones; 0 repeatedly, because the kernel gives another port each time."""
    yield port
    for step in range(1, tries + 1):
        following = port + step
        yield 0 if not port else following if following <= 65535 else following - 65536 + _LOWEST_WRAPPED


def _places(host: str) -> list[Place]:
    """Return the families and socket addresses of `host`, with port 0."""
    if host in ("localhost", "*"):
        addresses = _LOOPBACK if host == "localhost" else _ANYWHERE
        places: list[Place] = [(family, (address, 0)) for family, address in addresses.items()]
        places = [place for place in places if _is_here(place)]
        if not places:
            raise AddressUnavailable(host=host, problem=Problem(N_("this machine has neither IPv4 nor IPv6")))
        return places
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM) if host else []
    except (OSError, UnicodeError):  # UnicodeError: a label that IDNA does not allow
        found = []
    if not found:
        raise AddressUnavailable(host=host, problem=Problem(N_("there is no such host")))
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))  # type: ignore[misc]  # a Bluetooth address has another shape


def _is_here(place: Place) -> bool:
    """Return whether this machine has the address of `place`: without IPv6 there is no ::1."""
    try:
        with _bound(place, 0):
            return True
    except OSError:
        return False


def _listen_on(places: Iterable[Place], port: int) -> tuple[socket.socket, ...]:
    """Bind and listen on all places with one port.

    Raises:
        OSError: one place failed; no socket is left open.
    """
    sockets: list[socket.socket] = []
    try:
        for place in places:
            sockets.append(_bound(place, port))
            sockets[-1].listen(BACKLOG)
            port = port or sockets[-1].getsockname()[1]
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return tuple(sockets)


def _bound(place: Place, port: int) -> socket.socket:
    family, (address, _, *scope) = place
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":  # there SO_REUSEADDR would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)  # noqa: FBT003 - the socket module's signature
        listener.bind((address, port, *scope))
    except OSError:
        listener.close()
        raise
    return listener


def _hosts(host: str, places: Iterable[Place]) -> tuple[str, ...]:
    """Return names of `host` that clients can use; for `*`, the addresses that this machine sends from."""
    anywhere = [family for family, (address, *_) in places if address == _ANYWHERE.get(family)]
    if not anywhere:
        return (host,)
    return tuple(address for family in anywhere if (address := _own_address(family))) or ("localhost",)


def _own_address(family: socket.AddressFamily) -> str | None:
    """Return the address that this machine sends from, if any; to connect a UDP socket sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_OUTSIDE[family], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _problem(error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return Problem(N_("it is not an address of this machine"))
    if error.errno in (errno.EACCES, errno.EPERM):
        return Problem(N_("this user may not take the port"))
    return os.strerror(error.errno) if error.errno else str(error)
