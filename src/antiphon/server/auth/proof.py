"""SCRAM proof of a password, for the sign-in and for the change of a password.

One proof has three steps: `claim`, `challenge`, `verify`. The steps, their order and their work are the same for a
known name, an unknown one and a disabled one, and every failure is one error (promise 5).
"""

import contextlib
from base64 import b64encode
from collections.abc import Callable, Iterator

import scramp  # noqa: F401 - imported by `identity` when it is needed: here before a client waits for it

from antiphon.data.credentials import seal, unseal, verifier_of
from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import NameLocked, SignInRefused, TooManyFailures
from antiphon.identity.scram import ServerExchange, mock_verifier
from antiphon.server.auth.refusals import Refusals
from antiphon.server.auth.throttle import Throttle
from antiphon.server.peer import Peer
from antiphon.store.contracts import Account, Marks
from antiphon.wire.bodies import Credential

NONCE_SIZE = 24
"""Bytes of the server's nonce: 192 bits, 32 characters."""


class Passwords:
    """What one server can do with passwords that it never sees: check a proof, and seal a new verifier."""

    def __init__(self, ring: LiveKeyRing, throttle: Throttle, random: Callable[[int], bytes]) -> None:
        """Open and seal verifiers with `ring`; `random` returns as many random bytes as it is asked for."""
        self._ring = ring
        self._throttle = throttle
        self._random = random

    def proof(self, peer: Peer, mechanism: str, refusals: Refusals) -> "Proof":
        """Begin a proof by `peer` with the mechanism that it has chosen.

        Raises:
            MechanismUnsupported: the channel of the peer has another one.
        """
        nonce = b64encode(self._random(NONCE_SIZE)).decode()
        return Proof(ServerExchange(mechanism, peer.binding, nonce), peer, refusals, self._ring, self._throttle)

    def sealer(self, credential: Credential) -> Callable[[int], bytes]:
        """Return the function that seals a new verifier for the account with a number.

        The store calls it inside the transaction that keeps the result.

        Raises:
            CredentialRefused: the verifier has other parameters than this server's (promise 3).
        """
        verifier = verifier_of(credential)
        return lambda number: seal(self._ring, verifier, number, self._random)


class Proof:
    """One SCRAM exchange with one peer: `claim`, then `concern` and `challenge`, then `verify`, each once.

    Run each step inside `refusals_counted`, and what else may refuse the sign-in too.
    """

    __slots__ = ("_exchange", "_key", "_name", "_peer", "_refusals", "_ring", "_throttle", "account")

    def __init__(
        self, exchange: ServerExchange, peer: Peer, refusals: Refusals, ring: LiveKeyRing, throttle: Throttle
    ) -> None:
        """Begin `exchange`; refusals go to `refusals`."""
        self._exchange = exchange
        self._peer = peer
        self._refusals = refusals
        self._ring = ring
        self._throttle = throttle
        self._name: str | None = None
        self._key = ""
        self.account: Account | None = None
        """The account whose password is proved; None for a name that nobody has."""

    def claim(self, client_first: bytes) -> str:
        """Return the name that the client's first message claims, as it was sent.

        Raises:
            SignInRefused: the message breaks a rule of RFC 5802.
        """
        return self._exchange.name_in(client_first)

    def concern(self, name: str | None, key: str, account: Account | None) -> None:
        """Set whose password is proved.

        Args:
            name: for the log.
            key: the name's key, by which attempts are counted; what was claimed if that is not a name.
            account: the account with the name; None if nobody has it.
        """
        self._name = name
        self._key = key
        self.account = account

    def challenge(self) -> bytes:
        """Return the server's challenge; an unknown name gets the same mock salt every time (promise 5).

        Raises:
            SignInRefused: the client's first message breaks a rule, or is not bound to the channel.
            ServerError: what is kept of the account's password cannot be read.
        """
        if self.account is None:
            verifier = mock_verifier(self._key, self._ring.mock_key)
        else:
            verifier = unseal(self._ring, self.account)
        return self._exchange.challenge(verifier)

    async def verify(self, client_final: bytes) -> bytes:
        """Return the server's signature if the client's final message proves the password.

        Raises:
            SignInRefused: it does not.
            TooManyFailures: the attempt comes too early; the message was not looked at.
            NameLocked: likewise, no attempt is possible from this address.
            TryLater: the attempt could not be counted; the message was not looked at.
        """
        # The attempt is counted as a failure first: of guesses that arrive together, none is free (promise 4).
        await self._throttle.attempt(self._key, self._peer.host)
        return self._exchange.verify(client_final)

    @property
    def marks(self) -> Marks:
        """What the store counts these attempts by: the opening of a session forgives them."""
        return self._throttle.marks(self._key, self._peer.host)

    async def forgive(self) -> None:
        """Forget the failures under the name, now that the password is proved."""
        await self._throttle.succeeded(self._key, self._peer.host)

    @contextlib.contextmanager
    def refusals_counted(self) -> Iterator[None]:
        """Count a refusal that is raised in the block.

        Raises:
            TooManyRefusals: it is the last one that this connection may have.
        """
        try:
            yield
        except (SignInRefused, TooManyFailures, NameLocked) as error:
            self._refusals.count(self._name, self.account, error.code)
            raise
