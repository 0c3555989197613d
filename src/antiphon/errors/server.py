"""Faults of the program itself, of the server and of its store; exit code 1."""

from antiphon.errors.base import AntiphonError
from antiphon.language import N_


class Fault(AntiphonError):
    """A fault of this program; the trace is kept in a file."""

    code = "fault"
    blame = "program"
    sentence = N_("This program has failed, and it is not your fault.")
    hint = N_("The details are in {path}; please send that file to the authors.")


class ServerError(AntiphonError):
    """The server's own fault; its log knows more, the peer does not."""

    code = "server-error"
    sentence = N_("The server failed.")
    hint = N_("Its operator finds the reason in the log.")


class TryLater(ServerError):
    """The store does not answer now, or too much is going on."""

    code = "try-later"
    sentence = N_("The server cannot do this now.")
    hint = N_("Try again in {wait} seconds.")

    def __init__(self, *, wait: float = 3, **fields: object) -> None:
        """Say after how many seconds, `wait`, another try makes sense."""
        super().__init__(wait=wait, **fields)
        self.fields.setdefault("wait", f"{wait:g}")


class ServiceFailed(ServerError):
    """The service raised while it handled the message."""

    code = "service-failed"
    sentence = N_("The service failed on this message.")
    hint = N_("The session goes on; the reason is in the server's log.")


class ServiceTooSlow(ServerError):
    """The service took longer than it may, and was cancelled."""

    code = "service-too-slow"
    sentence = N_("The service took too long over this message.")
    hint = N_("The session goes on; what the service has done so far stands.")


class OutcomeUnknown(ServerError):
    """The connection or the server broke while a message was on its way: it may have been handled or not."""

    code = "outcome-unknown"
    sentence = N_("It is not known whether this message was handled: the connection broke on the way.")
    hint = N_(
        "It was not sent again; check whether it took effect, and send it again if doing it twice is harmless."
    )
