"""Reads the lists of common passwords that stand beside this file; SOURCES.txt says where they come from."""

from functools import cache

LENGTHS = (8, 15)
"""Characters that the passwords of a list have at the least: those that the rules speak of (promise 1)."""
MOST = 3000
"""Passwords in each list (OWASP ASVS 5.0, 6.2.4)."""


@cache
def common_passwords() -> frozenset[str]:
    """Return the passwords of both lists, each as `identity.passwords.folded` gives it."""
    from importlib.resources import files  # noqa: PLC0415 - only who chooses a password pays for it

    folder = files("antiphon.blocklist")
    texts = [folder.joinpath(f"common-{length}.txt").read_text("utf-8") for length in LENGTHS]
    return frozenset(line for text in texts for line in text.splitlines())
