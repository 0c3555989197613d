"""Passwords: the rules for new ones, and generated passphrases.

The rules are those of NIST SP 800-63B-4: a minimum length and no commonly guessed password, but no rules of
composition. Clients and the account commands apply them, because the server never sees a password.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from antiphon.errors import PasswordInvalid, Problem
from antiphon.language import N_

LONGEST = 1024
"""Most code points. At least 64 must be allowed (promise 1), and SASLprep of a megabyte takes seconds."""

PRODUCT = "antiphon"
"""The name of this program, which an attacker guesses first (promise 2)."""
LEAST_LEFT = 8
"""Characters that must be left without the account's or program's name: the lowest `--password-minimum`."""
LEAST_WORD = 3
"""Characters. Names shorter than this are not looked for: they occur inside many words."""

_EMPTY = Problem(N_("it is empty"))
_TOO_SHORT = Problem(N_("it has fewer than {minimum} characters"))
_TOO_LONG = Problem(N_("it has more than {most} characters"))
_NOT_FOR_SCRAM = Problem(N_("it contains an emoji or another character that cannot be used to sign in"))

_COMMON = Problem(N_("it is among the passwords that are guessed first"))
_THE_NAME = Problem(N_("without the account's name in it too little is left"))
_THE_PRODUCT = Problem(N_("without this program's name in it too little is left"))
_THE_OLD_ONE = Problem(N_("it is the one that you have now"))

_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aiou"
_WORDS = 5


@dataclass(frozen=True, slots=True)
class Password:
    """A password that does not print; `text` is the password as typed."""

    text: str

    def __repr__(self) -> str:
        """Return the name of the type, without the password."""
        return "Password(hidden)"


def check(
    password: str, minimum: int, *, name: str, common: Collection[str], old: Password | None = None
) -> Password:
    """Check a new password: `minimum` to 1024 code points, usable by SCRAM (SASLprep, RFC 4013), not guessable.

    Args:
        password: as typed.
        minimum: least code points.
        name: the name of the account.
        common: commonly guessed passwords, each as `folded` returns it.
        old: the password that this one replaces, if any.

    Raises:
        PasswordInvalid: `password` breaks a rule, which the error names; it shows nothing of the password.
    """
    prepared = saslprepared(password)
    # NIST counts characters as typed. The prepared form, which is hashed, lacks soft hyphens and the like.
    if min(len(password), len(prepared)) < minimum:
        raise PasswordInvalid(problem=_TOO_SHORT, minimum=minimum)
    if old is not None and prepared == saslprepared(old.text):
        raise PasswordInvalid(problem=_THE_OLD_ONE)
    plain = folded(password)
    if plain in common:
        raise PasswordInvalid(problem=_COMMON)
    for word, problem in ((folded(name), _THE_NAME), (PRODUCT, _THE_PRODUCT)):
        if len(word) >= LEAST_WORD and word in plain and len(plain.replace(word, "")) < LEAST_LEFT:
            raise PasswordInvalid(problem=problem)
    return Password(password)


def folded(text: str) -> str:
    """Return the form of a text that is compared with common passwords: SASLprep, without case and white space.

    SASLprep also makes full-width and half-width characters equal.

    Raises:
        PasswordInvalid: SCRAM cannot use the text as a password.
    """
    return "".join(saslprepared(text).casefold().split())


def saslprepared(password: str) -> str:
    """Return the form of a password that SCRAM hashes (SASLprep, RFC 4013).

    Raises:
        PasswordInvalid: it is empty, longer than `LONGEST`, or has a character that SASLprep forbids.
    """
    if not password:
        raise PasswordInvalid(problem=_EMPTY)
    if len(password) > LONGEST:
        raise PasswordInvalid(problem=_TOO_LONG, most=LONGEST)
    from scramp import ScramException  # noqa: PLC0415 - it takes a fifth of the client's import time
    from scramp.utils import saslprep  # noqa: PLC0415

    try:
        return str(saslprep(password))
    except ScramException:
        raise PasswordInvalid(problem=_NOT_FOR_SCRAM) from None


def passphrase(random: Callable[[int], bytes]) -> Password:
    """Return five pronounceable words of 16 bits each, 80 bits in 29 characters: `lusab-babad-gutih-tugad-mudof`.

    The words are proquints (arXiv:0901.4016), easy to read aloud and to type. `random(n)` returns n bytes from a
    cryptographic generator.
    """
    bits = random(2 * _WORDS)
    words = (int.from_bytes(bits[start : start + 2], "big") for start in range(0, len(bits), 2))
    return Password("-".join(map(_proquint, words)))


def _proquint(word: int) -> str:
    """Encode 16 bits as consonant (4 bits), vowel (2), consonant (4), vowel (2), consonant (4)."""
    return (
        _CONSONANTS[word >> 12]
        + _VOWELS[word >> 10 & 0b11]
        + _CONSONANTS[word >> 6 & 0b1111]
        + _VOWELS[word >> 4 & 0b11]
        + _CONSONANTS[word & 0b1111]
    )
