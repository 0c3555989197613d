"""Session tokens: secrets that a client sends in every message, and the hash under which the store keeps them."""

import hmac

from antiphon.identity.hidden import HiddenBytes

TOKEN_SIZE = 16
"""Bytes: 128 bits (promise 14)."""


class Token(HiddenBytes):
    """A session's token: 16 random bytes from the operating system. Compare it only with `hmac.compare_digest`."""

    SIZE = TOKEN_SIZE


def fingerprint(token: Token, token_key: bytes) -> bytes:
    """Return the keyed hash that the store holds instead of a token: HMAC-SHA-256 (RFC 2104), 32 bytes.

    `token_key` is the key ring's. Without it, a stolen store gives no tokens and no way to test guessed ones.
    """
    return hmac.digest(token_key, token, "sha256")
