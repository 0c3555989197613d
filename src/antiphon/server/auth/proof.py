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
from antiphon.errors import MechanismUnsupported, NameLocked, SignInRefused, TooManyFailures, TryLater
from antiphon.identity.scram import SCRAM_SHA_256, Verifier, mock_verifier
from antiphon.identity.scram_server import NO_BINDING, ServerExchange
from antiphon.server.auth.refusals import Refusals
from antiphon.server.auth.throttle import Throttle
from antiphon.server.peer import Peer
from antiphon.store.contracts import Account, Marks, Seal
from antiphon.wire.bodies import Credential

NONCE_SIZE = 24
"""Bytes of the server's nonce: 192 bits, 32 characters."""


class Passwords:
    """What one server can do with passwords that it never sees: check a proof, and seal a new verifier."""

    def __init__(self, ring: LiveKeyRing, throttle: Throttle, random: Callable[[int], bytes]) -> None:
        """Open and seal verifiers with `ring`; `random` returns as many random bytes as it is asked for."""
        self._ring = ring
        self.throttle = throttle
        self._random = random
        sealed = seal(ring, mock_verifier("", ring.mock_key), 0, None, random)
        self._decoy = Account(
            id=0, display="", key="", disabled=True, epoch=0, credential_type="", credential=sealed
        )
        """What is opened for a name that nobody has, so that it takes the same time (promise 5)."""

    def proof(self, peer: Peer, mechanism: str, refusals: Refusals) -> "Proof":
        """Begin a proof by `peer` with the mechanism that it has chosen.

        Raises:
            MechanismUnsupported: the channel of the peer has another one. Over TLS, the one without a channel
                binding is logged as a refusal too.
        """
        nonce = b64encode(self._random(NONCE_SIZE)).decode()
        try:
            exchange = ServerExchange(mechanism, peer.binding, nonce)
        except MechanismUnsupported as error:
            if peer.binding is not None and mechanism == SCRAM_SHA_256:  # a relay may have changed HELLO
                refusals.log(None, error.code, NO_BINDING)
            raise
        return Proof(exchange, peer, refusals, self)

    def verifier(self, key: str, account: Account | None) -> Verifier:
        """Return the verifier of an account, or a mock one for a name that nobody has.

        Both are made for every name, in the same order: the time does not tell which one is returned.

        Raises:
            ServerError: what is kept of the account's password cannot be read.
        """
        mock = mock_verifier(key, self._ring.mock_key)
        kept = unseal(self._ring, account or self._decoy)
        return mock if account is None else kept

    def sealer(self, credential: Credential) -> Seal:
        """Return the function that seals a new verifier for an account.

        The store calls it inside the transaction that keeps the result.

        Raises:
            CredentialRefused: the verifier has other parameters than this server's (promise 3).
        """
        verifier = verifier_of(credential)
        return lambda number, key: seal(self._ring, verifier, number, key, self._random)


class Proof:
    """One SCRAM exchange with one peer: `claim`, then `concern` and `challenge`, then `verify`, each once.

    Run each step inside `refusals_counted`, and what else may refuse the sign-in too.
    """

    __slots__ = ("_counted", "_exchange", "_key", "_marks", "_matched", "_name", "_passwords", "_peer",
                 "_refusals", "account")  # fmt: skip

    def __init__(self, exchange: ServerExchange, peer: Peer, refusals: Refusals, passwords: Passwords) -> None:
        """Begin `exchange`; refusals go to `refusals`."""
        self._exchange = exchange
        self._peer = peer
        self._refusals = refusals
        self._passwords = passwords
        self._counted = False
        """Whether the attempt counts for its source."""
        self._matched = False
        """Whether the client's proof matches the verifier."""
        self._name: str | None = None
        self._key: str | None = None
        self._marks: Marks | None = None
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
        return self._exchange.challenge(self._passwords.verifier(self._key_of_name, self.account))

    async def verify(self, client_final: bytes) -> bytes:
        """Return the server's signature if the client's final message proves the password.

        Raises:
            SignInRefused: it does not.
            TooManyFailures: the attempt comes too early; the message was not looked at.
            NameLocked: likewise, no attempt is possible from this address.
            TryLater: the attempt could not be counted, or too many have failed from this source; the message was
                not looked at.
        """
        # The attempt is counted as a failure first: of guesses that arrive together, none is free (promise 4).
        throttle, host = self._passwords.throttle, self._peer.host
        self._marks = throttle.marks(self._key_of_name, host)
        self._counted = await throttle.attempt(self._marks, host)
        signature = self._exchange.verify(client_final)
        self._matched = True
        return signature

    @property
    def marks(self) -> Marks:
        """What the store counts these attempts by: the opening of a session forgives them."""
        assert self._marks is not None, "`verify` comes first"
        return self._marks

    def passed(self) -> None:
        """Take the attempt out of the count of its source, now that the password is proved."""
        if self._counted:
            self._counted = False
            self._passwords.throttle.passed(self._peer.host)

    async def forgive(self) -> None:
        """Forget the failures under the name, now that the password is proved."""
        self.passed()
        await self._passwords.throttle.succeeded(self.marks)

    def give_up(self) -> None:
        """Count as a refusal that the exchange is given up for another one: nobody asks for challenges for free.

        Raises:
            TooManyRefusals: it is the last one that this connection may have.
        """
        self._refusals.count(self._name, why="given-up")

    @property
    def _why(self) -> str:
        """Why the proof, or the account behind it, is refused, if the exchange does not say it; for the log alone.

        There is always a word: a record of a disabled account takes no longer than another one (promise 5).
        """
        if self.account is None:
            return "no-account"
        if self.account.disabled:
            return "disabled"
        return "changed" if self._matched else "wrong-password"

    @property
    def _key_of_name(self) -> str:
        assert self._key is not None, "`concern` comes first"
        return self._key

    @contextlib.contextmanager
    def refusals_counted(self) -> Iterator[None]:
        """Count a refusal that is raised in the block.

        Raises:
            TooManyRefusals: it is the last one that this connection may have.
        """
        try:
            yield
        except SignInRefused as error:
            self._refusals.count(self._name, self._key, error.code, str(error.fields.get("why") or self._why))
            raise
        except (TooManyFailures, NameLocked) as error:
            self._refusals.count(self._name, self._key, error.code)
            raise
        except TryLater as error:
            if "most" in error.fields:  # a limit of ours: nothing of it is in the store, whose table stays small
                self._refusals.count(self._name, code=error.code)
            raise
