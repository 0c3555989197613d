import hashlib
import hmac

import pytest

from antiphon.identity.tokens import TOKEN_SIZE, Token, fingerprint

BYTES = bytes(range(65, 65 + TOKEN_SIZE))


def test_a_token_is_its_sixteen_bytes() -> None:
    assert hmac.compare_digest(Token(BYTES), BYTES)
    assert len(Token(BYTES)) == 16


def test_a_token_does_not_print() -> None:
    token = Token(BYTES)
    for shown in (repr(token), str(token), f"{token}", f"{token!r:>40}", f"{[token]}"):
        assert "ABC" not in shown
        assert BYTES.hex() not in shown


@pytest.mark.parametrize("size", [0, 15, 17])
def test_bytes_of_another_size_are_no_token_and_are_not_shown(size: int) -> None:
    with pytest.raises(ValueError, match=f"^Token has 16 bytes, not {size}$"):
        Token(b"A" * size)


def test_a_fingerprint_is_hmac_sha_256_under_the_token_key() -> None:
    # by the definition in RFC 2104, because no vector of RFC 4231 has a message of 16 bytes
    key = bytes(range(32))
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key.ljust(64, b"\0")) + BYTES).digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in key.ljust(64, b"\0")) + inner).digest()
    assert fingerprint(Token(BYTES), key) == outer


def test_another_token_or_another_key_gives_another_fingerprint() -> None:
    marks = {
        fingerprint(Token(token), key) for token in (BYTES, b"B" * TOKEN_SIZE) for key in (b"k" * 32, b"l" * 32)
    }
    assert len(marks) == 4
