"""Words of the page for what the log and the wire say in codes."""

from antiphon.language import N_

ENDS = {
    "broken-off": N_("the connection was lost"),
    "closed": N_("ended by the service"),
    "cut": N_("cut by the server"),
    "expired": N_("its time was over"),
    "left": N_("said goodbye"),
    "replaced": N_("goes on over another connection"),
    "revoked": N_("revoked"),
}
"""How the connection of a session has ended, by the event of the log."""

REFUSALS = {
    "refused": N_("sign-in refused"),
    "cut": N_("connection cut"),
    "message-refused": N_("message refused"),
}
"""What was refused, by the event of the log."""

SILENT = N_("The server does not answer: these figures are {seconds} s old.")
"""Meaning of a report that is old: the event loop of the process does not run."""
SILENT_ADVICE = N_("A handler blocks it. Use --workers, or let the service wait with await.")
STARTING = N_("The server starts: it has said nothing yet.")
STARTING_ADVICE = N_("Wait a moment; if it stays so, look into the log.")
