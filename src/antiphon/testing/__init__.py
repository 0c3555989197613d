"""Help for tests of a service of one's own: a link that breaks where one wants it to."""

from antiphon.testing.proxy import FaultProxy, LinkFault

__all__ = ["FaultProxy", "LinkFault"]
