"""The passwords that are guessed first (promise 2): two lists of facts, read when somebody chooses a password."""

from antiphon.blocklist.common import LENGTHS, MOST, common_passwords

__all__ = ["LENGTHS", "MOST", "common_passwords"]
