"""Schemes: what the passwords of a file are, and what becomes of each."""

import re
from collections.abc import Sequence

from antiphon.errors import PasswordInvalid, Problem, UsageError
from antiphon.identity.legacy.columns import is_digest
from antiphon.identity.legacy.rows import Cell, Field, FieldUnusable, Hints, Plain, Said, Scheme, Why, is_address
from antiphon.identity.old_forms import HASHES, MD5, OldForm
from antiphon.identity.passwords import Password, saslprepared
from antiphon.language import N_

_PLAIN = Problem(
    N_("The passwords of {path} may be plain text, but nothing says so. If they are, add --scheme plain.")
)
_ENCODED = Problem(
    N_(
        "The passwords of {path} may be plain text, or hashed and written in another way (as in line {line}, "
        "column {column}). If they are plain text, add --scheme plain."
    )
)
_MIXED = Problem(
    N_(
        "The passwords of {path} are digests of several kinds ({kinds}). "
        "Name the one to import with --scheme, such as --scheme sha256."
    )
)
_BOTH = Problem(
    N_(
        "Some passwords of {path} look like {kind}, others like plain text (as in line {line}, column {column}). "
        "Say what they are: --scheme plain or --scheme {kind}."
    )
)
_NO_DIGEST = Problem(N_("it is not a digest of {digits} hexadecimal digits"))
_OTHER = Problem(N_("passwords of the kind {scheme} are not supported"))
_SALT = Problem(N_("it is hashed with a salt of its own, which is not supported"))
_EMPTY_DIGEST = Problem(N_("it is the digest of an empty password"))
_EMPTY = Problem(N_("it is empty"))
_ADDRESS = Problem(N_("it is an address"))

MARK = re.compile(
    r"\$(?:1|5|6|7|2[abxy]?|y|gy|H|P|S|apr1|md5|sha1|scrypt|argon2(?:id|i|d)|bcrypt-sha256|pbkdf2[-\w]*)\$"
    r"|\{(?:S?SHA\d*|S?MD5|CRYPT|ARGON2|PBKDF2[-\w]*)\}"
    r"|(?:md5|sha1|bcrypt\w*|argon2|scrypt|pbkdf2_\w+)\$"
    r"|(?:pbkdf2:\w+|scrypt):\d+(?::\d+)*\$",
    re.IGNORECASE,
)
"""The prefix by which a hashed password names its scheme. Messages repeat only this: the rest may be a secret."""
_CRYPT = re.compile(r"[./0-9A-Za-z]{13}")
_SCHEMES = {
    "MySQL": re.compile(r"\*[0-9A-Fa-f]{40}"),
    "SHA-1": re.compile(r"[0-9A-Fa-f]{40}"),
    "SHA-384": re.compile(r"[0-9A-Fa-f]{96}"),
}
_SALTED = re.compile(r"[0-9A-Fa-f]{32,128}[:$][^\s:$]+|[^\s:$]+[:$][0-9A-Fa-f]{32,128}")
"""A digest with its salt before or behind it."""
_ENCODED_FORM = re.compile(
    r"[0-9A-Fa-f]{33,}"
    r"|(?:[A-Za-z0-9+/]{22}==|[A-Za-z0-9+/]{27}=|[A-Za-z0-9+/]{38}==|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)"
    r"|[bB]?['\"].*['\"]|.*\\x[0-9A-Fa-f]{2}.*"
)
"""A digest in hexadecimal digits or base64, or bytes as Python prints them."""


def scheme_of(passwords: Sequence[Cell], hints: Hints, said: Said | None, path: str) -> Scheme:
    """Return what the passwords of a file are.

    Raises:
        UsageError: nothing says so; the error names the option that does.
    """
    if hints.scheme is not None:
        return hints.scheme
    kinds = {kind for cell in passwords if (kind := _kind(cell.text))}
    others = [cell for cell in passwords if cell.text and not _kind(cell.text) and not _is_strange(cell.text)]
    if len(kinds) > 1:
        raise UsageError(problem=_MIXED, path=path, kinds=", ".join(sorted(kinds)))
    if kinds:
        (kind,) = kinds
        if others and said is Said.PASSWORD:
            _, line, column = others[0]
            raise UsageError(problem=_BOTH, path=path, kind=kind, line=line, column=column)
        return OldForm(kind)
    if not others or said is Said.DIGEST:
        return MD5
    if said is None and all(_CRYPT.fullmatch(cell.text) for cell in others):
        return MD5
    for _, line, column in (cell for cell in others if _ENCODED_FORM.fullmatch(cell.text)):
        raise UsageError(problem=_ENCODED, path=path, line=line, column=column)
    if said is None:
        raise UsageError(problem=_PLAIN, path=path)
    return Plain.PLAIN


def password_of(cell: Cell, scheme: Scheme) -> Password:
    """Return what SCRAM uses as the password.

    Raises:
        FieldUnusable: the field is no password of this scheme.
    """
    text = cell.text
    if not text:
        raise FieldUnusable(cell, UsageError(problem=_EMPTY), Field.PASSWORD)
    if marked := MARK.match(text):
        raise _unsupported(cell, UsageError(problem=_OTHER, scheme=marked[0]))
    if isinstance(scheme, Plain):
        return _plain(cell)
    if is_digest(text) and len(text) == scheme.digits:
        if text.lower() in scheme.digests(""):
            raise _unsupported(cell, UsageError(problem=_EMPTY_DIGEST))
        return Password(text.lower())
    if _SALTED.fullmatch(text):
        raise _unsupported(cell, UsageError(problem=_SALT))
    if other := _other_scheme(text):
        raise _unsupported(cell, UsageError(problem=_OTHER, scheme=other))
    raise FieldUnusable(cell, UsageError(problem=_NO_DIGEST, digits=scheme.digits), Field.PASSWORD)


def _plain(cell: Cell) -> Password:
    if is_address(cell.text):
        raise FieldUnusable(cell, UsageError(problem=_ADDRESS), Field.PASSWORD)
    try:
        saslprepared(cell.text)
    except PasswordInvalid as error:
        reason = UsageError(problem=error.fields["problem"], most=error.fields.get("most", 0))
        raise _unsupported(cell, reason) from None
    return Password(cell.text)


def _unsupported(cell: Cell, error: UsageError) -> FieldUnusable:
    return FieldUnusable(cell, error, Field.PASSWORD, Why.UNSUPPORTED)


def _kind(text: str) -> str | None:
    """Return the hash function of a digest, None if the text is no digest of an old form."""
    return next((kind for kind, digits in HASHES.items() if len(text) == digits and is_digest(text)), None)


def _is_strange(text: str) -> bool:
    """Return whether a text is hashed in a way that is not supported."""
    return bool(MARK.match(text) or _SALTED.fullmatch(text)) or any(
        form.fullmatch(text) for form in _SCHEMES.values()
    )


def _other_scheme(text: str) -> str | None:
    """Return the name of another scheme that a text looks like."""
    found = next((name for name, form in _SCHEMES.items() if form.fullmatch(text)), None) or _kind(text)
    return found or ("crypt" if _CRYPT.fullmatch(text) else None)
