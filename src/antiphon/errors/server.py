"""Faults of this program, of the server, of its store and of its service; exit code 1."""

from antiphon.errors.base import AntiphonError
from antiphon.language import N_


class Fault(AntiphonError):
    """A fault of this program; the traceback is saved to a file."""

    code = "fault"
    blame = "program"
    sentence = N_("This program has failed, and it is not your fault.")
    hint = N_("The details are in {path}; please send that file to the authors.")


class ServerError(AntiphonError):
    """A fault of the server; the details are in its log only, not told to the peer."""

    code = "server-error"
    sentence = N_("The server failed.")
    hint = N_("The reason is in the server's log.")


class TryLater(ServerError):
    """The store does not answer in time, or the server is overloaded."""

    code = "try-later"
    sentence = N_("The server cannot do this now.")
    hint = N_("Try again in {wait} s.")

    def __init__(self, *, wait: float = 3, **fields: object) -> None:
        """Create the error; `wait` is in how many seconds to try again."""
        super().__init__(wait=wait, **fields)
        self.fields.setdefault("wait", f"{wait:g}")


class ServiceFailed(ServerError):
    """The service raised while it handled the message."""

    code = "service-failed"
    sentence = N_("The service failed on this message.")
    hint = N_("The session goes on; the reason is in the server's log.")


class ServiceTooSlow(ServerError):
    """The service took longer than `--service-seconds` and was cancelled."""

    code = "service-too-slow"
    sentence = N_("The service took too long to answer this message.")
    hint = N_("The session goes on. What the service has done so far is not undone.")


class AnswerInvalid(ServerError):
    """The service answered, and the answer does not fit the type that the client asked for (`returns`)."""

    code = "answer-invalid"
    sentence = N_("The answer does not fit what was asked for: {problem}{place}.")
    hint = N_("The message was handled. Compare “returns” with what “antiphon schema” prints.")


class OutcomeUnknown(ServerError):
    """The connection or the server broke before a message was answered: it may have been handled or not."""

    code = "outcome-unknown"
    sentence = N_("It is not known whether this message was handled: the connection broke before the answer.")
    hint = N_(
        "It was not sent again; check whether it took effect, and send it again if doing it twice is harmless."
    )


class ChangeUnknown(ServerError):
    """The store did not say in time whether it has kept the new password: it may be changed or not."""

    code = "change-unknown"
    sentence = N_("It is not known whether the password was changed: the server did not answer in time.")
    hint = N_("Try the new password at the next sign-in; if it is refused, the old one still counts.")


class WorkerEnded(ServerError):
    """A worker process ended before it served, without an error of its own."""

    code = "worker-ended"
    sentence = N_("A worker process ended ({end}) before it served.")
    hint = N_("If it has said why, that stands above; else look into the server's log.")


class ReloadFailed(ServerError):
    """A running server could not load what has changed, and goes on with what it had."""

    code = "reload-failed"
    sentence = N_("The server of process {pid} goes on with what it had: {problem}")
    hint = N_("Mend that, and reload again.")
