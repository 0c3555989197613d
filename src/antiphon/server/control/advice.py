"""Advice: what each problem of a report means, and what to do, for the command and the page."""

from antiphon.language import N_

PROBLEMS = {
    "certificate-expired": N_("The certificate has expired: clients that check its time refuse it."),
    "certificate-expires": N_("The certificate expires within {days} days."),
    "certificate-not-yet-valid": N_("The certificate is not valid yet: clients that check its time refuse it."),
    "draining": N_("It stops: nobody new is let in."),
    "log-lost": N_("The log cannot be written: the disk is full, or the file is gone."),
    "nobody-serves": N_("No worker serves."),
    "overloaded": N_("A process keeps its clients waiting for half a second and more."),
    "starting": N_("It starts: nobody is let in yet."),
    "store-away": N_("The store does not answer: nobody can sign in."),
    "worker-missing": N_("A worker is missing; it is started again."),
    "worker-silent": N_("A worker does not answer; its stacks are in the log after 10 s."),
}
"""Meaning of each problem of a report."""

ADVICE = {
    "certificate-expired": N_("Renew it, then run: antiphon reload"),
    "certificate-expires": N_("Renew it, then run: antiphon reload"),
    "certificate-not-yet-valid": N_("Look at the clock of this machine, or wait."),
    "draining": N_("Nothing is to be done; sessions go on when the next server has started."),
    "log-lost": N_("Make room on the disk."),
    "nobody-serves": N_("Look for worker-died in the log; if workers keep dying, it is the service."),
    "overloaded": N_("Use --workers, or let the service wait with await."),
    "starting": N_("Wait a moment; if it stays so, look into the log."),
    "store-away": N_("Look for store-failed in the log: a full disk, or a program that locks the database."),
    "worker-missing": N_("Wait a moment; if it stays so, look for worker-died in the log."),
    "worker-silent": N_("Look for worker-silent in the log: it shows what blocks the worker."),
}
"""What to do about it."""
