"""Errors that report the result of `antiphon ping`; exit codes 1 and 7."""

from antiphon.errors.base import AntiphonError
from antiphon.errors.server import ServerError
from antiphon.language import N_


class AnswersFaulty(ServerError):
    """Not every message of a run came back as it was sent."""

    code = "answers-faulty"
    sentence = N_("Of {sent} messages sent, {wrong} were answered wrongly and {lost} not at all.")
    hint = N_("Only a service that returns each message unchanged can be measured; the server's log may say more.")


class OverThreshold(AntiphonError):
    """The figures of a run are over a limit of `--fail-over`."""

    code = "over-threshold"
    blame = "network"
    exit_code = 7
    sentence = N_("Over the limit: {limits}.")
