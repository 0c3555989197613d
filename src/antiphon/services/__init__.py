"""What answers: the contract of a service, and the services that come with the package."""

from antiphon.services.contract import Answer, Handler
from antiphon.services.echo import echo

__all__ = ["Answer", "Handler", "echo"]
