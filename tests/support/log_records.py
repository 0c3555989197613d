"""The server's log: parses its records, each of which must be one line of the right form."""

import re
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import NamedTuple

from support.documents import read

QUOTED = r'"(?:[^"\\]|\\.)*"'
VALUE = rf'(?:{QUOTED}|\[{QUOTED}(?:,{QUOTED})*\]|[^ "]+)'
RECORD = re.compile(rf"(\S+) (debug|info|warning|error) ([a-z-]+)((?: [a-z_]+={VALUE})*)")


class Record(NamedTuple):
    at: str
    level: str
    event: str
    fields: str


def records(path: Path) -> list[Record]:
    """Return the records of a log."""
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    found = []
    for line in text[:-1].split("\n"):
        matched = RECORD.fullmatch(line)
        assert matched, line
        assert line.isprintable(), ascii(line)
        found.append(Record(*matched.groups()))
    return found


def spellings(secret: bytes) -> set[str]:
    """Return the spellings of a secret in a text: as it is, escaped, in hexadecimal and in base64."""
    encoded = {
        secret.hex(),
        b64encode(secret).decode().rstrip("="),
        urlsafe_b64encode(secret).decode().rstrip("="),
    }
    return {secret.decode("latin-1"), repr(secret)[2:-1], *encoded, *(text.upper() for text in encoded)}


def banned(text: str) -> dict[str, str]:
    """Return the lines of a log that the fail2ban filter of docs/operating.md matches, with the address in each.

    As in fail2ban 1.0, the time is removed from the line, and `<HOST>` matches an address.
    """
    (pattern,) = re.findall(r"matches `(.*?)`", read("docs/operating.md"))
    expression = re.compile(pattern.replace("<HOST>", r"(?P<host>(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F:]+)"))
    lines = {line: expression.search(re.sub(r"^\S+Z", "", line)) for line in text.splitlines()}
    return {line: match["host"] for line, match in lines.items() if match}
