"""The key ring of a data folder as programs use it while they run: `rekey` may change it under them.

Sealing always takes the newest key of the file, and opening asks the file for a key that it does not know yet.
"""

from collections.abc import Callable
from dataclasses import replace

from antiphon.errors import Problem, TryLater, UsageError
from antiphon.identity.keys import KeyRing, key_number
from antiphon.language import N_

_REPLACED = Problem(N_("The key ring has been replaced by another folder's."))


class LiveKeyRing:
    """What a `KeyRing` does, with the keys that the file holds at the moment. Only sealing keys ever change."""

    def __init__(self, ring: KeyRing, read: Callable[[], KeyRing]) -> None:
        """Begin with `ring`; `read` returns what the file holds now, or raises a `UsageError`."""
        self._ring = ring
        self._read = read
        self.token_key = ring.token_key
        self.mock_key = ring.mock_key

    def seal(self, plain: bytes, associated: bytes, nonce: bytes) -> bytes:
        """See `KeyRing`. To be called inside the store's transaction that keeps the result.

        A store lets one writer in at a time, so that whoever has changed the file and then seals everything again
        sees all that was sealed before the change.

        Raises:
            TryLater: the file cannot be read. What a key from memory seals might not open tomorrow.
        """
        return self.follow().seal(plain, associated, nonce)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """See `KeyRing`."""
        if key_number(sealed) not in self._ring.sealing_keys:
            self.follow()
        return self._ring.open(sealed, associated)

    def follow(self) -> KeyRing:
        """Take up what the file holds now, and return that.

        The keys that were known stay known, for a credential that was read right before it was sealed again.

        Raises:
            TryLater: the file is missing, damaged, another folder's, or cannot be read; the cause says it.
        """
        try:
            ring = self._read()
            self._check(ring)
        except UsageError as error:
            raise TryLater(problem=str(error)) from error
        self._ring = replace(ring, sealing_keys=self._ring.sealing_keys | ring.sealing_keys)
        return ring

    def _check(self, ring: KeyRing) -> None:
        if (ring.token_key, ring.mock_key) != (self.token_key, self.mock_key):
            raise UsageError(problem=_REPLACED)

    def __repr__(self) -> str:
        """Hide the keys."""
        return f"LiveKeyRing({self._ring!r})"
