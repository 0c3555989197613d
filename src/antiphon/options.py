"""Keyword options of `Server` and `serve`, for type checkers and editors."""

import os
from typing import TypedDict

from antiphon.settings import Access, LogLevel, Registration

_Path = str | os.PathLike[str]


class ServerOptions(TypedDict, total=False):
    """Single fields of `ServerSettings` as keywords; a path may be text, with `~` for the home folder.

    A program that passes them on says `**options: Unpack[ServerOptions]`.
    """

    host: str
    port: int | None
    strict_port: bool
    port_file: _Path | None
    proxy_from: str | None
    plain: bool
    plain_anywhere: bool
    access: Access
    anyone_anywhere: bool
    data: _Path | None
    store: str | None
    relay_address: str | None
    log: _Path | None
    log_level: LogLevel
    status: str | None
    registration: Registration | None
    password_minimum: int
    message_limit: int
    session_unheld: float
    session_total: float
    entry_begin: int
    entry_rate: int
    entry_most: int
    entry_source: int
    registrations_source: int
    registrations_most: int
    handshake_seconds: float
    first_frame_seconds: float
    entry_seconds: float
    heartbeat_seconds: float
    silence_seconds: float
    write_seconds: float
    service_seconds: float
    drain_seconds: float
    drain_rate: float | None
