"""Servers that do not listen by themselves: behind a supervisor, or on sockets of a service manager."""

from antiphon.server.listen.entrance import Entrance, OwnPort
from antiphon.server.manager import ServiceManager
from antiphon.server.server import Server
from antiphon.server.topics.contract import Broker
from antiphon.services import Handler
from antiphon.settings import ServerSettings


def server_behind(
    entrance: Entrance, broker: Broker, handler: Handler, settings: ServerSettings, language: str
) -> Server:
    """Return a server whose connections come from `entrance`, with its end of a broker.

    The other arguments are those of `Server`.

    Raises:
        ServiceInvalid: `handler` cannot be served.
    """
    server = Server(handler, settings, language=language)
    server._entrance, server._broker = entrance, broker  # noqa: SLF001 - this module is its other part
    return server


def managed(server: Server, manager: ServiceManager) -> None:
    """Have `server`, which is not open, listen on the sockets of `manager`, and tell it of reloads and the end."""
    server._entrance = OwnPort(server.settings, manager.passed)  # noqa: SLF001 - as above
    server._manager = manager  # noqa: SLF001 - as above
