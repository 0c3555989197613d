"""Blocklist of commonly guessed passwords (promise 2): two lists, read when a person chooses a password."""

from antiphon.blocklist.common import LENGTHS, MOST, common_passwords

__all__ = ["LENGTHS", "MOST", "common_passwords"]
