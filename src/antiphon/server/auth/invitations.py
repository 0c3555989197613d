"""Invitations at the sign-in: looked up by their hash, with a limit on guesses.

The store uses an invitation up, in the transaction that keeps the account.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator
from datetime import datetime

from antiphon.errors import InvitationRefused, TryLater
from antiphon.identity.invitations import Secret, fingerprint
from antiphon.identity.names import Name
from antiphon.server.listen.limits import TABLE_SIZE, RegistrationLimits
from antiphon.store.contracts import Invitations, check_invitation

WRONG_MOST = 100
"""Most unknown secrets in an hour from one source. Nobody guesses 128 bits, but nobody needs to try for ever."""


class InvitationCheck:
    """Checks the invitations that clients of one server show."""

    def __init__(
        self, store: Invitations, token_key: bytes, clock: Callable[[], datetime], *, most: int = WRONG_MOST
    ) -> None:
        """Look up in `store`, by hashes under the key ring's `token_key`; `most` replaces `WRONG_MOST`."""
        self._store = store
        self._key = token_key
        self._clock = clock
        self._wrong = RegistrationLimits(most, TABLE_SIZE)

    async def check(self, secret: bytes, name: Name, host: str) -> None:
        """Check that a secret shown from `host` lets `name` register now.

        Raises:
            InvitationRefused: it does not.
            TryLater: too many secrets from `host` were wrong; this one was not looked at.
        """
        with self.looking(secret, host) as mark:
            check_invitation(await self._store.find(mark), name, self._clock())

    @contextlib.contextmanager
    def looking(self, secret: bytes, host: str) -> Iterator[bytes]:
        """Yield the hash by which to look the secret up; if the block finds it unknown, it counts for `host`.

        Raises:
            TryLater: too many secrets from `host` were wrong.
        """
        # Counted as wrong before it is looked at: of guesses that arrive together, none is free.
        wait = self._wrong.admit(host, asyncio.get_running_loop().time())
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
