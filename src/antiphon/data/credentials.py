"""Credentials as the store keeps them: sealed under the key ring, each bound to its account."""

from collections.abc import Callable

from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import CredentialRefused, KeyRingUnusable, Problem, ServerError
from antiphon.identity.keys import NONCE_SIZE, NUMBER_SIZE, KeyRing, key_number
from antiphon.identity.scram import Verifier, check_parameters
from antiphon.language import N_
from antiphon.store.contracts import Account, Accounts
from antiphon.wire.bodies import SCRAM_SHA_256, Credential

_LACKS_A_KEY = Problem(N_("it lacks key {number}, which accounts beside it were sealed with"))
_ANOTHERS = Problem(N_("it is another folder's; the accounts beside it were sealed with other keys"))


def verifier_of(credential: Credential) -> Verifier:
    """Return the verifier in a credential that a client has made.

    Raises:
        CredentialRefused: it has another type, or other parameters than this server's (promise 3).
    """
    if credential.type != SCRAM_SHA_256:
        raise CredentialRefused
    verifier = Verifier(credential.salt, credential.iterations, credential.stored_key, credential.server_key)
    check_parameters(verifier)
    return verifier


def seal(
    ring: LiveKeyRing, verifier: Verifier, account_id: int, key: str | None, random: Callable[[int], bytes]
) -> bytes:
    """Return a verifier sealed for the account with this number; `random` returns as many bytes as asked.

    `key` is what the store has given with the number. Call it inside the store's transaction that keeps the
    result; see `LiveKeyRing.seal`.
    """
    return ring.seal(verifier.encode(), _bound_to(account_id), random(NONCE_SIZE), key)


def unseal(ring: LiveKeyRing, account: Account) -> Verifier:
    """Return the verifier of an account.

    Raises:
        ServerError: it was altered or moved, or the ring is another's.
    """
    return Verifier.decode(ring.open(account.credential, _bound_to(account.id)))


def reseal(ring: KeyRing, account_id: int, sealed: bytes, random: Callable[[int], bytes]) -> bytes:
    """Return a sealed credential of an account, sealed again unless the newest key of `ring` sealed it.

    Raises:
        ServerError: as `unseal`.
    """
    if key_number(sealed) == ring.newest:
        return sealed
    return ring.seal(ring.open(sealed, _bound_to(account_id)), _bound_to(account_id), random(NONCE_SIZE))


async def check_ring(ring: LiveKeyRing, accounts: Accounts, path: str) -> None:
    """Check by a few accounts that `ring`, from the file `path`, is the one that sealed them.

    Raises:
        KeyRingUnusable: it lacks a key, or has others.
        TryLater: the store cannot be asked now.
    """
    fits: dict[int, bool] = {}
    for account_id, sealed in await accounts.specimens(NUMBER_SIZE):
        number = key_number(sealed)
        fits[number] = fits.get(number, False) or _opens(ring, account_id, sealed)
    for number in [number for number, fit in fits.items() if not fit]:
        problem = _ANOTHERS if number in ring.follow().sealing_keys else _LACKS_A_KEY
        raise KeyRingUnusable(path=path, problem=problem, number=number)


def _opens(ring: LiveKeyRing, account_id: int, sealed: bytes) -> bool:
    try:
        ring.open(sealed, _bound_to(account_id))
    except ServerError:
        return False
    return True


def _bound_to(account_id: int) -> bytes:
    """Return the associated data that binds a sealed credential to its account: rows cannot be exchanged."""
    return account_id.to_bytes(8, "big")
