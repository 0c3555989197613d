"""Passwords: which ones may be chosen, and passphrases for those who would rather not choose.

The rules are NIST SP 800-63B-4's: length, and nothing that is guessed first; no composition. The server never sees
a password, so clients and the account commands hold them.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from antiphon.errors import PasswordInvalid, Problem
from antiphon.language import N_

LONGEST = 1024
"""Code points; at least 64 must be allowed (promise 1), and SASLprep of a megabyte takes seconds."""

PRODUCT = "antiphon"
"""What this is called: anybody's first guess here (promise 2)."""
LEAST_LEFT = 8
"""Characters that no guesser is told, at the least: as many as the shortest password that may ever be allowed."""
LEAST_WORD = 3
"""Characters of a name that gives something away; a shorter one stands in every other word."""

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
    """A password that does not print; `text` is it, as typed."""

    text: str

    def __repr__(self) -> str:
        """Hide the password."""
        return "Password(hidden)"


def check(
    password: str, minimum: int, *, name: str, common: Collection[str], old: Password | None = None
) -> Password:
    """Return a password that may be chosen: `minimum` to 1024 code points, usable by SCRAM (SASLprep, RFC 4013).

    `name` is that of its account, `common` holds the passwords that are guessed first, each as `folded` gives it,
    and `old` is the one that it is to replace.

    Raises:
        PasswordInvalid: with the rule that it breaks, and nothing of the password.
    """
    prepared = saslprepared(password)
    # Counted as typed, as NIST does, and as hashed, where soft hyphens and their like have gone.
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
    """Return what is compared of a text: as SCRAM hashes it, without regard to case, width and white space.

    Raises:
        PasswordInvalid: it cannot be anybody's password.
    """
    return "".join(saslprepared(text).casefold().split())


def saslprepared(password: str) -> str:
    """Return the form of a password that SCRAM hashes (SASLprep, RFC 4013).

    Raises:
        PasswordInvalid: it has none, and so cannot be anybody's password.
    """
    if not password:
        raise PasswordInvalid(problem=_EMPTY)
    if len(password) > LONGEST:
        raise PasswordInvalid(problem=_TOO_LONG, most=LONGEST)
    from scramp import ScramException  # noqa: PLC0415 - it costs a client a fifth of its import, used or not
    from scramp.utils import saslprep  # noqa: PLC0415

    try:
        return str(saslprep(password))
    except ScramException:
        raise PasswordInvalid(problem=_NOT_FOR_SCRAM) from None


def passphrase(random: Callable[[int], bytes]) -> Password:
    """Return five pronounceable words of 16 bits each, 80 bits in 29 characters: `lusab-babad-gutih-tugad-mudof`.

    The words are proquints (arXiv:0901.4016): easy to read aloud and type in any language that knows the alphabet.
    `random` gives as many bytes as asked, fit for keys.
    """
    bits = random(2 * _WORDS)
    words = (int.from_bytes(bits[start : start + 2], "big") for start in range(0, len(bits), 2))
    return Password("-".join(map(_proquint, words)))


def _proquint(word: int) -> str:
    """Return 16 bits as consonant (4), vowel (2), consonant (4), vowel (2), consonant (4)."""
    return (
        _CONSONANTS[word >> 12]
        + _VOWELS[word >> 10 & 0b11]
        + _CONSONANTS[word >> 6 & 0b1111]
        + _VOWELS[word >> 4 & 0b11]
        + _CONSONANTS[word & 0b1111]
    )
