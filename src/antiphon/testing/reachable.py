"""Base of the real servers of `antiphon.testing`: an address, and sessions that end with the server."""

import contextlib
from abc import ABC, abstractmethod
from contextlib import ExitStack
from types import TracebackType

from antiphon import blocking
from antiphon.address import Address

PASSWORD = "correct horse battery"  # noqa: S105 - of accounts that exist during a test only
"""Default password of `Reachable.connect`."""


class Reachable(ABC):
    """A server that can be connected to during a block."""

    def __init__(self) -> None:
        """Start without sessions."""
        self._closing = ExitStack()

    @property
    @abstractmethod
    def address(self) -> Address:
        """The server's address with the fingerprint of its key; `str(address)` is ready to paste."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the sessions and stop the server."""
        self._closing.__exit__(kind, error, trace)

    def connect(self, name: str = "ann", password: str = PASSWORD) -> blocking.Session:
        """Sign in as `name`, registering it if it is new; return the session of the blocking client.

        Hashing the password takes 0.2 s, twice that for a new name.

        Raises:
            AntiphonError: as `blocking.connect`.
        """
        session = blocking.connect(self.address, name=name, password=password, register=True)
        return self._closing.enter_context(contextlib.closing(session))
