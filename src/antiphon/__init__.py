"""Sign-in and sessions in front of any conversation over TCP.

`serve` and `Server` serve a handler, which sees each person as a `Session`; `connect` opens a `ClientSession` with
a server. Each name is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from antiphon.version import __version__ as __version__

if TYPE_CHECKING:
    from antiphon.client.aio.connect import connect as connect
    from antiphon.client.aio.session import ClientSession as ClientSession
    from antiphon.options import ServerOptions as ServerOptions
    from antiphon.server.run import serve as serve
    from antiphon.server.server import Server as Server
    from antiphon.services.contract import Answer as Answer
    from antiphon.services.contract import Handler as Handler
    from antiphon.services.contract import Lifespan as Lifespan
    from antiphon.services.contract import Reply as Reply
    from antiphon.services.contract import ServiceServer as ServiceServer
    from antiphon.services.contract import Session as Session
    from antiphon.services.service import service as service
    from antiphon.topics import Subscriber as Subscriber

__all__ = [
    "Answer",
    "ClientSession",
    "Handler",
    "Lifespan",
    "Reply",
    "Server",
    "ServerOptions",
    "ServiceServer",
    "Session",
    "Subscriber",
    "__version__",
    "connect",
    "serve",
    "service",
]

_HANDED_ON = {
    "Answer": "antiphon.services.contract",
    "ClientSession": "antiphon.client.aio.session",
    "Handler": "antiphon.services.contract",
    "Lifespan": "antiphon.services.contract",
    "Reply": "antiphon.services.contract",
    "Server": "antiphon.server.server",
    "ServerOptions": "antiphon.options",
    "ServiceServer": "antiphon.services.contract",
    "Session": "antiphon.services.contract",
    "Subscriber": "antiphon.topics",
    "connect": "antiphon.client.aio.connect",
    "serve": "antiphon.server.run",
    "service": "antiphon.services.service",
}
"""Public name to module. The import is lazy, so a client loads no server code and a server no client code."""


if not TYPE_CHECKING:  # or a type checker would let every name pass

    def __getattr__(name: str) -> Any:
        if name not in _HANDED_ON:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HANDED_ON[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HANDED_ON})
