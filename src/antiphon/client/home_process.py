"""Home process of a connection: the one that opened it, and the only one that may use it.

Two processes that share a connection read each other's answers, and two that write to it over TLS break it.
"""

import os

from antiphon.errors import Problem, UsageError
from antiphon.language import N_

_ELSEWHERE = Problem(
    N_("This session belongs to the process that opened it. Call connect in this one, after the fork.")
)


class HomeProcess:
    """The process that this object was made in."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        """Remember this process."""
        self._pid = os.getpid()

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is another process, forked after this object was made."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Let only the home process pass.

        Raises:
            UsageError: this is another process.
        """
        if self.is_elsewhere:
            raise UsageError(problem=_ELSEWHERE)
