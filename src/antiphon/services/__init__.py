"""Services: the contract of a handler, and the services that ship with Antiphon."""

from antiphon.services.chat import Chat
from antiphon.services.contract import Answer, Handler, Lifespan, Reply, ServiceServer, Session
from antiphon.services.echo import echo
from antiphon.services.loading import load
from antiphon.services.program import Program
from antiphon.services.service import Service, as_service

__all__ = [
    "Answer",
    "Chat",
    "Handler",
    "Lifespan",
    "Program",
    "Reply",
    "Service",
    "ServiceServer",
    "Session",
    "as_service",
    "echo",
    "load",
]
