"""Init process: what the command is as process 1 of a container.

The system gives process 1 every process whose parent has ended, to be reaped, and no default action for signals:
SIGTERM would be ignored by a command that has no handler for it. So the command runs in a child.
"""

import contextlib
import os
import signal

_PASSED_ON = {
    number
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if (number := getattr(signal, name, None)) is not None
}
_BY_KERNEL = 0x80
"""`si_code` of a signal from the terminal: the child, in the same process group, has got it too."""


def continue_below_init() -> None:
    """Return in a child if this is process 1; as its parent, reap processes and pass signals on."""
    if os.getpid() != 1 or not hasattr(signal, "sigwaitinfo"):
        return
    waited = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, waited
    )  # a signal to process 1 is kept only while it is blocked
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        came = signal.sigwaitinfo(waited)
        if came.si_signo == signal.SIGCHLD:
            _reap(child)
        elif came.si_code != _BY_KERNEL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, came.si_signo)


def _reap(child: int) -> None:
    """Reap every process that has ended; end as `child` did, if it is among them."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                os._exit(code if code >= 0 else 128 - code)
