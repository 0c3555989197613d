"""Refusals: sign-ins and password changes that are refused, in the log and in the count of the name."""

import contextlib
import math
from collections.abc import Iterator

from antiphon.errors import (
    AntiphonError,
    InvitationRefused,
    NameInvalid,
    SignInError,
    SignInRefused,
    TooManyRefusals,
    TryLater,
)
from antiphon.observe.log import ServerLog
from antiphon.server.auth.throttle import Throttle
from antiphon.server.peer import Peer
from antiphon.server.tasks import BackgroundTasks
from antiphon.wire.conversation import REFUSAL_LIMIT

UNLIMITED = math.inf
"""Limit of a connection that does not end because of refusals."""


class Refusals:
    """Refusals on one connection."""

    __slots__ = ("_address", "_count", "_log", "_most", "_tasks", "_throttle")

    def __init__(
        self,
        peer: Peer,
        throttle: Throttle,
        tasks: BackgroundTasks,
        log: ServerLog,
        *,
        most: float = REFUSAL_LIMIT,
    ) -> None:
        """Begin with none; the connection ends at the refusal that makes `most`, by `TooManyRefusals`."""
        self._address = peer.address
        self._throttle = throttle
        self._tasks = tasks
        self._log = log
        self._most = most
        self._count = 0

    def log(self, name: str | None, code: str, why: str | None = None) -> None:
        """Log a refusal that does not count: nothing was guessed. `why` is as in `count`."""
        # fail2ban finds the address by what follows it: nothing that a peer chooses may stand behind it.
        self._log.warning("refused", name=name or None, address=self._address, code=code, why=why)

    def count(
        self, name: str | None, key: str | None = None, code: str = SignInRefused.code, why: str | None = None
    ) -> None:
        """Log a refusal and count it, for this connection and for the name, whoever has it (promise 5).

        Args:
            name: the name as it was claimed, if any was.
            key: what attempts under the name are counted by; None to count for the connection alone.
            code: of the error.
            why: one word of docs/monitoring.md, for the log alone.

        Raises:
            TooManyRefusals: it is the last one that this connection may have.
        """
        self.log(name, code, why)
        if key is not None:
            self._tasks.start(self._count_for(key, name))
        self._count += 1
        if self._count >= self._most:
            raise TooManyRefusals

    async def _count_for(self, key: str, name: str | None) -> None:
        """Count a refusal for a name; an error of the store is logged, and the peer learns nothing of it."""
        try:
            await self._throttle.refused(key)
        except AntiphonError as error:
            self._log.exception("store-failed", code=error.code, name=name or None)

    @contextlib.contextmanager
    def of_registration(self, claimed: str) -> Iterator[None]:
        """Log every refusal in a block that registers the name `claimed`.

        An unknown invitation counts as a wrong password does.
        """
        try:
            yield
        except InvitationRefused as error:
            self.count(claimed, code=error.code)
            raise
        except (SignInError, NameInvalid, TryLater) as error:
            self.log(claimed, error.code)
            raise
