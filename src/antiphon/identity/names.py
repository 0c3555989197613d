"""Names: which ones are valid, how they are shown and how they are compared (RFC 8265).

SCRAM prepares names in another way (SASLprep, RFC 4013). A name that it would change into another one is refused,
because nobody could sign in with it. scramp is imported with the first name: it takes a fifth of the client's
import time.
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from precis_i18n import get_profile

from antiphon.errors import NameInvalid, Problem
from antiphon.language import N_

LONGEST = 64
"""Most code points in a name: as typed, as shown and as compared."""

_EMPTY = Problem(N_("it is empty"))
_TOO_LONG = Problem(N_("it has more than {most} characters"))
_SPACE = Problem(N_("it contains a space"))
_CHARACTER = Problem(N_("it contains “{character}”"))
_MARK_FIRST = Problem(N_("it begins with a mark that belongs on a letter"))
_DIRECTIONS = Problem(N_("it is written from left to right and from right to left at once"))
_SCRIPTS = Problem(N_("it mixes letters of more than one alphabet"))
_NOT_FOR_SCRAM = Problem(N_("it contains a character that cannot be used to sign in"))

_PLAIN = re.compile(rf"[!-~]{{1,{LONGEST}}}")
"""Names of printable ASCII: every profile used here takes them as they are, and maps only their case."""

_preserved = get_profile("UsernameCasePreserved")
_mapped = get_profile("UsernameCaseMapped")

_WRITTEN_TOGETHER = (
    frozenset({"CJK", "HIRAGANA", "KATAKANA"}),
    frozenset({"CJK", "HANGUL"}),
    frozenset({"CJK", "BOPOMOFO"}),
)
"""Scripts that one language mixes: Japanese, Korean, Chinese (UTS 39, 5.1)."""

_SAME_SCRIPT = {"IDEOGRAPHIC": "CJK", "KATAKANA-HIRAGANA": "KATAKANA"}
"""First words of Unicode character names, and the script that they belong to."""

_OF_ANY_SCRIPT = "MODIFIER"
"""First word of the Unicode names of letters that every script uses, such as U+02BC, the letter apostrophe."""


class Name(NamedTuple):
    """A valid name."""

    display: str
    """As typed, normalised (UsernameCasePreserved): shown to people."""
    key: str
    """Case-mapped (UsernameCaseMapped): two names are the same if their keys are equal."""


@lru_cache(maxsize=1024)  # takes up to 0.1 ms, and a name is prepared again at every resume
def prepare(text: str) -> Name:
    """Check and normalise a name: 1 to 64 code points, with letters of one script (RFC 8265, 3; UTS 39, 5.1).

    Preparing the display form or the key of a name gives the same name again.

    Raises:
        NameInvalid: `text` breaks a rule, which the error names.
    """
    return prepare_afresh(text)


def prepare_afresh(text: str) -> Name:
    """Do what `prepare` does, without a cache, whose time tells whether a name was used lately (promise 5)."""
    return Name(text, text.lower()) if _PLAIN.fullmatch(text) else _prepared(text)


def _prepared(text: str) -> Name:
    _check_length(text, text)  # before normalisation, so that huge input costs nothing
    display = _enforced(text)
    try:
        key = _mapped.enforce(display)
    except UnicodeEncodeError as error:
        raise _refusal(text, error) from None
    _check_length(text, display, key)
    if unicodedata.category(display[0]).startswith("M"):
        raise NameInvalid(name=text, problem=_MARK_FIRST)
    if not _is_of_one_script(display):
        raise NameInvalid(name=text, problem=_SCRIPTS)
    if not (_passes_saslprep(display, key) and _passes_saslprep(key, key)):
        raise NameInvalid(name=text, problem=_NOT_FOR_SCRAM)
    return Name(display, key)


def _check_length(text: str, *forms: str) -> None:
    if not text:
        raise NameInvalid(name=text, problem=_EMPTY)
    if any(len(form) > LONGEST for form in forms):
        raise NameInvalid(name=text, problem=_TOO_LONG, most=LONGEST)


def _enforced(text: str) -> str:
    try:
        return _preserved.enforce(text)
    except UnicodeEncodeError as error:
        raise _refusal(text, error) from None


def _refusal(text: str, error: UnicodeEncodeError) -> NameInvalid:
    """Return the error for what PRECIS found; the reasons of precis_i18n look like `DISALLOWED/spaces`."""
    if error.reason.endswith("/bidi_rule"):
        return NameInvalid(name=text, problem=_DIRECTIONS)
    if error.reason.endswith("/spaces"):
        return NameInvalid(name=text, problem=_SPACE)
    return NameInvalid(name=text, problem=_CHARACTER, character=error.object[error.start : error.end])


def _is_of_one_script(name: str) -> bool:
    words = {unicodedata.name(character, "").split(" ")[0] for character in name if character.isalpha()}
    scripts = {_SAME_SCRIPT.get(word, word) for word in words} - {_OF_ANY_SCRIPT}
    return len(scripts) <= 1 or any(scripts <= together for together in _WRITTEN_TOGETHER)


def _passes_saslprep(form: str, key: str) -> bool:
    """Return whether SASLprep, which SCRAM applies, leaves `form` the name with this `key`."""
    from scramp import ScramException  # noqa: PLC0415 - see above
    from scramp.utils import saslprep  # noqa: PLC0415

    try:
        return bool(_mapped.enforce(saslprep(form)) == key)
    except (ScramException, UnicodeEncodeError):
        return False
