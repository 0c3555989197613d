"""Credentials as the store keeps them: sealed under the key ring, each bound to its account."""

from collections.abc import Callable

from antiphon.errors import CredentialRefused
from antiphon.identity.keys import NONCE_SIZE, KeyRing
from antiphon.identity.scram import Verifier, check_parameters
from antiphon.store.contracts import Account
from antiphon.wire.bodies import SCRAM_SHA_256, Credential


def verifier_of(credential: Credential) -> Verifier:
    """Return the verifier that a client has made.

    Raises:
        CredentialRefused: it is of another kind, or has other parameters than this server's (promise 3).
    """
    if credential.type != SCRAM_SHA_256:
        raise CredentialRefused
    verifier = Verifier(credential.salt, credential.iterations, credential.stored_key, credential.server_key)
    check_parameters(verifier)
    return verifier


def seal(ring: KeyRing, verifier: Verifier, account_id: int, random: Callable[[int], bytes]) -> bytes:
    """Return a verifier as the account with this number keeps it; `random` gives as many bytes as asked."""
    return ring.seal(verifier.encode(), _bound_to(account_id), random(NONCE_SIZE))


def unseal(ring: KeyRing, account: Account) -> Verifier:
    """Return the verifier of an account.

    Raises:
        ServerError: it was altered or moved, or the ring is another's.
    """
    return Verifier.decode(ring.open(account.credential, _bound_to(account.id)))


def _bound_to(account_id: int) -> bytes:
    """Return what binds a sealed credential to its account, so that rows cannot be exchanged."""
    return account_id.to_bytes(8, "big")
