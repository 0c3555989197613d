"""Payloads of a load: distinct texts of one size, reproducible from a seed."""

import random
import string

from antiphon.settings import PING_SIZE_LEAST

_ALPHABET = string.ascii_letters + string.digits + "+/"
_SPAN = 4099
"""Number of offsets at which the rest of a message may begin; prime, so that neighbours never share one."""


class Payloads:
    """Messages of `size` ASCII characters, which every service accepts, as text or as bytes.

    The first 16 characters are the number of the message in hexadecimal. The rest is a piece of a random text, at
    another offset in each message.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        """Generate the random text from `seed`."""
        self._rest = size - PING_SIZE_LEAST
        self._text = "".join(random.Random(seed).choices(_ALPHABET, k=self._rest + _SPAN))  # noqa: S311 - no secret

    def message(self, number: int) -> str:
        """Return the message with this number."""
        at = number % _SPAN
        return f"{number:016x}{self._text[at : at + self._rest]}"


def same(answer: str | bytes, message: str) -> bool:
    """Return whether `answer` equals `message`, byte for byte; it may be bytes although a text was sent."""
    return answer == message if isinstance(answer, str) else answer == message.encode()
