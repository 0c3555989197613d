"""Reader of the lists of common passwords in this folder; SOURCES.txt says where they come from."""

from functools import cache

LENGTHS = (8, 15)
"""Least characters of the passwords in each list: the two minimum lengths of the rules (promise 1)."""
MOST = 3000
"""Passwords in each list (OWASP ASVS 5.0, 6.2.4)."""


@cache
def common_passwords() -> frozenset[str]:
    """Return the passwords of both lists, each as `identity.passwords.folded` gives it."""
    from importlib.resources import files  # noqa: PLC0415 - slow, and needed only for a new password

    folder = files("antiphon.blocklist")
    texts = [folder.joinpath(f"common-{length}.txt").read_text("utf-8") for length in LENGTHS]
    return frozenset(line for text in texts for line in text.splitlines())
