"""Every option of server and client, once: name, type, unit, default, help.

Nothing is read here. The command line, `ANTIPHON_*`, the TOML file, `--help` and the documents all come from
these declarations; a program of one's own fills the same classes directly.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_
from antiphon.wire.kinds import KIB, MESSAGE_LIMIT, MESSAGE_LIMIT_MOST

DEFAULT_PORT = 7862
DEFAULT_HOST = "localhost"
PASSWORD_MINIMUM = 15
"""Code points (promise 1)."""
PASSWORD_MINIMUM_LEAST = 8
"""The least that may be set (promise 1)."""
SECONDS_MOST = 10**9
"""The longest duration, 31 years; a WELCOME cannot carry more, and no clock can wait for infinity."""

PING_SIZE_LEAST = 16
"""Bytes of a message that holds its number."""
PING_CONNECTIONS_MOST = 1000
"""Sessions that one source may have where nobody proves a name."""
PING_DEPTH_MOST = 256
"""Messages that a session lets be on their way at once."""

SQLITE = "sqlite"
"""The store that stands in the data folder."""
EXEC_MEMORY_MOST = 2**40
"""MiB; more than any system counts."""
DRAIN_MOST = 15
"""Seconds; with what closing takes in the worst case, within the 30 of promise 24."""

Access = Literal["anyone", "identify", "authenticate"]
Registration = Literal["open", "closed"]
LogLevel = Literal["debug", "info", "warning", "error"]


_NOT_POSITIVE = Problem(N_("must be more than 0 and at most {highest}"))
_OUT_OF_RANGE = Problem(N_("must be from {lowest} to {highest}, not {value}"))
_NO_STORE = Problem(N_("must be sqlite or files:DIR, not “{store}”"))
_NO_HOME = Problem(N_("“{store}” names the home folder of a user who does not exist"))
_SILENCE_TOO_SHORT = Problem(N_("must be more than --heartbeat-seconds"))


def _option(default: Any, help: str) -> Any:  # noqa: A002 - the word under which the metadata keeps it
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What `antiphon serve` can be told."""

    host: str = _option(
        DEFAULT_HOST, "Where to listen: localhost (both IPv4 and IPv6), an address of this machine, or * for all."
    )
    port: int | None = _option(
        None,
        f"Port, 0 for any free one [default: the last one used, else {DEFAULT_PORT}]. Taken: the next free one.",
    )
    strict_port: bool = _option(False, "Fail when the port is taken instead of taking the next free one.")
    port_file: Path | None = _option(None, "Write the port that is listened on to this file.")
    plain: bool = _option(False, "Plain TCP instead of TLS; on this machine only.")
    plain_anywhere: bool = _option(
        False, "Plain TCP on any address: names and messages cross the network in clear."
    )
    access: Access = _option(
        "authenticate",
        "Who is let in: anyone; those who give a name, known by their address (identify); or those who prove it.",
    )
    anyone_anywhere: bool = _option(
        False, "Access for anyone on any address: whoever reaches this machine is let in."
    )
    data: Path | None = _option(
        None, "Folder for accounts, sessions, keys, certificate and log [default: this user's data folder]."
    )
    store: str = _option(
        SQLITE,
        "Where accounts are kept: sqlite (in the data folder), or files:DIR, for files that a person can read.",
    )
    log: Path | None = _option(None, "Log file [default: server.log in the data folder].")
    log_level: LogLevel = _option("info", "How much goes to the log; debug adds sizes received and sent.")
    registration: Registration | None = _option(
        None, "Whether new names are taken [default: on this machine only; with --access identify everywhere]."
    )
    password_minimum: int = _option(
        PASSWORD_MINIMUM, f"Characters that a new password must have; at least {PASSWORD_MINIMUM_LEAST}."
    )
    message_limit: int = _option(MESSAGE_LIMIT, f"Bytes in one message; at most {MESSAGE_LIMIT_MOST} (16 MiB).")
    session_unheld: float = _option(1800.0, "Seconds that a session lives without a connection.")
    session_total: float = _option(86400.0, "Seconds that a session lives in all.")
    entry_begin: int = _option(64, "Connections not signed in from which on new ones are dropped at random.")
    entry_rate: int = _option(30, "Percent of new connections dropped from there on, rising to all.")
    entry_most: int = _option(256, "Connections not signed in, at the most.")
    entry_source: int = _option(40, "Connections not signed in from one source (IPv4 address, IPv6 /64).")
    registrations_source: int = _option(100, "New names in an hour from one source (IPv4 address, IPv6 /64).")
    registrations_most: int = _option(1000, "New names in an hour, in all.")
    handshake_seconds: float = _option(5.0, "Seconds for the TLS handshake.")
    first_frame_seconds: float = _option(10.0, "Seconds from connecting to the first whole frame.")
    entry_seconds: float = _option(20.0, "Seconds from connecting to being signed in.")
    heartbeat_seconds: float = _option(20.0, "Seconds of sending nothing after which a heartbeat is sent.")
    silence_seconds: float = _option(40.0, "Seconds of hearing nothing after which a connection is cut.")
    write_seconds: float = _option(10.0, "Seconds in which a peer must take what waits for it, or 64 KiB of it.")
    service_seconds: float = _option(
        60.0, "Seconds that a service may take for an answer, or for the next one of many."
    )
    drain_seconds: float = _option(10.0, "Seconds that a stopping server gives to answers under way.")

    def __post_init__(self) -> None:
        """Check ranges; `SettingInvalid` names the option."""
        files_folder(self.store)
        _check_range("port", self.port, 0, 65535)
        _check_range("password-minimum", self.password_minimum, PASSWORD_MINIMUM_LEAST, 1024)
        _check_range("message-limit", self.message_limit, KIB, MESSAGE_LIMIT_MOST)
        _check_range("entry-rate", self.entry_rate, 0, 100)
        _check_range("entry-begin", self.entry_begin, 1, self.entry_most)
        for name in (
            "session_unheld", "session_total", "entry_source", "registrations_source", "registrations_most",
            "handshake_seconds", "first_frame_seconds", "entry_seconds", "heartbeat_seconds", "silence_seconds",
            "write_seconds", "service_seconds",
        ):  # fmt: skip
            _check_positive(_flag(name), getattr(self, name))
        _check_range("drain-seconds", self.drain_seconds, 0, DRAIN_MOST)
        if self.silence_seconds <= self.heartbeat_seconds:  # or those who keep to the heartbeat would be cut
            raise SettingInvalid(source="--silence-seconds", problem=_SILENCE_TOO_SHORT)


@dataclass(frozen=True, kw_only=True)
class ProgramSettings:
    """What `antiphon serve exec:COMMAND` can be told besides."""

    exec_wait: float = _option(1.0, "Seconds that a message waits for a program's first line.")
    exec_pause: float = _option(
        0.1, "Seconds of silence that end a program's answer; 0: every message is answered by one line."
    )
    exec_seconds: float | None = _option(
        None, "Seconds that a program may run [default: as long as its session lives]."
    )
    exec_memory: int = _option(1024, "MiB of address space for each process of a program; 0: any number.")
    exec_most: int = _option(100, "Programs that run at once, at the most.")

    def __post_init__(self) -> None:
        """Check ranges; `SettingInvalid` names the option."""
        _check_positive("--exec-wait", self.exec_wait)
        _check_range("exec-pause", self.exec_pause, 0, 60)
        if self.exec_seconds is not None:
            _check_positive("--exec-seconds", self.exec_seconds)
        _check_range("exec-memory", self.exec_memory, 0, EXEC_MEMORY_MOST)
        _check_range("exec-most", self.exec_most, 1, 100_000)


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """What `antiphon connect` can be told."""

    name: str | None = _option(None, "Who you are [default: the name in the address, else asked].")
    password_file: str | None = _option(None, "File whose first line is the password; - for standard input.")
    new_password_file: str | None = _option(
        None, "File whose first line is the new password, where the server asks for one; - for standard input."
    )
    invitation_file: str | None = _option(
        None, "File whose first line is an invitation; - for standard input. The variable is ANTIPHON_INVITATION."
    )
    register: bool = _option(False, "Become known under this name if it is new (on a terminal this is asked).")
    known_servers: Path | None = _option(
        None, "File of server keys that are known [default: known_servers in this user's data folder]."
    )
    timeout: float = _option(10.0, "Seconds to wait for a connection and for each step of the sign-in.")
    give_up: float = _option(60.0, "Seconds for which a connection that was lost is tried again.")
    explain: bool = _option(
        False, "Show each frame that goes or comes, in words and in bytes, on standard error; secrets stay hidden."
    )

    def __post_init__(self) -> None:
        """Check ranges; `SettingInvalid` names the option."""
        _check_positive("--timeout", self.timeout)
        _check_range("give-up", self.give_up, 0, SECONDS_MOST)


@dataclass(frozen=True, kw_only=True)
class PingSettings:
    """What `antiphon ping` can be told of what it sends and tells."""

    count: int | None = _option(None, "Messages in all [default: until Ctrl-C, or for --duration].")
    interval: float | None = _option(
        None,
        "Seconds from one message to the next in its place; 0: as fast as answers come "
        "[default: 1; with --connections, --depth or --duration 0].",
    )
    duration: float | None = _option(None, "Seconds in which messages are sent [default: no end].")
    size: int = _option(64, f"Bytes of a message; at least {PING_SIZE_LEAST}.")
    connections: int = _option(1, f"Connections, each with a session of its own; at most {PING_CONNECTIONS_MOST}.")
    depth: int | None = _option(
        None,
        f"Messages on their way at once on each connection; at most {PING_DEPTH_MOST} "
        f"[default: 1; with --rate {PING_DEPTH_MOST}].",
    )
    rate: float | None = _option(
        None, "Messages a second in all, whatever the answers take; times count from when each was due."
    )
    percentiles: str = _option("50,90,99,99.9", "Percentiles to tell, with commas between them.")
    fail_over: tuple[str, ...] = _option(
        (), "Exit code 7 over this limit: p99=5ms, mean=2ms, max=1s, lost=0.1%, wrong=0%; may be given again."
    )
    json: str | None = _option(None, "Write the figures to this file as JSON; - for standard output.")
    plot: Path | None = _option(None, "Draw the histogram into this file, .svg or (with antiphon[plot]) .png.")
    quiet: bool = _option(False, "No line for each answer and no live line; only the summary.")

    def __post_init__(self) -> None:
        """Check ranges; `SettingInvalid` names the option."""
        _check_range("count", self.count, 1, 10**12)
        _check_range("interval", self.interval, 0, SECONDS_MOST)
        _check_range("size", self.size, PING_SIZE_LEAST, MESSAGE_LIMIT_MOST)
        _check_range("connections", self.connections, 1, PING_CONNECTIONS_MOST)
        _check_range("depth", self.depth, 1, PING_DEPTH_MOST)
        _check_range("rate", self.rate, 0.001, 10**7)
        if self.duration is not None:
            _check_positive("--duration", self.duration)


def files_folder(store: str) -> Path | None:
    """Return the folder that a `--store` names, absolute; None for SQLite, which stands in the data folder.

    Raises:
        SettingInvalid: it is neither `sqlite` nor `files:DIR`.
    """
    scheme, _, folder = store.partition(":")
    if store == SQLITE:
        return None
    if scheme != "files" or not folder:
        raise SettingInvalid(source="--store", problem=_NO_STORE, store=store)
    try:
        return Path(folder).expanduser().absolute()
    except RuntimeError:  # ~name of nobody
        raise SettingInvalid(source="--store", problem=_NO_HOME, store=store) from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _check_positive(flag: str, value: float) -> None:
    if not 0 < value <= SECONDS_MOST:  # "not" refuses NaN too, which TOML can write
        raise SettingInvalid(source=flag, problem=_NOT_POSITIVE, highest=SECONDS_MOST)


def _check_range(name: str, value: float | None, lowest: float, highest: float) -> None:
    if value is not None and not lowest <= value <= highest:
        raise SettingInvalid(
            source=_flag(name), problem=_OUT_OF_RANGE, lowest=lowest, highest=highest, value=value
        )
