"""Home process of a connection: the one that opened it, and the only one that may use it.

Two processes that share a connection read each other's answers, and two that write to it over TLS break it.
"""

import os

from antiphon.errors import Problem, UsageError
from antiphon.language import N_

_ELSEWHERE = Problem(
    N_("This session belongs to the process that opened it. Call connect in this one, after the fork.")
)


forks: list[None] = []
"""As long as this process has forked ancestors that have imported this module: an id that costs no call."""
if hasattr(os, "register_at_fork"):  # where there is no fork, there is no other process
    os.register_at_fork(after_in_child=lambda: forks.append(None))


class HomeProcess:
    """The process that this object was made in."""

    __slots__ = ("_forks",)

    def __init__(self) -> None:
        """Remember this process."""
        self._forks = len(forks)

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is another process, forked after this object was made."""
        return len(forks) != self._forks

    def check(self) -> None:
        """Let only the home process pass.

        Raises:
            UsageError: this is another process.
        """
        if len(forks) != self._forks:
            raise UsageError(problem=_ELSEWHERE)
