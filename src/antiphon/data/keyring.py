"""Key ring of a data folder for a running program, while `rekey` may change the file.

Sealing reads the file, and takes the key that the store names, or else the newest. Opening reads the file if it
meets a key that it does not know.
"""

import threading
from collections.abc import Callable
from dataclasses import replace

from antiphon.errors import Problem, TryLater, UsageError
from antiphon.identity.keys import KeyRing, key_number, number_of
from antiphon.identity.node_proof import proof_keys
from antiphon.language import N_

_LACKS = Problem(N_("The key ring lacks key {number}, which seals the accounts of the database."))
_REPLACED = Problem(N_("The key ring has been replaced by another folder's."))


class LiveKeyRing:
    """A `KeyRing` that follows its file, for several threads at once. Only sealing keys ever change."""

    def __init__(self, ring: KeyRing, read: Callable[[], KeyRing]) -> None:
        """Begin with `ring`; `read` returns the content of the file, or raises a `UsageError`."""
        self._ring = ring
        self._read = read
        self._following = threading.Lock()
        """Held from the reading of the file until its keys are known: of two threads, the later one knows more."""
        self.token_key = ring.token_key
        self.mock_key = ring.mock_key

    @property
    def newest_mark(self) -> str:
        """Mark of the newest key that is known here, as `KeyRing.mark`."""
        ring = self._ring
        return ring.mark(ring.newest)

    @property
    def newest(self) -> int:
        """Number of the newest key that is known here: the one that seals."""
        return self._ring.newest

    def seal(self, plain: bytes, associated: bytes, nonce: bytes, key: str | None = None) -> bytes:
        """Seal as `KeyRing` does, with the key that has the mark `key`, or else the newest.

        Call it inside the store's transaction that keeps the result. `Accounts.reseal` waits for the transactions
        that seal. So `rekey`, which changes the file and then seals
        everything again, sees all that was sealed before the change.

        Raises:
            TryLater: the file cannot be read, or lacks the key. One from memory may be gone from the file already.
        """
        ring = self.follow()
        if key is None:
            return ring.seal(plain, associated, nonce)
        if not ring.holds(key):
            raise TryLater(problem=str(UsageError(problem=_LACKS, number=number_of(key))))
        return ring.seal(plain, associated, nonce, number_of(key))

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """See `KeyRing`."""
        if key_number(sealed) not in self._ring.sealing_keys:
            self.follow()
        return self._ring.open(sealed, associated)

    def proof_keys(self) -> dict[int, bytes]:
        """Return the keys by which this process proves to other nodes that it has the ring, by their numbers."""
        return proof_keys(self._ring)

    def follow(self) -> KeyRing:
        """Read the file, add its keys, and return its content.

        Known keys stay known, for a credential that was read right before it was sealed again.

        Raises:
            TryLater: the file is missing, damaged, another folder's, or cannot be read; the cause says which.
        """
        with self._following:
            try:
                ring = self._read()
                self._check(ring)
            except UsageError as error:
                raise TryLater(problem=str(error)) from error
            self._ring = replace(ring, sealing_keys=self._ring.sealing_keys | ring.sealing_keys)
            return ring

    def marks(self) -> str:
        """Return the marks of the keys in the file, as `KeyRing.marks`; none while it cannot be read."""
        try:
            return self.follow().marks
        except TryLater:
            return ""

    def _check(self, ring: KeyRing) -> None:
        if (ring.token_key, ring.mock_key) != (self.token_key, self.mock_key):
            raise UsageError(problem=_REPLACED)

    def __repr__(self) -> str:
        """Hide the keys."""
        return f"LiveKeyRing({self._ring!r})"
