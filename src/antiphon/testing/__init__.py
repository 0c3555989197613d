"""Help for tests of a service of one's own: a link that breaks where one wants it to."""

from antiphon.testing.proxy import Fault, FaultProxy

__all__ = ["Fault", "FaultProxy"]
