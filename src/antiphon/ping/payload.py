"""What is sent: text of one size, each message unlike every other, the same ones again from the same seed."""

import random
import string

from antiphon.settings import PING_SIZE_LEAST

_ALPHABET = string.ascii_letters + string.digits + "+/"
_SPAN = 4099
"""Places at which the rest of a message may begin; prime, so that neighbours share none."""


class Payloads:
    """Messages of `size` characters of ASCII, so that every service takes them: as text or as bytes.

    The first 16 are the message's number, the rest is drawn with `seed` and shifts from message to message.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        """Draw the text; messages are then cut from it."""
        self._rest = size - PING_SIZE_LEAST
        self._text = "".join(random.Random(seed).choices(_ALPHABET, k=self._rest + _SPAN))  # noqa: S311 - no secret

    def message(self, number: int) -> str:
        """Return the message with this number."""
        at = number % _SPAN
        return f"{number:016x}{self._text[at : at + self._rest]}"


def same(answer: str | bytes, message: str) -> bool:
    """Return whether `answer` is `message`, byte for byte; a service may have turned the text into bytes."""
    return answer == message if isinstance(answer, str) else answer == message.encode()
