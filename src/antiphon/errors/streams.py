"""Errors of the standard streams: output that cannot be written, input that cannot be read; exit code 1."""

from antiphon.errors.base import AntiphonError
from antiphon.language import N_


class OutputFailed(AntiphonError):
    """Standard output or standard error cannot be written."""

    code = "output-failed"
    blame = "user"
    sentence = N_("{stream} cannot be written: {problem}.")
    hint = N_("Not everything was shown. Make room, or send the output elsewhere.")


class OutputClosed(OutputFailed):
    """The reader of the output has closed it, as `head` and a pager do; the command ends without a message."""

    code = "output-closed"
    sentence = N_("{stream} has no reader any more.")
    hint = ""


class SecretNotShown(OutputFailed):
    """A secret that is shown only once is in force, but its output could not be written."""

    code = "secret-not-shown"
    sentence = N_("{secret} could not be shown: {problem}.")
    hint = N_("It is valid nevertheless. Run the command again to make another one.")


class InputFailed(AntiphonError):
    """Standard input cannot be read any further, and its end was not reached."""

    code = "input-failed"
    blame = "user"
    sentence = N_("Standard input cannot be read: {problem}.")
    hint = N_("The input after this point was not read.")
