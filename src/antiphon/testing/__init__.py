"""Test tools for services: a service in memory, a real server in a thread, and a proxy that breaks connections."""

from antiphon.testing.proxy import FaultProxy, LinkFault
from antiphon.testing.running import RunningServer
from antiphon.testing.service import Service, session

__all__ = ["FaultProxy", "LinkFault", "RunningServer", "Service", "session"]
