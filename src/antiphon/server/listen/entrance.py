"""Entrance of a server: where its connections come from, and the limits that hold before they are signed in.

A server has a port of its own (`OwnPort`), or is a worker whose supervisor passes sockets to it
(`workers/link.py`).
"""

import asyncio
import contextlib
import random
from typing import Protocol

from antiphon.errors import AnyoneRefused, ExposureRefused
from antiphon.observe.log import ServerLog
from antiphon.server.listen.accept import Acceptor, Take
from antiphon.server.listen.limits import (
    TABLE_SIZE,
    WRONG_MOST,
    AdmissionLimits,
    HourlyLimits,
    Places,
    RegistrationLimits,
    SourceFailures,
)
from antiphon.server.listen.ports import Listening, listen
from antiphon.settings import DEFAULT_PORT, ServerSettings


class Entrance(Protocol):
    """Where the connections of one server come from."""

    @property
    def limits(self) -> Places:
        """The limits on connections that are not signed in."""

    @property
    def hourly(self) -> HourlyLimits:
        """The limits on registrations, failures and wrong invitations."""

    @property
    def announces(self) -> bool:
        """Whether the server tells the data folder, the port file and the log where it listens."""

    @property
    def announces_control(self) -> bool:
        """Whether the server has a control socket; a worker's supervisor has one for all."""

    def listen(self, settings: ServerSettings, last_port: int | None) -> Listening:
        """Return where clients reach the server, as `listen_as_set`. It is closed when the drain begins."""

    async def accept(self, take: Take, log: ServerLog) -> None:
        """Have `take` take each socket that is accepted, until cancelled."""


def listen_as_set(settings: ServerSettings, last_port: int | None) -> Listening:
    """Listen where `settings` say; on the port `last_port` if they name none.

    Raises:
        PortTaken, AddressUnavailable: as `listen`.
    """
    port = settings.port if settings.port is not None else last_port or DEFAULT_PORT
    return listen(settings.host, port, strict=settings.strict_port)


def check_exposure(settings: ServerSettings, *, loopback: bool) -> None:
    """Check that what is only for this machine is not reachable from others, unless that was asked for.

    Raises:
        ExposureRefused, AnyoneRefused: it is: plain TCP, or a server that lets anyone in.
    """
    if settings.plain and not (loopback or settings.plain_anywhere):
        raise ExposureRefused(host=settings.host)
    if settings.access == "anyone" and not (loopback or settings.anyone_anywhere):
        raise AnyoneRefused(host=settings.host)


def admission_limits(settings: ServerSettings) -> AdmissionLimits:
    """Return the limits on connections that are not signed in, as `settings` say."""
    return AdmissionLimits(
        settings.entry_begin, settings.entry_rate, settings.entry_most, settings.entry_source, random.random
    )


def hourly_limits(settings: ServerSettings) -> HourlyLimits:
    """Return the limits for each hour, as `settings` say."""
    return HourlyLimits(
        RegistrationLimits(settings.registrations_source, settings.registrations_most),
        SourceFailures(),
        RegistrationLimits(WRONG_MOST, TABLE_SIZE),
    )


async def accept_all(listening: Listening, take: Take, log: ServerLog, room: asyncio.Event | None = None) -> None:
    """Accept on all sockets of `listening` until cancelled; the arguments are those of `Acceptor`."""
    acceptors = [asyncio.ensure_future(Acceptor(each, take, log, room=room).run()) for each in listening.sockets]
    try:
        await asyncio.gather(*acceptors)
    finally:
        for each in acceptors:
            each.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*acceptors, return_exceptions=True)


class OwnPort:
    """The `Entrance` of a server that listens itself."""

    announces = announces_control = True

    def __init__(self, settings: ServerSettings) -> None:
        """Limit what comes in as `settings` say."""
        self.limits = admission_limits(settings)
        self.hourly = hourly_limits(settings)
        self._listening: Listening

    def listen(self, settings: ServerSettings, last_port: int | None) -> Listening:
        """See `Entrance`."""
        self._listening = listen_as_set(settings, last_port)
        return self._listening

    async def accept(self, take: Take, log: ServerLog) -> None:
        """See `Entrance`."""
        await accept_all(self._listening, take, log)
