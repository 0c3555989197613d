"""Session tokens: what a client carries in every message, and the hash by which the store knows it."""

import hmac

from antiphon.identity.hidden import HiddenBytes

TOKEN_SIZE = 16
"""Bytes: 128 bits (promise 14)."""


class Token(HiddenBytes):
    """A session's token, 16 bytes from the system's generator; compare it with `hmac.compare_digest` only."""

    SIZE = TOKEN_SIZE


def fingerprint(token: Token, token_key: bytes) -> bytes:
    """Return the keyed hash that is stored instead of a token: HMAC-SHA-256 (RFC 2104), 32 bytes.

    `token_key` is the key ring's: a stolen store neither holds tokens nor lets guessed ones be tried.
    """
    return hmac.digest(token_key, token, "sha256")
