"""Reach of a server: who can come to it, and what it must not offer there."""

from typing import NamedTuple

from antiphon.errors import AnyoneRefused, ExposureRefused
from antiphon.server.listen.ports import Listening
from antiphon.settings import ServerSettings


class Reach(NamedTuple):
    """Who can come to a server."""

    loopback: bool
    """Whether only this machine can reach it."""
    registration: bool
    """Whether new names may register."""


def reach_of(settings: ServerSettings, listening: Listening) -> Reach:
    """Return the reach of a server that listens.

    Raises:
        ExposureRefused: others would send names and messages over plain TCP.
        AnyoneRefused: everybody who can reach this machine would get in.
    """
    # Clients of a balancer are on other machines, wherever it connects from.
    loopback = listening.loopback and settings.proxy_from is None
    if settings.plain and not (loopback or settings.plain_anywhere):
        raise ExposureRefused(host=settings.host)
    if settings.access == "anyone" and not (loopback or settings.anyone_anywhere):
        raise AnyoneRefused(host=settings.host)
    return Reach(loopback, _takes_names(settings, loopback=loopback))


def _takes_names(settings: ServerSettings, *, loopback: bool) -> bool:
    """Return whether new names are taken: where nobody has to prove one, to ask for it is the whole point."""
    if settings.access == "anyone":
        return False
    if settings.registration is None:
        return loopback or settings.access == "identify"
    return settings.registration == "open"
