"""Options of server and client: name, type, unit, default, range and help of each, declared once.

The command line, `ANTIPHON_*` variables, the TOML file, `--help` and the documents all come from these
declarations. This module reads none of them. A program fills the same classes directly.
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from antiphon.address import DEFAULT_PORT, RELAY_PORTS, status_place
from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_
from antiphon.setting_checks import SECONDS_MOST, check_positive, check_range, check_types, flag_of
from antiphon.store_address import NO_HOME, check_relay_address, check_store
from antiphon.wire.kinds import KIB, MESSAGE_LIMIT, MESSAGE_LIMIT_MOST

DEFAULT_HOST = "localhost"
PASSWORD_MINIMUM = 15
"""Code points (promise 1)."""
PASSWORD_MINIMUM_LEAST = 8
"""Lowest value of `--password-minimum` (promise 1)."""

PING_SIZE_LEAST = 16
"""Bytes of the smallest message: the digits of its number."""
PING_CONNECTIONS_MOST = 1000
"""The server allows this many unproved sessions from one source (IPv4 address, IPv6 /64)."""
PING_DEPTH_MOST = 256
"""Unanswered messages that a session allows at once."""

EXEC_MEMORY_MOST = 2**40
"""MiB; more than any system has."""
DRAIN_MOST = 15
"""Seconds. With the worst case of closing added, a stop stays within the 30 s of promise 24."""

LIMITS, TIMING, CLUSTER = "limits", "timing", "cluster"
"""Groups of options that few need; `--help` shows them apart."""

Access = Literal["anyone", "identify", "authenticate"]
Registration = Literal["open", "closed"]
Explain = Literal["no", "yes", "short"]
LogLevel = Literal["debug", "info", "warning", "error"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Settings = TypeVar("Settings", bound="ServerSettings | ProgramSettings | ClientSettings | PingSettings")


_NO_PLACE = Problem(N_("must be HOST:PORT or https://HOST:PORT, such as localhost:9464, not “{place}”"))
_NO_NETWORKS = Problem(
    N_("must be addresses or networks such as 10.0.0.0/8, separated by commas; “{value}” is neither")
)
_SILENCE_TOO_SHORT = Problem(N_("must be more than --heartbeat-seconds"))


_OF_THE_COMMAND = Problem(N_("only the command antiphon serve has this option"))
_UNKNOWN = Problem(N_("there is no such setting"))
_NEAREST = Problem(N_("there is no such setting; do you mean {nearest}?"))
COMMAND_ONLY = frozenset({"workers", "reload", "json", "no_input"})
"""Options of `antiphon serve` that `Server` does not have: they are about processes and terminals."""


def _option(default: Any, help: str, group: str = "") -> Any:  # noqa: A002 - the key in the metadata
    return field(default=default, metadata={"help": help, "group": group})


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Options of `antiphon serve`."""

    host: str = _option(
        DEFAULT_HOST, "Where to listen: localhost (both IPv4 and IPv6), an address of this machine, or * for all."
    )
    port: int | None = _option(
        None,
        f"Port; 0 for any free one [default: the one last asked for, else {DEFAULT_PORT}]. "
        "If it is taken, the next free one is used.",
    )
    strict_port: bool = _option(False, "Fail if the port is taken instead of using the next free one.")
    port_file: Path | None = _option(None, "Write the port that the server listens on to this file.")
    proxy_from: str | None = _option(
        None,
        "Addresses or networks of balancers, separated by commas: their connections begin with a header of the "
        "PROXY protocol, which names the client.",
        CLUSTER,
    )
    plain: bool = _option(False, "Plain TCP instead of TLS; on this machine only.")
    plain_anywhere: bool = _option(
        False, "Plain TCP on any address: names and messages cross the network unencrypted."
    )
    access: Access = _option(
        "authenticate",
        "Who may sign in: anyone; identify: whoever gives a name, recognised by address; "
        "authenticate: whoever proves a name with its password.",
    )
    anyone_anywhere: bool = _option(
        False, "Allow --access anyone on any address: everybody who can reach this machine gets in."
    )
    data: Path | None = _option(
        None, "Folder for accounts, sessions, keys, certificate and log [default: this user's data folder]."
    )
    store: str | None = _option(
        None,
        "Where accounts are kept: sqlite (in the data folder), files:DIR (files that a person can read), or "
        "postgresql://USER@HOST/DATABASE (with antiphon[postgres]; the password comes from ~/.pgpass) "
        "[default: as the last time with this data folder, else sqlite].",
    )
    relay_address: str | None = _option(
        None,
        "Be one of several nodes on one PostgreSQL database: HOST[:PORT[-PORT]] at which the others reach this "
        f"one; each process takes one of the ports [default ports: {RELAY_PORTS[0]}-{RELAY_PORTS[-1]}].",
        CLUSTER,
    )
    log: Path | None = _option(None, "Log file, or - for standard error [default: server.log in the data folder].")
    log_level: LogLevel = _option(
        "info", "Lowest level that is logged; debug adds the sizes of messages received and sent."
    )
    status: str | None = _option(
        None,
        "Answer /healthz, /readyz and /metrics (Prometheus) over HTTP at HOST:PORT, without sign-in, and show a "
        "page to administrators; https://HOST:PORT for TLS, without which the page is on this machine only. "
        "Needs antiphon[status].",
    )
    registration: Registration | None = _option(
        None, "Whether new names may register [default: on this machine only; with --access identify everywhere]."
    )
    password_minimum: int = _option(
        PASSWORD_MINIMUM, f"Characters that a new password must have; at least {PASSWORD_MINIMUM_LEAST}.", LIMITS
    )
    message_limit: int = _option(
        MESSAGE_LIMIT, f"Bytes in one message; at most {MESSAGE_LIMIT_MOST} (16 MiB).", LIMITS
    )
    session_unheld: float = _option(1800.0, "Seconds that a session lives without a connection.", TIMING)
    session_total: float = _option(86400.0, "Seconds that a session lives in all.", TIMING)
    entry_begin: int = _option(
        64, "Connections not signed in at which the server begins to drop new ones at random.", LIMITS
    )
    entry_rate: int = _option(
        30, "Percent of new connections dropped at --entry-begin; rises to all at --entry-most.", LIMITS
    )
    entry_most: int = _option(256, "Connections not signed in at which all new ones are dropped.", LIMITS)
    entry_source: int = _option(40, "Connections not signed in from one source (IPv4 address, IPv6 /64).", LIMITS)
    registrations_source: int = _option(100, "New names an hour from one source (IPv4 address, IPv6 /64).", LIMITS)
    registrations_most: int = _option(1000, "New names an hour, in all.", LIMITS)
    handshake_seconds: float = _option(5.0, "Seconds for the TLS handshake.", TIMING)
    first_frame_seconds: float = _option(10.0, "Seconds from connecting to the first whole frame.", TIMING)
    entry_seconds: float = _option(20.0, "Seconds from connecting to being signed in.", TIMING)
    heartbeat_seconds: float = _option(20.0, "Seconds without sending after which a heartbeat is sent.", TIMING)
    silence_seconds: float = _option(40.0, "Seconds without receiving after which a connection is cut.", TIMING)
    write_seconds: float = _option(
        10.0, "Seconds in which a peer must read all waiting data, or 64 KiB of it.", TIMING
    )
    service_seconds: float = _option(
        60.0, "Seconds that a service may take for an answer, or for the next one of a stream.", TIMING
    )
    drain_seconds: float = _option(10.0, "Seconds that a stopping server waits for answers in progress.", TIMING)
    drain_rate: float | None = _option(
        None,
        "Clients a second that a stopping server sends away, so that other nodes are not flooded; those that are "
        "left after half of --drain-seconds go at once [default: all at once].",
        TIMING,
    )

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            SettingInvalid: an option has the wrong type or is out of range; `source` names its flag.
        """
        check_types(self)
        if self.store is not None:
            check_store(self.store)
        if self.status is not None and status_place(self.status) is None:
            raise SettingInvalid(source="--status", problem=_NO_PLACE, place=self.status)
        if self.relay_address is not None:
            check_relay_address(self.relay_address, self.store)
        if self.proxy_from is not None:
            networks(self.proxy_from)
        check_range("port", self.port, 0, 65535)
        check_range("password-minimum", self.password_minimum, PASSWORD_MINIMUM_LEAST, 1024)
        check_range("message-limit", self.message_limit, KIB, MESSAGE_LIMIT_MOST)
        check_range("entry-rate", self.entry_rate, 0, 100)
        check_range("entry-begin", self.entry_begin, 1, self.entry_most)
        for name in (
            "session_unheld", "session_total", "entry_source", "registrations_source", "registrations_most",
            "handshake_seconds", "first_frame_seconds", "entry_seconds", "heartbeat_seconds", "silence_seconds",
            "write_seconds", "service_seconds",
        ):  # fmt: skip
            check_positive(flag_of(name), getattr(self, name))
        check_range("drain-seconds", self.drain_seconds, 0, DRAIN_MOST)
        if self.drain_rate is not None:
            check_positive("--drain-rate", self.drain_rate)
        if self.silence_seconds <= self.heartbeat_seconds:  # otherwise peers that keep the heartbeat would be cut
            raise SettingInvalid(source="--silence-seconds", problem=_SILENCE_TOO_SHORT)


@dataclass(frozen=True, kw_only=True)
class ProgramSettings:
    """Further options of `antiphon serve exec:COMMAND`."""

    exec_wait: float = _option(1.0, "Seconds to wait for the first line of a program's answer.")
    exec_pause: float = _option(
        0.1, "Seconds of silence that end a program's answer; 0: one line answers each message."
    )
    exec_seconds: float | None = _option(
        None, "Seconds that a program may run [default: as long as its session lives]."
    )
    exec_memory: int = _option(1024, "MiB of address space for each process of a program; 0: no limit.")
    exec_most: int = _option(100, "Most programs that run at once.")

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            SettingInvalid: an option has the wrong type or is out of range; `source` names its flag.
        """
        check_types(self)
        check_positive("--exec-wait", self.exec_wait)
        check_range("exec-pause", self.exec_pause, 0, 60)
        if self.exec_seconds is not None:
            check_positive("--exec-seconds", self.exec_seconds)
        check_range("exec-memory", self.exec_memory, 0, EXEC_MEMORY_MOST)
        check_range("exec-most", self.exec_most, 1, 100_000)


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """Options of `antiphon connect`."""

    name: str | None = _option(None, "Your name [default: the one in the address, else you are asked].")
    password_file: str | None = _option(None, "File whose first line is the password; - for standard input.")
    new_password_file: str | None = _option(
        None, "File whose first line is the new password, if the server asks for one; - for standard input."
    )
    invitation_file: str | None = _option(
        None, "File whose first line is an invitation; - for standard input. The variable is ANTIPHON_INVITATION."
    )
    register: bool = _option(False, "Register the name if it is new (on a terminal you are asked).")
    replace: bool = _option(
        False, "If there may be no more sessions and all are in use, end the oldest (on a terminal you are asked)."
    )
    known_servers: Path | None = _option(
        None, "File of known server keys, by host and port [default: known_servers in this user's data folder]."
    )
    timeout: float = _option(10.0, "Seconds to wait for a connection and for each step of the sign-in.")
    give_up: float = _option(60.0, "Seconds to try again after the connection is lost.")
    explain: Explain = _option(
        "no",
        "Show each frame sent or received, in words and in bytes, on standard error; secrets stay hidden. "
        "--explain alone is yes; --explain=short: in one line each.",
    )

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            SettingInvalid: an option has the wrong type or is out of range; `source` names its flag.
        """
        check_types(self)
        check_positive("--timeout", self.timeout)
        check_range("give-up", self.give_up, 0, SECONDS_MOST)


@dataclass(frozen=True, kw_only=True)
class PingSettings:
    """Options of `antiphon ping`: what it sends, measures and reports."""

    count: int | None = _option(None, "Messages in all [default: until Ctrl-C, or for --duration].")
    interval: float | None = _option(
        None,
        "Seconds between a message and the one that follows it; 0: as fast as answers come "
        "[default: 1; with --connections, --depth or --duration 0].",
    )
    duration: float | None = _option(None, "Seconds to send messages for [default: no end].")
    size: int = _option(64, f"Bytes of a message; at least {PING_SIZE_LEAST}.")
    connections: int = _option(1, f"Connections, each with a session of its own; at most {PING_CONNECTIONS_MOST}.")
    depth: int | None = _option(
        None,
        f"Unanswered messages at once on each connection; at most {PING_DEPTH_MOST} "
        f"[default: 1; with --rate {PING_DEPTH_MOST}].",
    )
    rate: float | None = _option(
        None,
        "Messages a second in all, however long answers take; times count from when each message was due.",
    )
    percentiles: str = _option("50,90,99,99.9", "Percentiles to report, separated by commas.")
    fail_over: tuple[str, ...] = _option(
        (), "Exit code 7 over this limit: p99=5ms, mean=2ms, max=1s, lost=0.1%, wrong=0%; may be repeated."
    )
    json: str | None = _option(None, "Write the figures to this file as JSON; - for standard output.")
    plot: Path | None = _option(None, "Draw the histogram into this file, .svg or (with antiphon[plot]) .png.")
    quiet: bool = _option(False, "Show only the summary: no line for each answer and no live line.")

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            SettingInvalid: an option has the wrong type or is out of range; `source` names its flag.
        """
        check_types(self)
        check_range("count", self.count, 1, 10**12)
        check_range("interval", self.interval, 0, SECONDS_MOST)
        check_range("size", self.size, PING_SIZE_LEAST, MESSAGE_LIMIT_MOST)
        check_range("connections", self.connections, 1, PING_CONNECTIONS_MOST)
        check_range("depth", self.depth, 1, PING_DEPTH_MOST)
        check_range("rate", self.rate, 0.001, 10**7)
        if self.duration is not None:
            check_positive("--duration", self.duration)


def networks(text: str) -> tuple[Network, ...]:
    """Return the networks that the value of `--proxy-from` names.

    Raises:
        SettingInvalid: a part of it is neither an address nor a network.
    """
    found: list[Network] = []
    for part in text.split(","):
        try:
            found.append(ipaddress.ip_network(part.strip()))
        except ValueError:
            raise SettingInvalid(source="--proxy-from", problem=_NO_NETWORKS, value=part.strip()) from None
    return tuple(found)


def changed(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Return `settings` with single fields replaced by `options`; a path may be text, with `~`.

    Raises:
        SettingInvalid: there is no such setting, or it cannot have this value.
    """
    types = get_type_hints(type(settings))
    known = [each.name for each in fields(settings)]
    for name in options:
        if name in COMMAND_ONLY and isinstance(settings, ServerSettings):
            raise SettingInvalid(source=name, problem=_OF_THE_COMMAND)
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise SettingInvalid(source=name, problem=_NEAREST if near else _UNKNOWN, nearest="".join(near))
    given: dict[str, Any] = {
        name: _path(name, value) if Path in get_args(types[name]) else value for name, value in options.items()
    }
    changed_settings: Settings = replace(settings, **given)
    return changed_settings


def _path(name: str, value: object) -> object:
    """Return the path that a program gives as text or as an object, with `~` expanded; anything else unchanged."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        return value
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~name, and no user has the name
        raise SettingInvalid(source=flag_of(name), problem=NO_HOME, store=text) from None
