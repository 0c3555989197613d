"""Invitations at the sign-in: looked up by their hash, with a limit on guesses.

The store uses an invitation up, in the transaction that keeps the account.
"""

import contextlib
import math
from collections.abc import AsyncIterator, Callable
from datetime import datetime

from antiphon.errors import InvitationRefused, TryLater
from antiphon.identity.invitations import Secret, fingerprint
from antiphon.identity.names import Name
from antiphon.server.listen.limits import HourlyLimit
from antiphon.store.contracts import Invitations, check_invitation


class InvitationCheck:
    """Checks the invitations that clients of one server show."""

    def __init__(
        self, store: Invitations, token_key: bytes, clock: Callable[[], datetime], wrong: HourlyLimit
    ) -> None:
        """Look up in `store`, by hashes under the key ring's `token_key`; count unknown secrets in `wrong`."""
        self._store = store
        self._key = token_key
        self._clock = clock
        self._wrong = wrong

    async def check(self, secret: bytes, name: Name, host: str) -> None:
        """Check that a secret shown from `host` lets `name` register now.

        Raises:
            InvitationRefused: it does not.
            TryLater: too many secrets from `host` were wrong, or nobody counts them; this one was not looked at.
        """
        async with self.looking(secret, host) as mark:
            check_invitation(await self._store.find(mark), name, self._clock())

    @contextlib.asynccontextmanager
    async def looking(self, secret: bytes, host: str) -> AsyncIterator[bytes]:
        """Yield the hash by which to look the secret up; if the block finds it unknown, it counts for `host`.

        Raises:
            TryLater: too many secrets from `host` were wrong, or nobody counts them.
        """
        # Counted as wrong before it is looked at: of guesses that arrive together, none is free.
        wait = await self._wrong.count(host)
        if wait:
            raise TryLater(wait=math.ceil(wait))
        wrong = False
        try:
            yield fingerprint(Secret(secret), self._key)
        except InvitationRefused as error:
            wrong = type(error) is InvitationRefused  # the other errors are of known secrets: those are no guesses
            raise
        finally:
            if not wrong:
                self._wrong.forgive(host)
