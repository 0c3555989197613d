"""Old forms of passwords: what a home-made system has made of them, which an import takes for the passwords.

A form is a digest of the password, or of the password with a fixed text behind it. Its name, such as `md5` or
`md5+TEXT`, stands in the store, in HELLO and after `--scheme`.
"""

import contextlib
import hashlib
from typing import NamedTuple

from antiphon.identity.passwords import Password

HASHES = {"md5": 32, "sha224": 56, "sha256": 64, "sha512": 128}
"""Hash functions of old forms, and the hexadecimal digits of each."""
SALT_MOST = 64
"""Most characters of the text behind the password: the name of a form is part of HELLO."""
FORMS_MOST = 2
"""Most forms that a client tries: each makes a wrong password count once more, twice if it is not ASCII."""
ENCODINGS = ("utf-8", "cp1251")
"""Encodings in which an old system may have hashed a password: today's, and the old Windows code page."""


class OldForm(NamedTuple):
    """A form of a password."""

    hash: str
    """one of `HASHES`"""
    salt: str = ""
    """text behind the password, the same for everybody"""

    def __str__(self) -> str:
        """Return the name of the form."""
        return f"{self.hash}+{self.salt}" if self.salt else self.hash

    @property
    def digits(self) -> int:
        """Hexadecimal digits of a digest."""
        return HASHES[self.hash]

    def digests(self, text: str) -> list[str]:
        """Return the digest of `text` in UTF-8 and, if it differs, in cp1251."""
        found = []
        for encoding in ENCODINGS:
            with contextlib.suppress(UnicodeEncodeError):
                data = (text + self.salt).encode(encoding)
                found.append(hashlib.new(self.hash, data, usedforsecurity=False).hexdigest())
        return list(dict.fromkeys(found))


MD5 = OldForm("md5")


def read_form(name: str) -> OldForm | None:
    """Return the form of a name, None if it names none."""
    hash_, plus, salt = name.partition("+")
    if hash_ not in HASHES or bool(plus) != bool(salt) or len(salt) > SALT_MOST or not salt.isprintable():
        return None
    return OldForm(hash_, salt)


def old_forms(password: Password, forms: list[OldForm]) -> list[Password]:
    """Return what an imported account may use as its password; nothing for an empty password."""
    if not password.text:
        return []
    found = [Password(digest) for form in forms[:FORMS_MOST] for digest in form.digests(password.text)]
    return list(dict.fromkeys(found))
