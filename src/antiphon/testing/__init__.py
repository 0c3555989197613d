"""Help for tests of a service of one's own: a service in memory, a real one in a thread, a link that breaks."""

from antiphon.testing.proxy import FaultProxy, LinkFault
from antiphon.testing.running import RunningServer
from antiphon.testing.service import Service, session

__all__ = ["FaultProxy", "LinkFault", "RunningServer", "Service", "session"]
