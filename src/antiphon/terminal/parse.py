"""Parsers of values that a person types or passes as an option."""

from antiphon.errors import PortInvalid, Problem, UsageError
from antiphon.identity.passwords import Password
from antiphon.language import N_


def read_port(text: str, lowest: int = 1) -> int:
    """Parse a port from `lowest` to 65535.

    Raises:
        PortInvalid: the text is not such a number.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and lowest <= int(text) <= 65535):
        raise PortInvalid(port=text, lowest=lowest)
    return int(text)


def read_password(text: str) -> Password:
    """Return the password in the text of a file or a variable.

    Raises:
        UsageError: the text is empty.
    """
    if not text:
        raise UsageError(problem=Problem(N_("The password given is empty.")))
    return Password(text)
