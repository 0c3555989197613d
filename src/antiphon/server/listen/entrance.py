"""Entrance of a server: where its connections come from, and the limits that hold before they are signed in.

A server has a port of its own (`OwnPort`), or is a worker whose supervisor passes sockets to it
(`workers/link.py`).
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Protocol

from antiphon.address import DEFAULT_PORT
from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_
from antiphon.observe.log import ServerLog
from antiphon.server.listen.accept import Acceptor, Take
from antiphon.server.listen.balancer import naming_clients
from antiphon.server.listen.limits import (
    TABLE_SIZE,
    WRONG_MOST,
    AdmissionLimits,
    HourlyLimits,
    Places,
    RegistrationLimits,
    SourceFailures,
)
from antiphon.server.listen.ports import Listening, Passed, listen, listening_on
from antiphon.settings import DEFAULT_HOST, ServerSettings

_PASSED = Problem(N_("the system has passed the socket to listen on; leave this option out"))


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


def listen_as_set(settings: ServerSettings, last_port: int | None, passed: Sequence[Passed] = ()) -> Listening:
    """Listen on the sockets that were passed, else where `settings` say; on `last_port` if they name no port.

    Raises:
        PortTaken, AddressUnavailable: as `listen`.
        SettingInvalid: as `listening_on`, or sockets were passed and `settings` say where to listen too.
    """
    if passed:
        for option, is_given in (("--port", settings.port is not None), ("--host", settings.host != DEFAULT_HOST)):
            if is_given:
                raise SettingInvalid(source=option, problem=_PASSED)
        return listening_on(passed)
    port = settings.port if settings.port is not None else last_port or DEFAULT_PORT
    return listen(settings.host, port, strict=settings.strict_port)


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


async def accept_all(
    listening: Listening,
    settings: ServerSettings,
    take: Take,
    log: ServerLog,
    room: asyncio.Event | None = None,
) -> None:
    """Accept on all sockets of `listening` until cancelled, as `settings` say.

    The other arguments are those of `Acceptor`.
    """
    with naming_clients(settings, take, log) as take_named:
        acceptors = [
            asyncio.ensure_future(Acceptor(each, take_named, log, room=room).run()) for each in listening.sockets
        ]
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

    def __init__(self, settings: ServerSettings, passed: Sequence[Passed] = ()) -> None:
        """Accept and limit what comes in as `settings` say; `passed` is as in `listen_as_set`."""
        self._settings = settings
        self._passed = passed
        self.limits = admission_limits(settings)
        self.hourly = hourly_limits(settings)
        self._listening: Listening

    def listen(self, settings: ServerSettings, last_port: int | None) -> Listening:
        """See `Entrance`."""
        self._listening = listen_as_set(settings, last_port, self._passed)
        return self._listening

    async def accept(self, take: Take, log: ServerLog) -> None:
        """See `Entrance`."""
        await accept_all(self._listening, self._settings, take, log)
