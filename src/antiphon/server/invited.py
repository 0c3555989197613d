"""What the server does about an invitation: it looks it up by its hash, and lets nobody guess.

Using one up is left to the store, in one transaction with the account.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator
from datetime import datetime

from antiphon.errors import InvitationRefused, TryLater
from antiphon.identity.invitations import Secret, fingerprint
from antiphon.identity.names import Name
from antiphon.server.caps import TABLE_SIZE, RegistrationCaps
from antiphon.store.contracts import Invitations, check_invitation

WRONG_MOST = 100
"""Unknown secrets in an hour from one source; 128 bits are not guessed, but nobody need try for ever."""


class Invited:
    """The invitations of a server, as those who come with one meet them."""

    def __init__(self, store: Invitations, token_key: bytes, clock: Callable[[], datetime]) -> None:
        """Look up in `store`, by hashes under the key ring's `token_key`."""
        self._store = store
        self._key = token_key
        self._clock = clock
        self._wrong = RegistrationCaps(WRONG_MOST, TABLE_SIZE)

    async def check(self, secret: bytes, name: Name, host: str) -> None:
        """Check that a secret shown from `host` lets `name` register now.

        Raises:
            InvitationRefused: it does not.
            TryLater: too many from there were wrong, and it was not looked at.
        """
        with self.looking(secret, host) as mark:
            check_invitation(await self._store.find(mark), name, self._clock())

    @contextlib.contextmanager
    def looking(self, secret: bytes, host: str) -> Iterator[bytes]:
        """Give the hash by which to look the secret up; a block that does not know it counts against `host`.

        Raises:
            TryLater: too many from there were wrong.
        """
        # Counted as wrong before it is looked at: of guesses that come at once, none is free.
        wait = self._wrong.admit(host, asyncio.get_running_loop().time())
        if wait:
            raise TryLater(wait=math.ceil(wait))
        wrong = False
        try:
            yield fingerprint(Secret(secret), self._key)
        except InvitationRefused as error:
            wrong = type(error) is InvitationRefused  # of the others the secret was known: they are no guesses
            raise
        finally:
            if not wrong:
                self._wrong.forgive(host)
