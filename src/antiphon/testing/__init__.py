"""Test tools for services: in memory, in virtual time, as a real server, and over connections that break."""

from antiphon.testing.proxy import FaultProxy, LinkFault
from antiphon.testing.running import RunningServer
from antiphon.testing.server_process import ServerProcess
from antiphon.testing.service import Service, session, sessions
from antiphon.testing.virtual_time import VirtualLoop, virtual_time

__all__ = [
    "FaultProxy",
    "LinkFault",
    "RunningServer",
    "ServerProcess",
    "Service",
    "VirtualLoop",
    "session",
    "sessions",
    "virtual_time",
]
