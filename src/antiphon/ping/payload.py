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

    def messages(self, first: int, count: int) -> list[str]:
        """Return `count` messages; the number of the first one is `first`."""
        text, rest = self._text, self._rest
        return [
            f"{number:016x}{text[at : at + rest]}"
            for number in range(first, first + count)
            for at in (number % _SPAN,)
        ]


def number_of(message: str) -> int:
    """Return the number of a message."""
    return int(message[:PING_SIZE_LEAST], 16)


def same(answer: str | bytes, message: str) -> bool:
    """Return whether `answer` equals `message`, byte for byte; it may be bytes although a text was sent."""
    return answer == message if isinstance(answer, str) else answer == message.encode()
